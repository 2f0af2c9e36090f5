"""Policy versions: the rules by which a cached copy may decide, each in a state that a fault can leave behind.

Every "process" is a connection pool of its own to one real Redis; what a writer's transaction does is of no
matter here but for its success.
"""

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from redis import Redis

from app.errors import StoreUnavailable
from app.store import policies
from app.store.policies import Entity, Freshness, Policies
from tests.servers import eventually
from tests.services.policy_processes import KEY, OTHER, TEAM, Monotonic, change, failing, marks

# --- fresh, stale, dirty -------------------------------------------------------------------------------------------


def test_versions_that_nobody_replaced_are_fresh_in_every_process(writer: Policies, reader: Policies) -> None:
    versions = reader.adopt([KEY, TEAM])

    again = writer.adopt([KEY, TEAM])

    assert again == versions
    assert (reader.check(versions), writer.check(versions)) == (Freshness.FRESH, Freshness.FRESH)


@pytest.mark.parametrize("changed", [KEY, TEAM])
def test_a_change_of_one_entity_makes_copies_that_hang_on_it_stale(
    writer: Policies, reader: Policies, changed: Entity
) -> None:
    versions, untouched = reader.adopt([KEY, TEAM]), reader.adopt([OTHER])

    change(writer, changed)

    assert reader.check(versions) is Freshness.STALE
    assert reader.check(untouched) is Freshness.FRESH
    assert reader.check(reader.adopt([KEY, TEAM])) is Freshness.FRESH


def test_while_a_change_is_under_way_nobody_decides_from_a_copy(writer: Policies, reader: Policies) -> None:
    before = reader.adopt([KEY, TEAM])

    with writer.change([KEY]):
        during = reader.adopt([KEY, TEAM])

        assert reader.check(before) is Freshness.DIRTY
        assert reader.check(during) is Freshness.DIRTY
        assert during.dirty
        assert not reader.adopt([TEAM]).dirty


def test_a_copy_taken_while_a_change_was_under_way_is_stale_afterwards(writer: Policies, reader: Policies) -> None:
    with writer.change([KEY]):
        during = reader.adopt([KEY])

    assert reader.check(during) is Freshness.STALE


def test_publishing_without_a_mark_makes_copies_stale_too(writer: Policies, reader: Policies) -> None:
    versions = reader.adopt([policies.digest("d")])

    writer.publish([policies.digest("d")])

    assert reader.check(versions) is Freshness.STALE


def test_a_change_that_failed_takes_its_mark_off_and_replaces_the_token(
    writer: Policies, reader: Policies, redis: Redis
) -> None:
    versions = reader.adopt([KEY])

    with failing(writer, KEY):
        assert marks(redis) != []

    assert marks(redis) == []
    assert reader.check(versions) is Freshness.STALE


def test_an_entity_that_is_named_twice_is_marked_once(writer: Policies, redis: Redis) -> None:
    with writer.change([KEY, KEY]):
        assert len(marks(redis)) == 1

    assert marks(redis) == []


def test_no_two_entities_share_a_version() -> None:
    entities = [
        *(make("x") for make in (policies.digest, policies.key, policies.team, policies.user)),
        *(make("x") for make in (policies.organization, policies.tier)),
        policies.member("a:b", "c"),
        policies.member("a", "b:c"),
    ]

    assert len({(entity.kind, entity.id) for entity in entities}) == len(entities)


# --- two writers at once -------------------------------------------------------------------------------------------


def test_a_writer_takes_only_its_own_mark_off(opened: Callable[..., Policies], reader: Policies) -> None:
    slow, quick = opened(), opened()
    with slow.change([KEY]):
        change(quick, KEY)
        between = reader.adopt([KEY])

        assert between.dirty
        assert reader.check(between) is Freshness.DIRTY

    assert reader.check(between) is Freshness.STALE
    assert not reader.adopt([KEY]).dirty


# --- deadlines -----------------------------------------------------------------------------------------------------


def lapsed(opened: Callable[..., Policies], redis: Redis) -> ExitStack:
    """The mark of a writer that died after setting it, past its deadline."""
    stack = ExitStack()
    stack.enter_context(opened(change=0.02).change([KEY, TEAM]))
    deadlines = [
        float(redis.hget(name, mark) or 0) for name in redis.scan_iter("keyledger:*") for mark in marks(redis)
    ]
    eventually(lambda: _redis_now(redis) > max(deadlines) / 1000, 5)
    return stack


def _redis_now(redis: Redis) -> float:
    seconds, microseconds = redis.time()
    return seconds + microseconds / 1e6


def test_a_mark_past_its_deadline_is_taken_off_and_copies_are_stale(
    opened: Callable[..., Policies], reader: Policies, redis: Redis
) -> None:
    versions = reader.adopt([KEY, TEAM])

    with lapsed(opened, redis):
        answers = [reader.check(versions), reader.check(versions)]

        assert answers == [Freshness.STALE, Freshness.STALE]
        assert marks(redis) == []


def test_a_mark_past_its_deadline_is_replaced_by_the_next_who_loads(
    opened: Callable[..., Policies], reader: Policies, redis: Redis
) -> None:
    before = reader.adopt([KEY, TEAM])

    with lapsed(opened, redis):
        after = reader.adopt([KEY, TEAM])

        assert not after.dirty
        assert not set(after.tokens) & set(before.tokens)
        assert reader.check(after) is Freshness.FRESH
        assert marks(redis) == []


def test_a_standing_mark_beside_a_lapsed_one_still_counts(
    opened: Callable[..., Policies], reader: Policies, redis: Redis
) -> None:
    with lapsed(opened, redis), opened().change([KEY]):
        assert reader.check(reader.adopt([KEY])) is Freshness.DIRTY
        assert len(marks(redis)) == 2  # its own, and the other entity's


def test_a_commit_that_comes_too_late_is_given_up(opened: Callable[..., Policies], redis: Redis) -> None:
    clock = Monotonic()
    writer = opened(monotonic=clock)  # 60 s for the change, 20 s of them for the commit

    with pytest.raises(StoreUnavailable), writer.change([KEY]) as before_commit:
        clock.seconds += 39
        before_commit()
        clock.seconds += 1
        before_commit()

    assert marks(redis) == []


def test_a_long_change_stands_for_as_long_as_it_is_renewed(
    opened: Callable[..., Policies], redis: Redis, reader: Policies
) -> None:
    clock = Monotonic()
    writer = opened(monotonic=clock)  # 60 s for the change, 20 s of them for the commit

    def deadlines() -> list[float]:
        names = redis.scan_iter("keyledger:*")
        return [float(redis.hget(name, mark) or 0) for name in names for mark in marks(redis)]

    with writer.long_change([KEY]) as announcement:
        (first,) = deadlines()
        clock.seconds += 19
        announcement.renew()
        assert deadlines() == [first]  # not half of the time to change anything is over
        for _ in range(5):
            clock.seconds += 39
            announcement.renew()
        assert deadlines()[0] >= first
        assert reader.adopt([KEY]).dirty
        announcement.before_commit()

    assert marks(redis) == []


def test_a_mark_that_may_have_lapsed_is_not_renewed(opened: Callable[..., Policies]) -> None:
    clock = Monotonic()

    with pytest.raises(StoreUnavailable), opened(monotonic=clock).long_change([KEY]) as announcement:
        clock.seconds += 60
        announcement.renew()


# --- tokens --------------------------------------------------------------------------------------------------------


def test_no_token_ever_comes_back(opened: Callable[..., Policies], reader: Policies, redis: Redis) -> None:
    seen: list[str] = []

    def look() -> None:
        seen.extend(reader.adopt([KEY]).tokens)

    for _ in range(3):
        look()
        change(opened(), KEY)
        look()
        redis.flushall()
        redis.script_flush()
        look()
        with lapsed(opened, redis):
            look()
        with failing(opened(), KEY):
            pass

    assert len(set(seen)) == len(seen)


def test_everything_that_is_kept_is_forgotten_after_a_day(
    writer: Policies, reader: Policies, redis: Redis
) -> None:
    reader.adopt([KEY])
    writer.publish([TEAM])
    with writer.change([OTHER]):
        lives = [redis.pttl(name) for name in redis.scan_iter("*")]

    assert len(lives) == 3
    assert all(0 < life <= 24 * 3600 * 1000 for life in lives)


# --- what it costs --------------------------------------------------------------------------------------------------


def test_every_step_is_one_round_trip(writer: Policies, redis: Redis) -> None:
    versions = writer.adopt([KEY, TEAM])
    change(writer, KEY)
    writer.check(versions)
    redis.config_resetstat()

    writer.check(versions)
    writer.adopt([KEY, TEAM])
    change(writer, KEY, TEAM)

    calls = {name: stats["calls"] for name, stats in redis.info("commandstats").items()}
    assert calls["cmdstat_evalsha"] == 4
    assert calls.keys().isdisjoint({"cmdstat_eval", "cmdstat_script", "cmdstat_ping"})

"""Policy versions while Redis loses what it knew, or cannot be reached at the worst moment."""

from collections.abc import Callable

import pytest
from redis import Redis

from app.errors import NothingFound, StoreUnavailable, WriteStands
from app.store import policies
from app.store.policies import Freshness, Policies, Versions
from tests.faults.proxy import RedisProxy, runs
from tests.services.policy_processes import KEY, change, marks

# --- a lost Redis --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flushed", ["before the mark", "before the commit", "before the publication", "after it"])
def test_after_flushall_at_any_point_no_copy_older_than_the_commit_decides(
    writer: Policies, reader: Policies, redis: Redis, flushed: str
) -> None:
    older: list[Versions] = [reader.adopt([KEY])]

    def reach(point: str) -> None:
        if point == flushed:
            redis.flushall()

    reach("before the mark")
    older.append(reader.adopt([KEY]))
    with writer.change([KEY]) as before_commit:
        older.append(reader.adopt([KEY]))
        reach("before the commit")
        older.append(reader.adopt([KEY]))
        before_commit()
        reach("before the publication")
    younger = reader.adopt([KEY])
    reach("after it")

    assert [reader.check(versions) for versions in older] == [Freshness.STALE] * len(older)
    assert reader.check(younger) is (Freshness.STALE if flushed == "after it" else Freshness.FRESH)
    assert reader.check(reader.adopt([KEY])) is Freshness.FRESH


def test_a_redis_that_has_forgotten_the_scripts_is_told_them_again(writer: Policies, redis: Redis) -> None:
    versions = writer.adopt([KEY])

    redis.script_flush()

    assert writer.check(versions) is Freshness.FRESH


# --- Redis away ----------------------------------------------------------------------------------------------------


def test_without_redis_no_change_begins(opened: Callable[..., Policies], proxy: RedisProxy) -> None:
    writer, begun = opened(proxy.url), []
    proxy.cut()

    with pytest.raises(StoreUnavailable), writer.change([KEY]):
        begun.append(True)

    assert begun == []


def test_without_redis_the_answer_is_that_the_write_stands_and_its_mark_outlives_the_writer(
    opened: Callable[..., Policies], reader: Policies, proxy: RedisProxy, redis: Redis
) -> None:
    versions = reader.adopt([KEY])

    with pytest.raises(WriteStands), opened(proxy.url).change([KEY]) as before_commit:
        before_commit()
        proxy.cut()

    assert reader.check(versions) is Freshness.DIRTY
    for name in redis.scan_iter("keyledger:*"):
        redis.hset(name, mapping=dict.fromkeys(marks(redis), "1"))  # its deadline passes
    assert reader.check(versions) is Freshness.STALE


def test_without_redis_nobody_is_told_that_a_change_was_refused_or_had_nothing_to_do(
    opened: Callable[..., Policies], proxy: RedisProxy
) -> None:
    with pytest.raises(StoreUnavailable) as raised, opened(proxy.url).change([KEY]):
        proxy.cut()
        raise NothingFound("There is no such key.")

    assert not isinstance(raised.value, WriteStands)


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(
    opened: Callable[..., Policies], reader: Policies, proxy: RedisProxy
) -> None:
    versions = reader.adopt([KEY])
    slow = opened(proxy.url, waits=1)
    assert slow.check(versions) is Freshness.FRESH

    with proxy.holding(lambda command: runs(command, policies._CHECK)), pytest.raises(StoreUnavailable):
        slow.check(versions)
    change(reader, KEY)

    assert slow.check(versions) is Freshness.STALE

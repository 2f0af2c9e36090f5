"""Closing holds, each once, and keeping counters in line with the ledger: scripts on a real Redis."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from redis import Redis

from app.domain.limits import Account, Budget, Slots
from app.domain.money import MAXIMUM_NANOS
from app.domain.scopes import Scope, ScopeKind
from app.store.balances import Balances, Closing, Note
from app.store.connection import HotRedis
from app.store.outcomes import Cold, Full
from tests.clocks import START
from tests.environment import REDIS_SECONDS
from tests.services.balance_calls import (
    KEY,
    LEASE,
    TEAM,
    call,
    charge,
    charge_again,
    held,
    numbers,
    opened,
    release,
    seed,
)

BOTH = (Budget(KEY, 100), Budget(TEAM, 100))


@pytest.fixture
def hot(redis_url: str) -> Iterator[HotRedis]:
    found = HotRedis(redis_url, seconds=REDIS_SECONDS)
    yield found
    found.close()


@pytest.fixture
def balances(hot: HotRedis) -> Balances:
    found = opened(hot)
    seed(found, {KEY: 10, TEAM: 20})
    return found


# --- charged ---------------------------------------------------------------------------------------------------


def test_a_charge_takes_the_place_of_what_was_held(balances: Balances):
    held(balances, call(*BOTH, amount=5))

    assert charge(balances, "r", 3, KEY, TEAM) == "charged now"
    assert numbers(balances, KEY, TEAM) == [(13, 0), (23, 0)]


def test_a_charge_that_is_repeated_counts_once_whoever_repeats_it(balances: Balances):
    held(balances, call(*BOTH, amount=5))

    first = charge(balances, "r", 3, KEY, TEAM)
    again = [charge_again(balances, "r", 3), charge_again(balances, "r", 7), release(balances, "r")]

    assert (first, again) == ("charged now", ["charged"] * 3)
    assert numbers(balances, KEY, TEAM) == [(13, 0), (23, 0)]


def test_whoever_finds_the_charge_first_counts_it_and_a_late_settle_finds_it_counted(balances: Balances):
    held(balances, call(*BOTH, amount=5))

    assert charge_again(balances, "r", 3) == "charged now"
    assert charge(balances, "r", 3, KEY, TEAM) == "charged"
    assert numbers(balances, KEY, TEAM) == [(13, 0), (23, 0)]


def test_a_charge_without_a_hold_counts_for_whoever_has_written_it_and_for_nobody_else(balances: Balances):
    assert charge(balances, "written", 3, KEY) == "charged now"
    assert charge_again(balances, "found", 4) == "absent"
    # Nothing stays in its place that would keep whoever has written it from adding it.
    assert charge(balances, "found", 4, KEY) == "charged now"
    assert charge_again(balances, "found", 4) == "charged"
    assert numbers(balances, KEY, TEAM) == [(17, 0), (20, 0)]


def test_a_charge_after_its_release_only_adds(balances: Balances):
    held(balances, call(*BOTH, amount=5))
    release(balances, "r")

    assert charge(balances, "r", 3, KEY, TEAM) == "charged now"
    assert numbers(balances, KEY, TEAM) == [(13, 0), (23, 0)]


def test_a_charge_to_a_counter_that_is_gone_is_left_to_whoever_seeds_it(balances: Balances, redis: Redis):
    redis.flushall()

    assert charge(balances, "r", 3, KEY) == "charged now"
    assert isinstance(balances.hold(call(Budget(KEY, 9), request="next"), None), Cold)


def test_what_another_life_of_a_counter_held_is_not_taken_from_this_one(balances: Balances, redis: Redis):
    held(balances, call(Budget(KEY, 100), amount=5))
    (name,) = redis.scan_iter("*balance*key*")
    redis.delete(name)
    seed(balances, {KEY: 10})

    charge(balances, "r", 3, KEY)

    assert numbers(balances, KEY) == [(13, 0)]


def test_many_are_closed_at_once_each_by_its_own_state(balances: Balances):
    requests = [f"r{number}" for number in range(450)]
    for request in requests[:3]:
        held(balances, call(Budget(KEY, MAXIMUM_NANOS), request=request, amount=5))

    found = balances.close([Closing("k", request, 1, None, (KEY,)) for request in requests])
    again = balances.close([Closing("k", request, 1, None, (KEY,)) for request in requests])

    assert (found, again) == (["charged now"] * 450, ["charged"] * 450)
    assert numbers(balances, KEY) == [(460, 0)]


@pytest.mark.parametrize("amount", [0, MAXIMUM_NANOS])
def test_the_smallest_and_the_largest_charge_are_exact(balances: Balances, amount: int):
    held(balances, call(Budget(KEY, MAXIMUM_NANOS), amount=7))

    charge(balances, "r", amount, KEY)

    assert numbers(balances, KEY) == [(10 + amount, 0)]


# --- given back ------------------------------------------------------------------------------------------------


def test_a_release_gives_back_what_is_held_once(balances: Balances):
    slots = [Slots(Scope(ScopeKind.KEY, "k"), 1)]
    held(balances, call(*BOTH, amount=5, slots=slots))

    assert [release(balances, "r") for _ in range(2)] == ["released now", "released"]
    assert numbers(balances, KEY, TEAM) == [(10, 0), (20, 0)]
    assert held(balances, call(request="next", slots=slots)).numbers.slots == [1]
    assert release(balances, "unknown") == "absent"


def test_a_hold_that_was_extended_since_is_kept_by_whoever_saw_it_expired(balances: Balances):
    held(balances, call(*BOTH, amount=5))
    (expired,) = balances.expired(START + LEASE, 10)
    late = Closing("k", "r", deadline=expired.deadline)

    assert balances.extend("k", "r", START + 2 * LEASE) == START + 2 * LEASE
    assert balances.close([late]) == ["kept"]
    assert balances.expired(START + LEASE, 10) == []
    (expired,) = balances.expired(START + 2 * LEASE, 10)
    assert balances.close([replace(late, deadline=expired.deadline)]) == ["released now"]
    assert numbers(balances, KEY, TEAM) == [(10, 0), (20, 0)]


# --- longer ----------------------------------------------------------------------------------------------------


def test_extending_moves_the_end_of_a_hold_and_of_its_slot_and_never_back(balances: Balances):
    slots = [Slots(Scope(ScopeKind.KEY, "k"), 1)]
    held(balances, call(slots=slots))

    assert balances.extend("k", "r", START + 2 * LEASE) == START + 2 * LEASE
    assert balances.extend("k", "r", START + LEASE) == START + 2 * LEASE
    between = call(request="other", slots=slots, now=START + LEASE)
    assert isinstance(balances.hold(between, None), Full)


@pytest.mark.parametrize("state", ["absent", "released", "charged"])
def test_only_an_open_hold_can_be_extended(balances: Balances, state: str):
    if state != "absent":
        held(balances, call(*BOTH))
    if state == "released":
        release(balances, "r")
    elif state == "charged":
        charge(balances, "r", 1, KEY, TEAM)

    assert balances.extend("k", "r", START + 2 * LEASE) == state


def test_expired_holds_are_told_oldest_first_and_no_more_than_are_asked_for(balances: Balances):
    for number in (2, 0, 1):
        held(balances, call(*BOTH, request=f"r{number}", deadline=START + timedelta(seconds=number)))

    assert [hold.request_id for hold in balances.expired(START + timedelta(seconds=1), 10)] == ["r0", "r1"]
    assert [hold.request_id for hold in balances.expired(START + LEASE, 1)] == ["r0"]


def test_an_open_hold_is_remembered_for_as_long_as_a_charge_may_come(balances: Balances, redis: Redis):
    """Else what it holds could never be given back, where no worker reaps."""
    held(balances, call(*BOTH))
    (name,) = redis.scan_iter("*:hold:*")

    at_first = redis.pttl(name)
    balances.extend("k", "r", START + 2 * LEASE)
    extended = redis.pttl(name)
    release(balances, "r")

    assert min(at_first, extended) > timedelta(days=30) / timedelta(milliseconds=1)
    assert redis.pttl(name) <= 3 * 3_600_000


# --- in line with the ledger -----------------------------------------------------------------------------------


def noted(balances: Balances) -> Note:
    (note,) = balances.note([KEY], create=True)
    return note


def test_a_counter_is_what_was_read_and_what_was_applied_since_its_note(balances: Balances):
    charge(balances, "before", 1, KEY)
    note = noted(balances)
    charge(balances, "meanwhile", 2, KEY)

    balances.set([(note, 50)])

    assert numbers(balances, KEY) == [(52, 0)]
    confirmed = balances.look(call(Budget(KEY, 1)).plan, START).confirmed
    balances.set([(noted(balances), 52)])
    assert (confirmed, balances.look(call(Budget(KEY, 1)).plan, START).confirmed) == ([False], [True])


def test_an_older_read_does_not_overwrite_a_newer_one(balances: Balances):
    older, newer = noted(balances), noted(balances)

    balances.set([(newer, 50)])
    balances.set([(older, 40)])
    assert numbers(balances, KEY) == [(50, 0)]
    balances.set([(newer, 60)])
    assert numbers(balances, KEY) == [(50, 0)]


def test_a_read_from_before_redis_was_emptied_sets_nothing(balances: Balances, redis: Redis):
    note = noted(balances)
    redis.flushall()
    balances.set([(note, 50)])
    absent = redis.dbsize()
    fresh = noted(balances)

    balances.set([(note, 50)])

    assert absent == 0
    assert isinstance(balances.hold(call(Budget(KEY, 99)), None), Cold)
    balances.set([(fresh, 7)])
    assert numbers(balances, KEY) == [(7, 0)]


def test_noting_makes_no_counter_unless_it_is_asked_to(balances: Balances, redis: Redis):
    redis.flushall()

    assert balances.note([KEY, TEAM], create=False) == []
    assert redis.dbsize() == 0
    seed(balances, {TEAM: 1})
    assert [note.account for note in balances.note([KEY, TEAM], create=False)] == [TEAM]


def test_what_is_held_is_not_touched_by_setting(balances: Balances):
    held(balances, call(*BOTH, amount=5))

    balances.set([(noted(balances), 0)])

    assert numbers(balances, KEY) == [(0, 5)]


def test_sums_beyond_a_double_are_set_and_added_to_exactly(balances: Balances):
    for number in range(3):
        charge(balances, f"r{number}", MAXIMUM_NANOS - 1, KEY)
    note = noted(balances)
    charge(balances, "meanwhile", MAXIMUM_NANOS - 1, KEY)

    balances.set([(note, 2**53 + 1)])

    assert numbers(balances, KEY) == [(2**53 + 1 + MAXIMUM_NANOS - 1, 0)]


def test_a_correction_downwards_may_be_set(balances: Balances):
    balances.set([(noted(balances), -5)])

    assert numbers(balances, KEY) == [(-5, 0)]
    assert isinstance(balances.hold(call(Budget(KEY, 0)), None), Full) is False


def test_accounts_of_one_script_are_each_set(balances: Balances):
    many = [Account(Scope(ScopeKind.KEY, str(number))) for number in range(300)]
    seed(balances, {account: number for number, account in enumerate(many)})

    assert numbers(balances, *many) == [(number, 0) for number in range(300)]

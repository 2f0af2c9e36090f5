"""Holding what a call may cost: every limit or none, in one script on a real Redis."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from app.domain.limits import Account, Budget, Rate, Slots, Unit
from app.domain.money import MAXIMUM_NANOS
from app.domain.scopes import Scope, ScopeKind
from app.domain.windows import Window
from app.store.balances import Balances
from app.store.connection import HotRedis
from app.store.outcomes import Cold, Full, Held, Lost
from tests.clocks import START
from tests.environment import REDIS_SECONDS
from tests.services.balance_calls import KEY, LEASE, TEAM, call, charge, held, numbers, opened, release, seed

REQUESTS = Rate(Scope(ScopeKind.KEY, "k"), Unit.REQUESTS, 2)
TOKENS = Rate(Scope(ScopeKind.KEY, "k"), Unit.TOKENS, 10)
SLOTS = Slots(Scope(ScopeKind.KEY, "k"), 2)


@pytest.fixture
def hot(redis_url: str) -> Iterator[HotRedis]:
    found = HotRedis(redis_url, seconds=REDIS_SECONDS)
    yield found
    found.close()


@pytest.fixture
def balances(hot: HotRedis) -> Balances:
    return opened(hot)


# --- hold, or not ----------------------------------------------------------------------------------------------


def test_a_call_is_held_in_every_budget(balances: Balances):
    seed(balances, {KEY: 1, TEAM: 2})

    outcome = held(balances, call(Budget(KEY, 10), Budget(TEAM, 10), amount=3))

    assert (outcome.numbers.used, outcome.numbers.held) == ([1, 2], [3, 3])
    assert (outcome.reservation, outcome.deadline, outcome.replayed) == (
        "reservation of r",
        START + LEASE,
        False,
    )
    assert numbers(balances, KEY, TEAM) == [(1, 3), (2, 3)]


@pytest.mark.parametrize("full", [0, 1, 2])
def test_one_full_budget_refuses_by_its_place_and_nothing_is_held_anywhere(balances: Balances, full: int):
    accounts = [KEY, TEAM, Account(Scope(ScopeKind.USER, "u"))]
    seed(balances, dict.fromkeys(accounts, 5))
    budgets = [Budget(account, 6 if place == full else 9) for place, account in enumerate(accounts)]

    outcome = balances.hold(call(*budgets, amount=2, rates=[REQUESTS], slots=[SLOTS]), None)

    assert isinstance(outcome, Full)
    assert (outcome.limit, outcome.which, outcome.ripe) == ("budget", full, False)
    assert (outcome.numbers.used, outcome.numbers.held, outcome.numbers.confirmed) == (
        [5] * 3,
        [0] * 3,
        [True] * 3,
    )
    assert numbers(balances, *accounts) == [(5, 0)] * 3
    # The same request may be asked again, and finds every rate and slot untouched.
    again = held(balances, call(Budget(KEY, 9), amount=2, rates=[REQUESTS], slots=[SLOTS]))
    assert (again.numbers.rates, again.numbers.slots, again.replayed) == ([1], [1], False)


def test_a_full_rate_or_slot_holds_nothing_in_what_has_room(balances: Balances):
    seed(balances, {KEY: 0})
    asked = call(Budget(KEY, 100), tokens=6, rates=[REQUESTS, TOKENS], slots=[SLOTS])
    held(balances, asked)

    by_tokens = balances.hold(replace(asked, request_id="r2"), None)
    by_slot = balances.hold(call(Budget(KEY, 100), request="r3", slots=[replace(SLOTS, limit=1)]), None)

    assert isinstance(by_tokens, Full)
    assert (by_tokens.limit, by_tokens.which, by_tokens.numbers.rates) == ("rate", 1, [1, 6])
    assert isinstance(by_slot, Full)
    assert (by_slot.limit, by_slot.which, by_slot.numbers.frees_at) == ("slots", 0, [START + LEASE])
    assert numbers(balances, KEY) == [(0, 1)]


def test_a_counter_that_is_absent_or_unseeded_is_cold(balances: Balances):
    seed(balances, {KEY: 0})
    asked = call(Budget(TEAM, 9), Budget(KEY, 9), rates=[REQUESTS])

    absent = balances.hold(asked, None)
    balances.note([TEAM], create=True)
    unseeded = balances.hold(asked, None)

    assert (absent, unseeded) == (Cold([0]), Cold([0]))
    seed(balances, {TEAM: 0})
    assert held(balances, asked).numbers.rates == [1]


def test_a_window_has_a_counter_of_its_own_and_so_has_another_arming(balances: Balances):
    today = Window(START, START + timedelta(days=1))
    accounts = [
        Account(KEY.scope),
        Account(KEY.scope, today, START),
        Account(KEY.scope, Window(today.end, today.end + timedelta(days=1)), START),
        Account(KEY.scope, today, START - timedelta(seconds=1)),
    ]
    seed(balances, {account: spend for spend, account in enumerate(accounts)})

    assert numbers(balances, *accounts) == [(spend, 0) for spend in range(4)]


def test_names_with_colons_are_not_each_others(balances: Balances):
    first = Account(Scope(ScopeKind.KEY_MODEL, "a:b", "c"))
    second = Account(Scope(ScopeKind.KEY_MODEL, "a", "b:c"))
    seed(balances, {first: 1, second: 2})

    assert numbers(balances, first, second) == [(1, 0), (2, 0)]


# --- again -----------------------------------------------------------------------------------------------------


def test_the_same_request_again_is_the_hold_of_then_and_takes_nothing_more(balances: Balances):
    seed(balances, {KEY: 0})
    asked = call(Budget(KEY, 1), rates=[REQUESTS], slots=[SLOTS])
    first = held(balances, asked)

    later = replace(asked, reservation="another", deadline=START + 3 * LEASE, amount_nanos=9)
    second = held(balances, later)
    charge(balances, "r", 1, KEY)
    third = held(balances, later)

    assert (first.replayed, second.replayed, third.replayed) == (False, True, True)
    assert {first.reservation, second.reservation, third.reservation} == {"reservation of r"}
    assert (second.deadline, second.numbers.held, second.numbers.rates, second.numbers.slots) == (
        START + LEASE,
        [1],
        [1],
        [1],
    )
    assert numbers(balances, KEY) == [(1, 0)]


def test_a_released_request_is_decided_afresh(balances: Balances):
    seed(balances, {KEY: 0})
    held(balances, call(Budget(KEY, 1)))
    release(balances, "r")

    assert held(balances, call(Budget(KEY, 1))).replayed is False
    assert isinstance(balances.hold(call(Budget(KEY, 1), request="other"), None), Full)


# --- rates and slots by the clock ------------------------------------------------------------------------------


def test_a_rate_begins_anew_with_the_calendar_minute(balances: Balances):
    last = START.replace(second=59, microsecond=999_000)
    for request in ("a", "b"):
        held(balances, call(request=request, rates=[REQUESTS], now=last))

    assert isinstance(balances.hold(call(request="c", rates=[REQUESTS], now=last), None), Full)
    assert held(
        balances, call(request="c", rates=[REQUESTS], now=last + timedelta(milliseconds=1))
    ).numbers.rates == [1]


def test_reserved_tokens_are_corrected_by_those_used_and_given_back_by_a_release(balances: Balances):
    for request, tokens in (("a", 3), ("b", 3)):
        held(balances, call(request=request, rates=[TOKENS], tokens=tokens))
    charge(balances, "a", 0, tokens=8)
    release(balances, "b")

    assert held(balances, call(request="c", rates=[TOKENS], tokens=2)).numbers.rates == [10]
    charge(balances, "c", 0)
    assert balances.look(call(rates=[TOKENS]).plan, START).rates == [10]


def test_a_slot_is_free_again_after_its_lease_and_by_its_end(balances: Balances):
    for request in ("a", "b"):
        held(balances, call(request=request, slots=[SLOTS]))
    release(balances, "a")
    held(balances, call(request="c", slots=[SLOTS]))

    assert isinstance(balances.hold(call(request="d", slots=[SLOTS]), None), Full)
    assert isinstance(balances.hold(call(request="d", slots=[SLOTS], now=START + LEASE), None), Held)


# --- a young Redis -----------------------------------------------------------------------------------------------


def test_after_a_loss_budgeted_calls_wait_for_one_lease_and_others_do_not(hot: HotRedis, redis: Redis):
    cautious = opened(hot, refuse_after_loss_seconds=60)
    held(cautious, call(request="first", rates=[REQUESTS]))
    seed(cautious, {KEY: 0})
    asked = call(Budget(KEY, 9))

    outcome = cautious.hold(asked, None)

    assert isinstance(outcome, Lost)
    assert outcome.until == START + timedelta(seconds=60)
    assert isinstance(cautious.hold(replace(asked, now=START + timedelta(seconds=59)), None), Lost)
    assert isinstance(cautious.hold(replace(asked, now=START + timedelta(seconds=60)), None), Held)
    redis.flushall()
    assert isinstance(cautious.hold(replace(asked, now=START + timedelta(seconds=60)), None), Lost)


# --- exact to the nano-dollar ----------------------------------------------------------------------------------


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(
    spent=st.integers(MAXIMUM_NANOS - 1_000, MAXIMUM_NANOS),
    charges=st.lists(st.integers(MAXIMUM_NANOS - 1_000, MAXIMUM_NANOS), min_size=2, max_size=5),
)
def test_sums_beyond_what_a_double_can_hold_never_lose_a_nano_dollar(
    balances: Balances, redis: Redis, spent: int, charges: list[int]
):
    redis.flushall()
    seed(balances, {KEY: spent})
    for place, amount in enumerate(charges):
        charge(balances, f"r{place}", amount, KEY)

    assert numbers(balances, KEY) == [(spent + sum(charges), 0)]
    assert spent + sum(charges) > 2**53


@pytest.mark.parametrize("cap", [MAXIMUM_NANOS, MAXIMUM_NANOS - 1])
def test_the_last_nano_dollar_below_the_ceiling_is_held_and_the_one_above_is_not(balances: Balances, cap: int):
    seed(balances, {KEY: cap - 1})

    assert isinstance(balances.hold(call(Budget(KEY, cap), request="a", amount=2), None), Full)
    assert held(balances, call(Budget(KEY, cap), request="b", amount=1)).numbers.held == [1]
    assert isinstance(balances.hold(call(Budget(KEY, cap), request="c", amount=0), None), Full)


def test_what_is_held_stays_exact_at_the_ceiling(balances: Balances):
    seed(balances, {KEY: 0})
    big = held(balances, call(Budget(KEY, MAXIMUM_NANOS), request="a", amount=MAXIMUM_NANOS - 1))
    one = held(balances, call(Budget(KEY, MAXIMUM_NANOS), request="b", amount=1))

    assert (big.numbers.held, one.numbers.held) == ([MAXIMUM_NANOS - 1], [MAXIMUM_NANOS])

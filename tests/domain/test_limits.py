"""What a call counts in and is held against: the accounts, caps, rates and slots of a plan."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.limits import Rate, Slots, Unit, admits
from app.domain.money import MAXIMUM_NANOS
from app.domain.scopes import Scope, ScopeKind
from app.domain.teams import member_id
from tests.domain.plans import ARMED, NANOS, NOW, caps, planned, snapshot

OWN = Scope(ScopeKind.KEY, "k")
MEMBER = Scope(ScopeKind.MEMBER, member_id("t", "u"))
EVERYTHING: dict[str, Any] = {
    "key": {"max_budget_nanos": 1},
    "team": {"max_budget_nanos": 2},
    "member_tier": {"max_budget_nanos": 3},
    "organization": {},
    "organization_tier": {"max_budget_nanos": 4},
    "user": {"max_budget_nanos": 5},
}
ALL = {
    OWN: 1,
    Scope(ScopeKind.TEAM, "t"): 2,
    MEMBER: 3,
    Scope(ScopeKind.ORGANIZATION, "o"): 4,
    Scope(ScopeKind.USER, "u"): 5,
}

# --- whom a call is charged to -------------------------------------------------------------------------------


def test_a_call_counts_in_every_account_and_is_held_against_every_cap():
    found = planned(snapshot(**EVERYTHING))

    assert caps(found) == ALL
    assert [account.scope for account in found.accounts] == list(ALL)


def test_what_has_no_cap_is_charged_and_holds_nothing_back():
    found = planned(snapshot(**{name: {} for name in EVERYTHING}))

    assert [account.scope for account in found.accounts] == list(ALL)
    assert (found.budgets, found.rates, found.slots) == ((), (), ())


def test_a_zero_is_a_cap_and_not_none():
    found = planned(snapshot(key={"max_budget_nanos": 0}, team={"rpm_limit": 0, "max_parallel_requests": 0}))

    assert caps(found) == {OWN: 0}
    team = Scope(ScopeKind.TEAM, "t")
    assert (found.rates, found.slots) == ((Rate(team, Unit.REQUESTS, 0),), (Slots(team, 0),))


def test_a_personal_key_counts_in_no_team():
    found = planned(snapshot(user={"max_budget_nanos": 5}))

    assert [account.scope for account in found.accounts] == [OWN, Scope(ScopeKind.USER, "u")]


@pytest.mark.parametrize("always", [True, False])
def test_an_owners_budget_binds_its_team_keys_by_choice_and_is_charged_anyway(always: bool):
    found = planned(snapshot(**EVERYTHING), user_budget_always=always)

    assert (Scope(ScopeKind.USER, "u") in caps(found)) is always
    assert [account.scope for account in found.accounts] == list(ALL)
    personal = planned(snapshot(user={"max_budget_nanos": 5}), user_budget_always=always)
    assert caps(personal) == {Scope(ScopeKind.USER, "u"): 5}


def test_what_has_no_row_is_charged_all_the_same():
    key = {"team_id": "gone", "user_id": "nobody"}

    found = planned(snapshot(key=key))

    assert [(account.scope.kind, account.scope.id) for account in found.accounts] == [
        ("key", "k"),
        ("team", "gone"),
        ("member", member_id("gone", "nobody")),
        ("user", "nobody"),
    ]


# --- caps and windows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("own", "tier", "cap"), [(None, 7, 7), (3, 7, 3), (0, 7, 0), (None, None, None)])
def test_a_tier_stands_in_for_what_the_key_does_not_say(own: int | None, tier: int | None, cap: int | None):
    found = planned(snapshot(key={"max_budget_nanos": own}, tier={"max_budget_nanos": tier}))

    assert caps(found) == ({} if cap is None else {OWN: cap})


@pytest.mark.parametrize(
    ("own", "tier", "start"),
    [("1d", "1h", "2026-11-18T00:00"), (None, "1h", "2026-11-18T13:00"), (None, None, None)],
)
def test_a_window_is_the_keys_else_its_tiers(own: str | None, tier: str | None, start: str | None):
    rows = {"key": {"budget_duration": own, "max_budget_nanos": 1}, "tier": {"budget_duration": tier}}

    (account,) = planned(snapshot(armed={("key", ""): ARMED}, **rows)).accounts

    assert (None if account.window is None else account.window.start.isoformat()[:16]) == start
    assert account.armed_at == ARMED


def test_every_scope_runs_by_its_own_window():
    rows = {name: {**row, "budget_duration": "1d"} for name, row in EVERYTHING.items() if name != "organization"}
    kinds = ("key", "team", "member", "organization", "user")

    found = planned(snapshot(organization={}, armed={(kind, ""): ARMED for kind in kinds}, **rows))

    assert {account.scope.kind for account in found.accounts if account.window is not None} == set(kinds)
    assert all(account.window.end > NOW for account in found.accounts if account.window)
    later = planned(
        snapshot(organization={}, armed={(kind, ""): ARMED for kind in kinds}, **rows), now=NOW + timedelta(days=1)
    )
    for before, after in zip(found.accounts, later.accounts, strict=True):
        assert before.window is not None
        assert after.window is not None
        assert before.window.end == after.window.start


@given(st.integers(0, 2_000), st.integers(0, MAXIMUM_NANOS))
def test_a_temporary_increase_counts_until_its_instant_and_never_passes_the_ceiling(seconds: int, cap: int):
    metadata = {"temp_budget_increase": 5, "temp_budget_expiry": (NOW + timedelta(seconds=1000)).isoformat()}
    found = snapshot(key={"max_budget_nanos": cap, "metadata": metadata})

    raised = caps(planned(found, now=NOW + timedelta(seconds=seconds)))[OWN]

    assert raised == (min(cap + 5 * NANOS, MAXIMUM_NANOS) if seconds < 1000 else cap)


def test_the_temporary_increase_of_a_tier_counts_only_where_its_cap_does():
    tier = {
        "max_budget_nanos": 7,
        "temp_budget_increase_nanos": 2,
        "temp_budget_expiry": NOW + timedelta(seconds=1),
    }

    assert caps(planned(snapshot(tier=tier))) == {OWN: 9}
    assert caps(planned(snapshot(tier=tier), now=NOW + timedelta(seconds=1))) == {OWN: 7}
    assert caps(planned(snapshot(tier=tier, key={"max_budget_nanos": 1}))) == {OWN: 1}


@pytest.mark.parametrize(
    "rows", [{"team": {}, "user": {}, "member_tier": {}}, {"organization": {}, "organization_tier": {}}]
)
def test_the_temporary_increase_of_a_members_or_an_organizations_tier_counts_until_its_instant(
    rows: dict[str, Any],
):
    raised = {
        "max_budget_nanos": 7,
        "temp_budget_increase_nanos": 2,
        "temp_budget_expiry": NOW + timedelta(seconds=1),
    }
    found = snapshot(**{name: raised if name.endswith("_tier") else row for name, row in rows.items()})

    assert list(caps(planned(found)).values()) == [9]
    assert list(caps(planned(found, now=NOW + timedelta(seconds=1))).values()) == [7]


# --- models and further windows ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "model", "counts"),
    [
        ("gpt-4o", "gpt-4o", True),
        ("gpt-4o", "openai/gpt-4o", True),
        ("openai/gpt-4o", "openai/gpt-4o", True),
        ("openai/gpt-4o", "gpt-4o", False),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-4o", None, False),
    ],
)
def test_a_budget_for_a_model_counts_its_calls_with_a_provider_or_without(
    entry: str, model: str | None, counts: bool
):
    budgets = {entry: {"budget_limit": 0.5, "time_period": "1d"}}

    found = planned(snapshot(key={"model_max_budget": budgets}), model)

    scope = Scope(ScopeKind.KEY_MODEL, "k", entry)
    assert caps(found) == ({scope: NANOS // 2} if counts else {})
    assert (scope in [account.scope for account in found.accounts]) is counts


def test_the_exact_name_of_a_model_goes_before_the_name_without_its_provider():
    budgets = {"gpt-4o": {"budget_limit": 1}, "openai/gpt-4o": {"budget_limit": 2}}

    found = planned(snapshot(key={"model_max_budget": budgets}), "openai/gpt-4o")

    assert caps(found) == {Scope(ScopeKind.KEY_MODEL, "k", "openai/gpt-4o"): 2 * NANOS}


def test_a_budget_for_a_model_is_the_keys_else_its_tiers():
    tier = {"model_max_budget": {"a": {"max_budget": 1}, "b": {"max_budget": 2}}}
    found = snapshot(key={"model_max_budget": {"a": {"max_budget": 3}}}, tier=tier)

    assert caps(planned(found, "a")) == {Scope(ScopeKind.KEY_MODEL, "k", "a"): 3 * NANOS}
    assert caps(planned(found, "b")) == {Scope(ScopeKind.KEY_MODEL, "k", "b"): 2 * NANOS}


MODELS = {"model_max_budget": {"a": {"max_budget": 1}, "m": {"max_budget": 2, "time_period": "2d"}}}


def test_further_budgets_of_the_team_and_of_the_owner_hold_beside_the_keys():
    team = {**MODELS, "budget_limits": [{"budget_duration": "5h", "max_budget": 3}]}
    found = snapshot(
        key=MODELS, team=team, user=MODELS, armed={("team_window", "5h"): NOW, ("user_model", "m"): NOW}
    )

    of_call = planned(found, "m")

    assert list(caps(of_call).items()) == [
        (Scope(ScopeKind.KEY_MODEL, "k", "m"), 2 * NANOS),
        (Scope(ScopeKind.TEAM_MODEL, "t", "m"), 2 * NANOS),
        (Scope(ScopeKind.TEAM_WINDOW, "t", "5h"), 3 * NANOS),
        (Scope(ScopeKind.USER_MODEL, "u", "m"), 2 * NANOS),
    ]
    since = {budget.account.scope.kind: budget.account.armed_at for budget in of_call.budgets}
    assert since == {"key_model": ARMED, "team_model": ARMED, "team_window": NOW, "user_model": NOW}
    assert list(caps(planned(found, None))) == [Scope(ScopeKind.TEAM_WINDOW, "t", "5h")]
    by_choice = planned(found, "m", user_budget_always=False)
    assert by_choice.accounts == of_call.accounts
    assert by_choice.budgets == of_call.budgets[:-1]


def test_accounts_that_use_opens_run_since_they_were_armed_or_the_key_was_made():
    key = {
        "model_max_budget": {"m": {"budget_limit": 1, "time_period": "2d"}},
        "budget_limits": [{"budget_duration": "5h", "max_budget": 2}],
    }
    model, window = Scope(ScopeKind.KEY_MODEL, "k", "m"), Scope(ScopeKind.KEY_WINDOW, "k", "5h")

    since_birth = {account.scope: account for account in planned(snapshot(key=key), "m").accounts}
    armed = snapshot(key=key, armed={("key_model", "m"): NOW, ("key_window", "5h"): NOW})
    since_then = {account.scope: account for account in planned(armed, "m").accounts}

    assert {since_birth[scope].armed_at for scope in (model, window)} == {ARMED}
    assert {since_then[scope].armed_at for scope in (model, window)} == {NOW}
    assert caps(planned(armed, "m")) == {model: NANOS, window: 2 * NANOS}


# --- the one rule ----------------------------------------------------------------------------------------------

AMOUNTS = st.integers(0, MAXIMUM_NANOS)


@given(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS)
def test_what_is_admitted_fits_and_something_was_left(used: int, held: int, amount: int, cap: int):
    assert admits(used, held, amount, cap) == (used + held < cap and used + held + amount <= cap)


@pytest.mark.parametrize(
    ("used", "held", "amount", "cap", "admitted"),
    [
        (0, 0, MAXIMUM_NANOS, MAXIMUM_NANOS, True),
        (0, 1, MAXIMUM_NANOS, MAXIMUM_NANOS, False),
        (MAXIMUM_NANOS - 1, 0, 1, MAXIMUM_NANOS, True),
        (MAXIMUM_NANOS - 1, 0, 2, MAXIMUM_NANOS, False),
        (MAXIMUM_NANOS, 0, 0, MAXIMUM_NANOS, False),
        (0, 0, 0, 0, False),
        (0, 0, 0, 1, True),
    ],
)
def test_the_edges_of_a_budget(used: int, held: int, amount: int, cap: int, admitted: bool):
    assert admits(used, held, amount, cap) is admitted

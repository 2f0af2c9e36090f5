"""Rates and parallel requests: whose they are, and for which models."""

from typing import Any

import pytest

from app.domain.limits import Rate, Slots, Unit
from app.domain.scopes import Scope, ScopeKind
from app.domain.teams import member_id
from tests.domain.plans import planned, snapshot

OWN = Scope(ScopeKind.KEY, "k")
MEMBER = Scope(ScopeKind.MEMBER, member_id("t", "u"))

RATED = {"rpm_limit": 1, "tpm_limit": 2, "max_parallel_requests": 3}


@pytest.mark.parametrize(
    ("rows", "scope"),
    [
        ({"key": RATED}, OWN),
        ({"tier": RATED}, OWN),
        ({"user": RATED}, Scope(ScopeKind.USER, "u")),
        ({"team": RATED}, Scope(ScopeKind.TEAM, "t")),
        ({"team": {}, "user": {}, "member_tier": RATED}, MEMBER),
        ({"organization": {}, "organization_tier": RATED}, Scope(ScopeKind.ORGANIZATION, "o")),
    ],
)
def test_rates_and_slots_are_those_of_whoever_has_them(rows: dict[str, Any], scope: Scope):
    found = planned(snapshot(**rows))

    assert found.rates == (Rate(scope, Unit.REQUESTS, 1), Rate(scope, Unit.TOKENS, 2))
    assert found.slots == (Slots(scope, 3),)


@pytest.mark.parametrize("name", ["rpm_limit", "tpm_limit", "max_parallel_requests"])
def test_a_rate_of_the_key_goes_before_its_tiers_each_by_itself(name: str):
    found = planned(snapshot(key={name: 9}, tier=RATED))

    assert sorted([*(rate.limit for rate in found.rates), *(slots.limit for slots in found.slots)]) == sorted(
        {**RATED, name: 9}.values()
    )


@pytest.mark.parametrize(
    ("rows", "scope"),
    [
        ({"key": {}}, Scope(ScopeKind.KEY_MODEL, "k", "m")),
        ({"team": {}}, Scope(ScopeKind.TEAM_MODEL, "t", "m")),
        ({"organization": {}}, Scope(ScopeKind.ORGANIZATION_MODEL, "o", "m")),
    ],
)
@pytest.mark.parametrize(("name", "unit"), [("model_rpm_limit", Unit.REQUESTS), ("model_tpm_limit", Unit.TOKENS)])
def test_rates_per_model_hold_for_that_model_alone(rows: dict[str, Any], scope: Scope, name: str, unit: Unit):
    (whose,) = rows
    found = snapshot(**{whose: {"metadata": {name: {"m": 4, "other": 5}}}})

    assert planned(found, "m").rates == planned(found, "provider/m").rates == (Rate(scope, unit, 4),)
    assert planned(found, "another").rates == planned(found, None).rates == ()


@pytest.mark.parametrize(
    ("whose", "scope"),
    [
        ("key", Scope(ScopeKind.KEY_MODEL, "k", "m")),
        ("team", Scope(ScopeKind.TEAM_MODEL, "t", "m")),
    ],
)
def test_a_rate_inside_a_budget_for_a_model_counts_where_no_other_is_set(whose: str, scope: Scope):
    budgets = {"m": {"max_budget": 1, "rpm_limit": 2, "tpm_limit": 3}}
    row = {"model_max_budget": budgets, "metadata": {"model_rpm_limit": {"m": 9}}}

    assert planned(snapshot(**{whose: row}), "m").rates == (
        Rate(scope, Unit.REQUESTS, 9),
        Rate(scope, Unit.TOKENS, 3),
    )


@pytest.mark.parametrize("rates", [None, 5, [1], {"m": "5"}, {"m": True}, {"m": 1.5}, {"m": None}])
def test_what_is_no_rate_in_free_metadata_limits_nothing(rates: object):
    assert planned(snapshot(team={"metadata": {"model_rpm_limit": rates}}), "m").rates == ()

"""Who may change teams, users, tiers and organizations, and how far: the pure rules, by table and by property."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import access, organizations, teams
from app.domain.access import HIDDEN, NO_STANDING, Caller, Kind, Standing
from app.domain.access.ceilings import CAPS, lifted
from app.domain.access.teams import RESERVED_ENTRIES
from app.domain.budgets import MODEL_RATES
from tests.domain.test_access import (
    ABOVE_TEAM,
    ADMIN,
    GRANTED,
    MEMBER,
    ORG_ADMIN,
    OWNERLESS,
    TEAM_ADMIN,
    USER,
    VIEWER,
    callers,
    kind,
    standings,
)

ROUTE = "/team/update"
# A team that nothing limits and one that everything does.
OPEN: dict[str, Any] = {
    **dict.fromkeys(CAPS),
    "models": [],
    "budget_duration": None,
    "budget_limits": None,
    "model_max_budget": {},
    "metadata": {},
    "blocked": None,
    "model_aliases": {},
    "access_group_ids": [],
    "policies": [],
    "router_settings": None,
}
LIMITED: dict[str, Any] = {
    **OPEN,
    **dict.fromkeys(CAPS, 10),
    "models": ["a", "b"],
    "budget_duration": "1d",
    "model_max_budget": {"a": {"max_budget": 1}},
    "budget_limits": [{"budget_duration": "1h", "max_budget": 1.0}],
    "metadata": {"model_rpm_limit": {"a": 5}, "model_tpm_limit": {"a": 5}, "guardrails": ["g"]},
}


# --- members -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "user_id", "expected"),
    [
        (ADMIN, "u", None),
        (ADMIN, ADMIN.user_id, None),
        (USER, "somebody else", None),
        (USER, USER.user_id, Kind.FORBIDDEN),
        (ORG_ADMIN, ORG_ADMIN.user_id, Kind.FORBIDDEN),
        (OWNERLESS, "u", None),
    ],
)
def test_only_a_proxy_admin_resets_its_own_spend_and_budget_in_a_team(
    caller: Caller, user_id: str, expected: Kind | None
):
    assert kind(access.may_relieve_member(caller, user_id)) == expected


# --- teams -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "standing", "expected"),
    [
        (ADMIN, NO_STANDING, None),
        (USER, TEAM_ADMIN, None),
        (USER, ABOVE_TEAM, None),
        (USER, MEMBER, Kind.FORBIDDEN),
        (USER, GRANTED, Kind.FORBIDDEN),
        (USER, NO_STANDING, Kind.HIDDEN),
        (OWNERLESS, NO_STANDING, Kind.HIDDEN),
        (ORG_ADMIN, NO_STANDING, Kind.HIDDEN),
        (VIEWER, NO_STANDING, Kind.FORBIDDEN),
        (replace(USER, team_id="t"), NO_STANDING, Kind.FORBIDDEN),
    ],
)
def test_a_team_is_managed_by_its_admins_and_those_above(
    caller: Caller, standing: Standing, expected: Kind | None
):
    assert kind(access.may_manage_team(caller, "t", standing, ROUTE)) == expected


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        *((LIMITED, {**LIMITED, column: 11}, field) for column, field in CAPS.items()),
        *((LIMITED, {**LIMITED, column: None}, field) for column, field in CAPS.items()),
        (LIMITED, {**LIMITED, "models": []}, "models"),
        (LIMITED, {**LIMITED, "models": ["a", "all-proxy-models"]}, "models"),
        (LIMITED, {**LIMITED, "budget_duration": "2d"}, "budget_duration"),
        (OPEN, {**OPEN, "budget_duration": "1d"}, "budget_duration"),
        (LIMITED, {**LIMITED, "model_max_budget": {}}, "model_max_budget"),
        (LIMITED, {**LIMITED, "budget_limits": None}, "budget_limits"),
        (LIMITED, {**LIMITED, "metadata": {"guardrails": ["g"]}}, "model_rpm_limit"),
        (LIMITED, {**LIMITED, "metadata": {**LIMITED["metadata"], "model_tpm_limit": {"a": "4"}}}, "model_tpm_limit"),
        (LIMITED, {**LIMITED, "metadata": {**LIMITED["metadata"], "model_tpm_limit": [4]}}, "model_tpm_limit"),
        (LIMITED, {**LIMITED, "metadata": {**LIMITED["metadata"], "model_tpm_limit": {"a": True}}}, "model_tpm_limit"),
        (LIMITED, {**LIMITED, "metadata": {**LIMITED["metadata"], "guardrails": []}}, "guardrails"),
        (LIMITED, {**LIMITED, "blocked": True}, "blocked"),
        ({**LIMITED, "blocked": True}, {**LIMITED, "blocked": False}, "blocked"),
        (LIMITED, {**LIMITED, "model_aliases": {"a": "z"}}, "model_aliases"),
    ],
)  # fmt: skip
def test_what_lifts_a_limit_or_grants_something_is_not_a_team_admins(
    before: dict[str, Any], after: dict[str, Any], field: str
):
    refusal = access.may_turn_team(USER, TEAM_ADMIN, before, after)

    assert refusal is not None
    assert (refusal.kind, refusal.param) == (Kind.FORBIDDEN, field)
    assert access.may_turn_team(ADMIN, NO_STANDING, before, after) is None


@pytest.mark.parametrize(
    "after",
    [
        LIMITED,
        {**LIMITED, **dict.fromkeys(CAPS, 0)},
        {**LIMITED, "models": ["b"]},
        {**LIMITED, "model_max_budget": {"a": {"max_budget": 1}, "b": {"max_budget": 9}}},
        {**LIMITED, "budget_limits": [{"budget_duration": "1h", "max_budget": 0.5}, {"budget_duration": "1d", "max_budget": 9}]},
        {**LIMITED, "metadata": {**LIMITED["metadata"], "model_rpm_limit": {"a": 4, "b": 9}, "tags": ["t"], "own": 1}},
        {**LIMITED, "blocked": False},
    ],
)  # fmt: skip
def test_a_team_admin_keeps_and_lowers(after: dict[str, Any]):
    assert access.may_turn_team(USER, TEAM_ADMIN, LIMITED, after) is None
    assert access.may_turn_team(USER, TEAM_ADMIN, OPEN, {**after, "budget_duration": None, "metadata": {}}) is None


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({**LIMITED, "max_budget_nanos": 20}, None),
        ({**LIMITED, "max_budget_nanos": 21}, (Kind.CEILING, "max_budget")),
        ({**LIMITED, "max_budget_nanos": None}, (Kind.FORBIDDEN, "max_budget")),
        ({**LIMITED, "tpm_limit": 20, "rpm_limit": None}, None),
        ({**LIMITED, "tpm_limit": None}, (Kind.CEILING, "tpm_limit")),
        ({**LIMITED, "models": ["a", "c"]}, None),
        ({**LIMITED, "models": ["d"]}, (Kind.FORBIDDEN, "models")),
        ({**LIMITED, "models": []}, (Kind.FORBIDDEN, "models")),
        ({**LIMITED, "budget_duration": None, "blocked": True, "metadata": {}}, None),
    ],
)
def test_an_admin_of_the_organization_lifts_up_to_the_limits_of_the_calling_key(
    after: dict[str, Any], expected: tuple[Kind, str] | None
):
    caller = replace(USER, max_budget_nanos=20, tpm_limit=20, models=("a", "b", "c"))

    refusal = access.may_turn_team(caller, ABOVE_TEAM, LIMITED, after)

    assert (refusal and (refusal.kind, refusal.param)) == expected


def test_every_folded_field_of_a_team_is_a_limit_a_guard_or_its_own():
    own = {"tags", "team_member_key_duration"}

    assert {*MODEL_RATES, *RESERVED_ENTRIES, *own} == teams.FOLDED_FIELDS
    assert set(MODEL_RATES) == organizations.FOLDED_FIELDS


@pytest.mark.parametrize(
    ("caller", "destination", "expected"),
    [
        (ADMIN, None, None),
        (ADMIN, "other", None),
        (ORG_ADMIN, "org", None),
        (ORG_ADMIN, "other", Kind.FORBIDDEN),
        (ORG_ADMIN, None, Kind.FORBIDDEN),
        (USER, "org", Kind.FORBIDDEN),
    ],
)
def test_a_team_goes_where_the_caller_administers(caller: Caller, destination: str | None, expected: Kind | None):
    assert kind(access.may_move_team(caller, destination)) == expected


# --- users, tiers, organizations ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "user_id", "sent", "expected"),
    [
        (ADMIN, "bob", {"user_role": "proxy_admin"}, None),
        (USER, "ann", {"user_alias": "A"}, None),
        (USER, "ann", {"user_role": "internal_user", "user_email": "a@b"}, None),
        (USER, "ann", {"user_role": "proxy_admin"}, Kind.FORBIDDEN),
        (USER, "ann", {"user_email": "other@b"}, Kind.FORBIDDEN),
        (USER, "ann", {"user_email": None}, Kind.FORBIDDEN),
        (USER, "ann", {"max_budget": 0}, Kind.FORBIDDEN),
        (USER, "ann", {"something new": 1}, Kind.FORBIDDEN),
        (USER, "ann", {"metadata": {"scim_active": False, "floor": 2}}, None),
        (USER, "ann", {"metadata": {"scim_active": True}}, Kind.FORBIDDEN),
        (USER, "ann", {"metadata": {"floor": 2}}, Kind.FORBIDDEN),
        (USER, "ann", {"metadata": None}, Kind.FORBIDDEN),
        (ADMIN, "ann", {"metadata": None}, None),
        (USER, "bob", {"user_alias": "B"}, Kind.HIDDEN),
        (ORG_ADMIN, "bob", {"user_alias": "B"}, Kind.HIDDEN),
        (OWNERLESS, "ann", {"user_alias": "B"}, Kind.HIDDEN),
        (VIEWER, "ann", {"user_alias": "B"}, Kind.FORBIDDEN),
    ],
)
def test_a_user_is_changed_by_itself_within_bounds_and_by_administrators(
    caller: Caller, user_id: str, sent: dict[str, Any], expected: Kind | None
):
    stored = {
        "user_role": "internal_user",
        "user_email": "a@b",
        "sso_user_id": None,
        "metadata": {"scim_active": False},
    }

    assert kind(access.may_update_user(caller, user_id, sent, stored)) == expected


@pytest.mark.parametrize("caller", [VIEWER, USER, ORG_ADMIN, OWNERLESS, replace(USER, allowed_routes=("*",))])
def test_a_tier_is_changed_by_proxy_admins_alone(caller: Caller):
    assert kind(access.may_update_budget(caller)) is Kind.FORBIDDEN
    assert access.may_update_budget(ADMIN) is None


@pytest.mark.parametrize(
    ("caller", "is_member", "expected"),
    [
        (ADMIN, False, None),
        (ORG_ADMIN, True, None),
        (replace(ORG_ADMIN, organization_admin_of=frozenset({"other"})), False, Kind.HIDDEN),
        (USER, True, Kind.FORBIDDEN),
        (USER, False, Kind.HIDDEN),
        (VIEWER, False, Kind.FORBIDDEN),
    ],
)
def test_an_organization_is_changed_by_its_admins_and_proxy_admins(
    caller: Caller, is_member: bool, expected: Kind | None
):
    assert kind(access.may_update_organization(caller, "org", is_member=is_member)) == expected


@pytest.mark.parametrize(
    ("sent", "before", "after", "field"),
    [
        ({}, {"max_budget_nanos": 1}, {"max_budget_nanos": 2}, "max_budget"),
        ({}, {"allowed_models": ["a"]}, {"allowed_models": []}, "allowed_models"),
        ({}, {}, {"temp_budget_increase_nanos": 1, "temp_budget_expiry": 2}, "temp_budget_increase"),
        ({"budget_id": "gold"}, {}, {}, "budget_id"),
        ({"object_permission": None}, {}, {}, "object_permission"),
    ],
)
def test_an_admin_of_an_organization_lifts_none_of_its_limits(
    sent: dict[str, Any], before: dict[str, Any], after: dict[str, Any], field: str
):
    refusal = access.may_turn_organization(ORG_ADMIN, sent, before, after)

    assert refusal is not None
    assert (refusal.kind, refusal.param) == (Kind.FORBIDDEN, field)
    assert access.may_turn_organization(ADMIN, sent, before, after) is None


def test_a_temporary_increase_may_be_taken_off():
    given = {"temp_budget_increase_nanos": 1, "temp_budget_expiry": 2}

    assert access.may_turn_organization(ORG_ADMIN, {}, given, dict.fromkeys(given)) is None


# --- properties --------------------------------------------------------------------------------------------

numbers = st.one_of(st.none(), st.integers(0, 3))
models = st.lists(st.sampled_from(["a", "b", "*"]), unique=True)
columns = st.builds(
    lambda caps, listed, duration, rates: {
        **OPEN,
        **caps,
        "models": listed,
        "budget_duration": duration,
        "metadata": {"model_rpm_limit": rates},
    },
    st.fixed_dictionaries(dict.fromkeys(CAPS, numbers)),
    models,
    st.sampled_from([None, "1d"]),
    st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 3)),
)


@given(callers, standings, columns, columns)
def test_whoever_does_not_see_a_team_changes_nothing_of_it(
    caller: Caller, standing: Standing, before: dict[str, Any], after: dict[str, Any]
):
    refusal = access.may_manage_team(caller, "t", standing, ROUTE)

    assert (refusal is HIDDEN) is not access.may_see_team(caller, "t", standing)
    if refusal is None and not caller.is_admin and not standing.is_organization_admin:
        turned = access.may_turn_team(caller, standing, before, after)
        assert (turned is None) is (lifted(before, after) == [])


@given(columns, columns, columns)
def test_two_steps_that_lift_nothing_lift_nothing_together(
    first: dict[str, Any], second: dict[str, Any], third: dict[str, Any]
):
    if not lifted(first, second) and not lifted(second, third):
        assert lifted(first, third) == []


@given(columns)
def test_what_stays_is_no_change(stands: dict[str, Any]):
    assert lifted(stands, stands) == []

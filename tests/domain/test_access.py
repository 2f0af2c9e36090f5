"""Who may do what with which key: the pure rules, by table and by property."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import access, routes
from app.domain.access import (
    ADMIN_ONLY_FIELDS,
    BUDGET_FIELDS,
    HIDDEN,
    NO_STANDING,
    Caller,
    KeyTarget,
    Kind,
    Refusal,
    Role,
    Standing,
)

ADMIN = Caller(Role.PROXY_ADMIN, "admin", has_owner=True)
VIEWER = Caller(Role.PROXY_ADMIN_VIEWER, "viewer", key_id="k-viewer", has_owner=True)
USER = Caller(Role.INTERNAL_USER, "ann", key_id="k-ann", has_owner=True)
USER_VIEWER = Caller(Role.INTERNAL_USER_VIEWER, "ann", key_id="k-ann", has_owner=True)
OWNERLESS = Caller(Role.INTERNAL_USER, None, key_id="k-nobody")
ORG_ADMIN = replace(USER, organization_admin_of=frozenset({"org"}))
SERVICE = Caller(Role.INTERNAL_USER, None, key_id="k-service", team_id="t", is_service_account=True)

MEMBER = Standing(is_member=True)
GRANTED = Standing(is_member=True, permissions=frozenset({"/key/generate", "/key/update"}))
TEAM_ADMIN = Standing(is_member=True, is_team_admin=True)
ABOVE_TEAM = Standing(is_organization_admin=True)

PERSONAL = KeyTarget("k", "ann", None, "ann")
GIVEN = KeyTarget("k", "ann", None, "admin")
FOREIGN = KeyTarget("k", "bob", None, "bob")
OWN_IN_TEAM = KeyTarget("k", "ann", "t", "ann")
FOREIGN_IN_TEAM = KeyTarget("k", "bob", "t", "bob")
TEAMS_OWN = KeyTarget("k", None, "t", "admin")


def kind(refusal: Refusal | None) -> Kind | None:
    return None if refusal is None else refusal.kind


# --- which routes a caller reaches at all ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "route", "method", "expected"),
    [
        (ADMIN, "/key/generate", "POST", None),
        (ADMIN, "/anything", "POST", None),
        (VIEWER, "/key/list", "GET", None),
        (VIEWER, "/models", "HEAD", None),
        (VIEWER, "/key/health", "POST", None),
        (VIEWER, "/key/generate", "POST", Kind.VIEWER),
        (VIEWER, "/key/block", "POST", Kind.VIEWER),
        (USER, "/key/generate", "POST", None),
        (USER, "/key/info", "GET", None),
        (USER, "/models", "GET", None),
        (USER, "/team/member_add", "POST", None),
        (USER, "/team/update", "POST", None),
        (USER, "/team/member_update", "POST", None),
        (USER, "/user/update", "POST", None),
        (USER, "/team/block", "POST", Kind.ROLE),
        (USER, "/budget/update", "POST", Kind.ROLE),
        (USER, "/organization/update", "PATCH", Kind.ROLE),
        (USER, "/team/new", "POST", Kind.ROLE),
        (USER, "/budget/new", "POST", Kind.ROLE),
        (USER, "/user/new", "POST", Kind.ROLE),
        (USER_VIEWER, "/key/info", "GET", None),
        (USER_VIEWER, "/key/generate", "POST", Kind.ROLE),
        (USER_VIEWER, "/key/delete", "POST", Kind.ROLE),
        (USER_VIEWER, "/user/update", "POST", Kind.ROLE),
        (OWNERLESS, "/user/update", "POST", Kind.ROLE),
        (VIEWER, "/user/update", "POST", Kind.VIEWER),
        (VIEWER, "/team/update", "POST", Kind.VIEWER),
        (VIEWER, "/organization/update", "PATCH", Kind.VIEWER),
        (ORG_ADMIN, "/team/block", "POST", None),
        (ORG_ADMIN, "/organization/update", "PATCH", None),
        (ORG_ADMIN, "/budget/update", "POST", Kind.ROLE),
        (OWNERLESS, "/key/info", "GET", None),
        (OWNERLESS, "/key/list", "GET", None),
        (OWNERLESS, "/key/generate", "POST", Kind.ROLE),
        (OWNERLESS, "/key/delete", "POST", Kind.ROLE),
        (ORG_ADMIN, "/team/new", "POST", None),
        (ORG_ADMIN, "/user/new", "POST", None),
        (ORG_ADMIN, "/organization/new", "POST", Kind.ROLE),
        (SERVICE, "/key/generate", "POST", None),
        (SERVICE, "/key/update", "POST", None),
        (SERVICE, "/key/delete", "POST", Kind.ROLE),
        (SERVICE, "/key/block", "POST", Kind.ROLE),
    ],
)
def test_a_role_reaches_its_routes_and_no_others(caller: Caller, route: str, method: str, expected: Kind | None):
    assert kind(access.gate(caller, route, method)) == expected


@pytest.mark.parametrize("role", [Role.TEAM, Role.CUSTOMER, Role.INTERNAL_USER_VIEWER])
def test_lesser_roles_read_and_change_nothing(role: Role):
    caller = replace(USER, role=role)

    assert [access.gate(caller, route, "GET") for route in routes.KEY_INFO] == [None] * len(routes.KEY_INFO)
    refused = {kind(access.gate(caller, route, "POST")) for route in routes.KEY_MANAGEMENT}
    assert refused == {Kind.ROLE}


@pytest.mark.parametrize("caller", [ADMIN, VIEWER, USER, OWNERLESS, SERVICE])
def test_allowed_routes_hold_for_everybody(caller: Caller):
    limited = replace(caller, allowed_routes=("/chat/completions", "llm_api_routes"))

    assert kind(access.gate(limited, "/key/info", "GET")) == Kind.ROUTE


@pytest.mark.parametrize(
    ("allowed", "route", "expected"),
    [
        (("/key/generate",), "/key/generate", None),
        (("management_routes",), "/key/delete", None),
        (("/key/*",), "/key/list", None),
        (("info_routes",), "/key/generate", Kind.ROUTE),
    ],
)
def test_an_administrators_list_of_routes_opens_them_to_a_key_without_owner(
    allowed: tuple[str, ...], route: str, expected: Kind | None
):
    assert kind(access.gate(replace(OWNERLESS, allowed_routes=allowed), route, "POST")) == expected


def test_allowed_routes_make_no_viewer_a_writer():
    viewer = replace(VIEWER, allowed_routes=("/key/generate",))

    assert kind(access.gate(viewer, "/key/generate", "POST")) == Kind.VIEWER


def test_a_refused_route_does_not_spell_out_the_user():
    refusal = access.gate(USER_VIEWER, "/key/generate", "POST")

    assert refusal is not None
    assert "ann" not in refusal.message


@pytest.mark.parametrize(
    ("stored", "role"),
    [
        ("proxy_admin", Role.PROXY_ADMIN),
        ("org_admin", Role.ORG_ADMIN),
        (None, Role.INTERNAL_USER),
        ("", Role.INTERNAL_USER),
        ("PROXY_ADMIN", Role.INTERNAL_USER),
        ("superuser", Role.INTERNAL_USER),
    ],
)
def test_a_stored_role_that_is_not_known_is_an_internal_users(stored: str | None, role: Role):
    assert Role.of(stored) is role


# --- grants of routes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grant", "route", "expected"),
    [
        ("/key/info", "/key/info", True),
        ("/key/info", "/key/information", False),
        ("/key", "/key/info", True),
        ("/key/", "/key/info", True),
        ("/ke", "/key/info", False),
        ("/key/*", "/key/info", True),
        ("/key/i*", "/key/info", True),
        ("*", "/anything", True),
        ("/key/*", "/keys", False),
        ("info_routes", "/key/info", True),
        ("info_routes", "/key/generate", False),
        ("management_routes", "/key/{key}/regenerate", True),
        ("management_routes", "/chat/completions", False),
        ("llm_api_routes", "/v1/messages/count_tokens", True),
        ("llm_api_routes", "/v1beta/models/gemini-2.0-flash:generateContent", True),
        ("llm_api_routes", "/openai/deployments/gpt-4o/chat/completions", True),
        ("llm_api_routes", "/engines/gpt-4o/embeddings", True),
        ("llm_api_routes", "/v1/batches/b1/cancel", True),
        ("llm_api_routes", "/model/info", True),
        ("openai_routes", "/v1/responses", True),
        ("llm_api_routes", "/v1/key/info", False),
        ("llm_api_routes", "/model/new", False),
        ("llm_api_routes", "/modelsx", False),
        ("llm_api_routes", "/v1/embeddings", True),
        ("openai_routes", "/chat/completions", True),
        ("llm_api_routes", "/key/generate", False),
        ("", "/key/info", False),
        ("/", "/key/info", False),
        ("unknown_routes", "/key/info", False),
    ],
)
def test_a_grant_covers_its_route_what_lies_under_it_its_pattern_and_its_group(
    grant: str, route: str, expected: bool
):
    assert routes.covered(route, [grant]) is expected


def test_no_grants_cover_nothing():
    assert not routes.covered("/key/info", [])


@given(st.lists(st.sampled_from(["/key", "/key/*", "info_routes", "/team/new", "llm_api_routes"])), st.data())
def test_more_grants_never_cover_less(grants: list[str], data: st.DataObject):
    route = data.draw(st.sampled_from(sorted(routes.MANAGEMENT)))
    more = [*grants, data.draw(st.sampled_from(["/x", "/key", "info_routes"]))]

    assert routes.covered(route, more) or not routes.covered(route, grants)


# --- seeing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "target", "standing", "expected"),
    [
        (ADMIN, FOREIGN, NO_STANDING, True),
        (VIEWER, FOREIGN, NO_STANDING, True),
        (USER, PERSONAL, NO_STANDING, True),
        (USER, OWN_IN_TEAM, NO_STANDING, True),
        (USER, replace(FOREIGN, key_id="k-ann"), NO_STANDING, True),
        (USER, FOREIGN, NO_STANDING, False),
        (USER, replace(FOREIGN, created_by="ann"), NO_STANDING, False),
        (USER, FOREIGN_IN_TEAM, NO_STANDING, False),
        (USER, FOREIGN_IN_TEAM, MEMBER, True),
        (USER, FOREIGN_IN_TEAM, ABOVE_TEAM, True),
        (USER, TEAMS_OWN, MEMBER, True),
        (USER, TEAMS_OWN, NO_STANDING, False),
        (OWNERLESS, KeyTarget("k", None, None, None), NO_STANDING, False),
        (OWNERLESS, KeyTarget("k-nobody", None, None, None), NO_STANDING, True),
        (SERVICE, FOREIGN_IN_TEAM, NO_STANDING, True),
        (SERVICE, replace(FOREIGN_IN_TEAM, team_id="other"), NO_STANDING, False),
        (replace(SERVICE, team_id=None), FOREIGN, NO_STANDING, False),
        (replace(USER, team_id="t"), FOREIGN_IN_TEAM, NO_STANDING, False),
    ],
)
def test_a_key_is_seen_by_its_owner_its_team_and_those_above(
    caller: Caller, target: KeyTarget, standing: Standing, expected: bool
):
    assert access.may_see_key(caller, target, standing) is expected


@pytest.mark.parametrize(
    ("caller", "standing", "expected"),
    [
        (VIEWER, NO_STANDING, True),
        (USER, MEMBER, True),
        (USER, ABOVE_TEAM, True),
        (SERVICE, NO_STANDING, True),
        (replace(USER, team_id="t"), NO_STANDING, True),
        (USER, NO_STANDING, False),
    ],
)
def test_a_team_is_seen_by_those_in_it_and_those_above(caller: Caller, standing: Standing, expected: bool):
    assert access.may_see_team(caller, "t", standing) is expected


@pytest.mark.parametrize(
    ("caller", "user_id", "expected"),
    [
        (ADMIN, "bob", True),
        (VIEWER, "bob", True),
        (USER, "ann", True),
        (USER, "bob", False),
        (OWNERLESS, "", False),
    ],
)
def test_a_user_is_seen_by_itself_and_those_above(caller: Caller, user_id: str, expected: bool):
    assert access.may_see_user(caller, user_id) is expected


@pytest.mark.parametrize(
    ("caller", "is_member", "expected"),
    [
        (ADMIN, False, True),
        (VIEWER, False, True),
        (ORG_ADMIN, False, True),
        (USER, True, True),
        (USER, False, False),
    ],
)
def test_an_organization_is_seen_by_those_in_it_and_those_above(caller: Caller, is_member: bool, expected: bool):
    assert access.may_see_organization(caller, "org", is_member=is_member) is expected


@pytest.mark.parametrize(
    ("caller", "is_member", "expected"),
    [
        (ADMIN, False, None),
        (ORG_ADMIN, True, None),
        (VIEWER, True, Kind.FORBIDDEN),
        (USER, True, Kind.FORBIDDEN),
        (USER, False, Kind.HIDDEN),
        (OWNERLESS, False, Kind.HIDDEN),
        (SERVICE, False, Kind.HIDDEN),
        (replace(USER, organization_admin_of=frozenset({"other"})), False, Kind.HIDDEN),
    ],
)
def test_who_belongs_to_an_organization_is_said_by_its_admins_and_those_above(
    caller: Caller, is_member: bool, expected: Kind | None
):
    assert kind(access.may_manage_members_of(caller, "org", is_member=is_member)) == expected


GRANTED_ALL = replace(USER, allowed_routes=("management_routes",))


@pytest.mark.parametrize(
    ("caller", "audit", "deletion"),
    [
        (ADMIN, None, None),
        (VIEWER, None, Kind.ROLE),
        (ORG_ADMIN, Kind.ROLE, Kind.ROLE),
        (USER, Kind.ROLE, Kind.ROLE),
        (SERVICE, Kind.ROLE, Kind.ROLE),
        (GRANTED_ALL, Kind.ROLE, Kind.ROLE),
    ],
)
def test_the_audit_is_read_and_organizations_are_deleted_by_role_alone(
    caller: Caller, audit: Kind | None, deletion: Kind | None
):
    assert kind(access.may_read_audit(caller)) == audit
    assert kind(access.may_delete_organizations(caller)) == deletion


# --- changing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "target", "standing", "expected"),
    [
        (ADMIN, FOREIGN, NO_STANDING, None),
        (VIEWER, FOREIGN, NO_STANDING, Kind.FORBIDDEN),
        (USER, PERSONAL, NO_STANDING, None),
        (USER, GIVEN, NO_STANDING, Kind.FORBIDDEN),
        (USER, FOREIGN, NO_STANDING, Kind.HIDDEN),
        (USER, OWN_IN_TEAM, GRANTED, None),
        (USER, OWN_IN_TEAM, MEMBER, Kind.MEMBER_PERMISSION),
        (USER, OWN_IN_TEAM, NO_STANDING, Kind.MEMBER_PERMISSION),
        (USER, OWN_IN_TEAM, TEAM_ADMIN, None),
        (USER, FOREIGN_IN_TEAM, NO_STANDING, Kind.HIDDEN),
        (USER, FOREIGN_IN_TEAM, GRANTED, Kind.FORBIDDEN),
        (USER, FOREIGN_IN_TEAM, TEAM_ADMIN, Kind.FORBIDDEN),
        (USER, FOREIGN_IN_TEAM, ABOVE_TEAM, Kind.FORBIDDEN),
        (USER, TEAMS_OWN, GRANTED, Kind.FORBIDDEN),
        (USER, TEAMS_OWN, TEAM_ADMIN, None),
        (USER, TEAMS_OWN, ABOVE_TEAM, None),
        (SERVICE, TEAMS_OWN, NO_STANDING, None),
        (SERVICE, FOREIGN_IN_TEAM, NO_STANDING, Kind.FORBIDDEN),
        (SERVICE, FOREIGN, NO_STANDING, Kind.HIDDEN),
        (OWNERLESS, KeyTarget("k-nobody", None, None, None), NO_STANDING, Kind.FORBIDDEN),
    ],
)
def test_a_key_is_updated_by_its_owner_its_team_admins_and_administrators(
    caller: Caller, target: KeyTarget, standing: Standing, expected: Kind | None
):
    refusal = access.may_update(caller, target, {"tags": ["a"]}, standing, "/key/update")

    assert kind(refusal) == expected


@pytest.mark.parametrize("field", sorted(BUDGET_FIELDS))
@pytest.mark.parametrize(
    ("caller", "target", "standing", "allowed"),
    [
        (ADMIN, FOREIGN, NO_STANDING, True),
        (USER, TEAMS_OWN, TEAM_ADMIN, True),
        (USER, PERSONAL, NO_STANDING, False),
        (USER, OWN_IN_TEAM, GRANTED, False),
        (SERVICE, TEAMS_OWN, NO_STANDING, False),
    ],
)
def test_what_a_key_may_spend_is_changed_by_those_above_it_alone(
    caller: Caller, target: KeyTarget, standing: Standing, allowed: bool, field: str
):
    for value in (1, None):
        refusal = access.may_update(caller, target, {field: value}, standing, "/key/update")

        assert (refusal is None) is allowed
        assert refusal is None or (refusal.kind, refusal.param) == (Kind.FORBIDDEN, field)


@pytest.mark.parametrize(
    ("sent", "standing", "param"),
    [
        ({"user_id": "bob"}, TEAM_ADMIN, "user_id"),
        ({"user_id": None}, TEAM_ADMIN, "user_id"),
        ({"blocked": False}, GRANTED, "blocked"),
        ({"blocked": None}, GRANTED, "blocked"),
        ({"metadata": {"service_account_id": "s"}}, GRANTED, "metadata"),
    ],
)
def test_owner_block_and_service_account_are_not_the_owners_to_change(
    sent: dict[str, Any], standing: Standing, param: str
):
    refusal = access.may_update(USER, OWN_IN_TEAM, sent, standing, "/key/update")

    assert refusal is not None
    assert (refusal.kind, refusal.param) == (Kind.FORBIDDEN, param)


@pytest.mark.parametrize(
    "sent", [{"user_id": "ann"}, {"metadata": {"service_account_id": "s"}}, {"metadata": None}]
)
def test_sending_back_what_stands_there_is_no_change(sent: dict[str, Any]):
    target = replace(OWN_IN_TEAM, service_account_id="s")

    assert access.may_update(USER, target, sent, GRANTED, "/key/update") is None


@pytest.mark.parametrize(
    ("granted", "allowed"),
    [
        (None, False),
        ({}, False),
        ({"vector_stores": ["v"]}, False),
        ({"search_tools": []}, False),
        ({"mcp_servers": []}, False),
        ({"agents": ["a"]}, True),
    ],
)
def test_the_reach_of_a_personal_key_is_not_its_owners_to_widen(granted: dict[str, Any] | None, allowed: bool):
    refusal = access.may_update(USER, PERSONAL, {"object_permission": granted}, NO_STANDING, "/key/update")

    assert (refusal is None) is allowed
    assert refusal is None or refusal.param == "object_permission"


@pytest.mark.parametrize(
    ("caller", "target", "standing", "deleting", "blocking"),
    [
        (ADMIN, FOREIGN, NO_STANDING, None, None),
        (VIEWER, FOREIGN, NO_STANDING, Kind.FORBIDDEN, Kind.MANAGERS),
        (USER, PERSONAL, NO_STANDING, None, Kind.MANAGERS),
        (USER, GIVEN, NO_STANDING, None, Kind.MANAGERS),
        (USER, FOREIGN, NO_STANDING, Kind.HIDDEN, Kind.HIDDEN),
        (USER, OWN_IN_TEAM, NO_STANDING, None, Kind.MANAGERS),
        (USER, FOREIGN_IN_TEAM, GRANTED, Kind.FORBIDDEN, Kind.MANAGERS),
        (USER, FOREIGN_IN_TEAM, TEAM_ADMIN, None, None),
        (USER, FOREIGN_IN_TEAM, ABOVE_TEAM, None, None),
        (USER, TEAMS_OWN, MEMBER, Kind.FORBIDDEN, Kind.MANAGERS),
        (SERVICE, TEAMS_OWN, NO_STANDING, Kind.FORBIDDEN, Kind.MANAGERS),
        (OWNERLESS, KeyTarget("k", None, None, None), NO_STANDING, Kind.HIDDEN, Kind.HIDDEN),
        (OWNERLESS, KeyTarget("k-nobody", None, None, None), NO_STANDING, Kind.FORBIDDEN, Kind.MANAGERS),
    ],
)
def test_a_key_is_deleted_by_its_owner_and_blocked_by_those_above(
    caller: Caller, target: KeyTarget, standing: Standing, deleting: Kind | None, blocking: Kind | None
):
    assert kind(access.may_delete(caller, target, standing)) == deleting
    assert kind(access.may_block(caller, target, standing, "/key/block")) == blocking


@pytest.mark.parametrize(
    ("caller", "team", "expected"),
    [
        (ADMIN, None, None),
        (USER, None, Kind.HIDDEN),
        (USER, NO_STANDING, Kind.HIDDEN),
        (USER, GRANTED, Kind.FORBIDDEN),
        (USER, TEAM_ADMIN, None),
        (USER, ABOVE_TEAM, None),
    ],
)
def test_a_key_is_moved_into_a_team_by_those_who_manage_it(
    caller: Caller, team: Standing | None, expected: Kind | None
):
    assert kind(access.may_move_to_team(caller, team)) == expected


@pytest.mark.parametrize(
    ("key", "team", "is_member", "param"),
    [
        ({}, {}, True, None),
        ({"models": ["a"]}, {"models": ["a", "b"]}, True, None),
        ({"models": ["a", "c"]}, {"models": ["a", "b"]}, True, "models"),
        ({"tpm_limit": 10}, {"tpm_limit": 10}, True, None),
        ({"tpm_limit": 11}, {"tpm_limit": 10}, True, "tpm_limit"),
        ({"rpm_limit": 11}, {"rpm_limit": 10}, True, "rpm_limit"),
        ({"rpm_limit": 11}, {"tpm_limit": 10}, True, None),
        ({"user_id": "ann"}, {}, True, None),
        ({"user_id": "ann"}, {}, False, "user_id"),
        ({"user_id": None}, {}, False, None),
    ],
)
def test_a_key_fits_a_team_with_its_models_limits_and_owner(
    key: dict[str, Any], team: dict[str, Any], is_member: bool, param: str | None
):
    stored = {"models": [], "tpm_limit": None, "rpm_limit": None}

    refusal = access.fits_team({**stored, "user_id": None, **key}, {**stored, **team}, is_member=is_member)

    assert (refusal is None) is (param is None)
    assert refusal is None or (refusal.kind, refusal.param) == (Kind.FORBIDDEN, param)


# --- making ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "user_id", "team_id", "team", "expected"),
    [
        (ADMIN, "bob", "t", None, None),
        (USER, "ann", None, None, None),
        (USER, None, None, None, None),
        (USER, "bob", None, None, Kind.FORBIDDEN),
        (USER, "ann", "t", None, Kind.NOT_IN_TEAM),
        (USER, "ann", "t", NO_STANDING, Kind.NOT_IN_TEAM),
        (USER, "ann", "t", MEMBER, Kind.MEMBER_PERMISSION),
        (USER, "ann", "t", GRANTED, None),
        (USER, "ann", "t", TEAM_ADMIN, None),
        (USER, "ann", "t", ABOVE_TEAM, None),
        (USER, "bob", "t", TEAM_ADMIN, Kind.FORBIDDEN),
        (SERVICE, None, "t", None, None),
        (SERVICE, None, "other", NO_STANDING, Kind.NOT_IN_TEAM),
        (SERVICE, "ann", "t", None, Kind.FORBIDDEN),
    ],
)
def test_a_key_is_made_for_oneself_and_in_ones_own_teams(
    caller: Caller, user_id: str | None, team_id: str | None, team: Standing | None, expected: Kind | None
):
    refusal = access.may_generate(
        caller, user_id=user_id, team_id=team_id, team=team, service_account=False, route="/key/generate"
    )

    assert kind(refusal) == expected


@pytest.mark.parametrize(
    ("caller", "team_id", "team", "expected"),
    [
        (ADMIN, None, None, Kind.CEILING),
        (ADMIN, "t", None, None),
        (USER, None, None, Kind.CEILING),
        (USER, "t", GRANTED, Kind.MEMBER_PERMISSION),
        (
            USER,
            "t",
            Standing(is_member=True, permissions=frozenset({"/key/service-account/generate"})),
            None,
        ),
        (USER, "t", TEAM_ADMIN, None),
    ],
)
def test_a_service_account_needs_a_team_and_a_grant_of_its_own(
    caller: Caller, team_id: str | None, team: Standing | None, expected: Kind | None
):
    refusal = access.may_generate(
        caller, user_id=None, team_id=team_id, team=team, service_account=True, route="/key/generate"
    )

    assert kind(refusal) == expected


# --- granting what one holds -------------------------------------------------------------------------------


@pytest.mark.parametrize("field", sorted({"allowed_routes", "permissions"} | ADMIN_ONLY_FIELDS))
@pytest.mark.parametrize("value", [None, [], {}, 1])
def test_fields_of_administrators_are_theirs_even_to_clear(field: str, value: Any):
    refusal = access.may_set(USER, {field: value}, personal=False)

    assert refusal is not None
    assert (refusal.kind, refusal.param) == (Kind.FORBIDDEN, field)
    assert access.may_set(ADMIN, {field: value}, personal=False) is None


@pytest.mark.parametrize(
    ("sent", "personal", "param"),
    [
        ({"key_type": "management"}, False, "key_type"),
        ({"key_type": "read_only"}, False, None),
        ({"object_permission": {"vector_stores": ["v"]}}, True, "object_permission"),
        ({"object_permission": {"mcp_servers": ["m"]}}, True, "object_permission"),
        ({"object_permission": {"search_tools": ["s"]}}, True, "object_permission"),
        ({"object_permission": {"agents": ["a"]}}, True, None),
        ({"object_permission": {"vector_stores": ["v"]}}, False, None),
        ({"object_permission": None}, True, None),
        ({"access_group_ids": ["g"]}, True, "access_group_ids"),
        ({"access_group_ids": ["g"]}, False, None),
        ({"access_group_ids": []}, True, None),
        ({"models": ["a"], "tags": ["b"]}, True, None),
    ],
)
def test_what_reaches_beyond_a_personal_key_is_granted_by_administrators(
    sent: dict[str, Any], personal: bool, param: str | None
):
    refusal = access.may_set(USER, sent, personal=personal)

    assert (refusal is None) is (param is None)
    assert refusal is None or refusal.param == param


@pytest.mark.parametrize(
    ("sent", "budget", "expected"),
    [
        ({}, None, None),
        ({"max_budget": 1}, 10, None),
        ({"max_budget": 1}, 11, Kind.CEILING),
        ({"max_budget": None}, None, Kind.CEILING),
        ({"models": ["a"]}, None, None),
        ({"models": ["a", "b"]}, None, None),
        ({"models": ["a", "c"]}, None, Kind.FORBIDDEN),
        ({"models": []}, None, Kind.FORBIDDEN),
        ({"models": None}, None, Kind.FORBIDDEN),
    ],
)
def test_budget_and_models_stay_within_those_of_the_calling_key(
    sent: dict[str, Any], budget: int | None, expected: Kind | None
):
    caller = replace(USER, max_budget_nanos=10, models=("a", "b"))

    assert kind(access.within_own_caps(caller, sent, budget)) == expected
    assert access.within_own_caps(replace(caller, role=Role.PROXY_ADMIN), sent, budget) is None


def test_a_key_without_caps_sets_none():
    sent = {"max_budget": None, "models": []}

    assert access.within_own_caps(USER, sent, None) is None


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"tpm_limit": 10, "rpm_limit": 5}, None),
        ({"tpm_limit": 11}, "tpm_limit"),
        ({"rpm_limit": 6}, "rpm_limit"),
        ({"rpm_limit": None}, "rpm_limit"),
        ({}, None),
    ],
)
def test_rates_stay_within_those_of_the_calling_key(sent: dict[str, Any], param: str | None):
    caller = replace(ORG_ADMIN, tpm_limit=10, rpm_limit=5)

    refusal = access.within_own_caps(caller, sent, None)

    assert (refusal and refusal.param) == param
    assert access.within_own_caps(replace(caller, role=Role.PROXY_ADMIN), sent, None) is None


def test_what_a_new_team_leaves_open_gets_the_caps_of_the_key_that_makes_it():
    caller = replace(ORG_ADMIN, models=("a",), max_budget_nanos=10, tpm_limit=3)

    assert access.bounded(caller, {"models": [], "max_budget_nanos": None, "team_alias": "x"}) == {
        "models": ["a"],
        "max_budget_nanos": 10,
        "tpm_limit": 3,
        "team_alias": "x",
    }
    assert access.bounded(caller, {"models": ["b"], "max_budget_nanos": 0, "tpm_limit": 0}) == {
        "models": ["b"],
        "max_budget_nanos": 0,
        "tpm_limit": 0,
    }
    assert access.bounded(replace(caller, role=Role.PROXY_ADMIN), {"models": []}) == {"models": []}


# --- teams, users, organizations ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "organization_id", "expected"),
    [
        (ADMIN, None, None),
        (ADMIN, "other", None),
        (ORG_ADMIN, "org", None),
        (ORG_ADMIN, "other", Kind.FORBIDDEN),
        (ORG_ADMIN, None, Kind.FORBIDDEN),
        (USER, "org", Kind.ROLE),
        (USER, None, Kind.ROLE),
        (replace(OWNERLESS, allowed_routes=("/team/new",)), None, None),
    ],
)
def test_an_organization_is_filled_by_its_administrators(
    caller: Caller, organization_id: str | None, expected: Kind | None
):
    assert kind(access.may_create_in_organization(caller, organization_id)) == expected


@pytest.mark.parametrize("role", [*Role, None])
def test_only_administrators_make_administrators(role: Role | None):
    privileged = role in {Role.PROXY_ADMIN, Role.PROXY_ADMIN_VIEWER}

    assert access.may_assign_role(ADMIN, role) is None
    assert (access.may_assign_role(ORG_ADMIN, role) is not None) is privileged


def test_an_organization_gets_another_admin_from_its_own_alone():
    assert access.may_assign_role(ORG_ADMIN, Role.ORG_ADMIN, ["org"]) is None
    assert kind(access.may_assign_role(ORG_ADMIN, Role.ORG_ADMIN, ["org", "other"])) is Kind.FORBIDDEN
    assert (
        kind(access.may_assign_role(replace(USER, allowed_routes=("*",)), Role.ORG_ADMIN, ["org"]))
        is Kind.FORBIDDEN
    )
    assert access.may_assign_role(ADMIN, Role.ORG_ADMIN, ["org"]) is None


def test_a_key_bound_to_routes_makes_no_key_that_reaches_further():
    bound = replace(USER, allowed_routes=("/key/generate", "info_routes"))

    assert access.routes_of_new(bound) == ["/key/generate", "info_routes"]
    assert access.may_keep_to(bound, ["info_routes"]) is None
    assert kind(access.may_keep_to(bound, ["llm_api_routes"])) is Kind.FORBIDDEN


def test_a_key_bound_to_no_routes_binds_none_and_an_administrator_is_never_bound():
    for caller in (USER, replace(USER, allowed_routes=("/*",)), replace(ADMIN, allowed_routes=("/key/generate",))):
        assert access.routes_of_new(caller) == []
        assert access.may_keep_to(caller, ["llm_api_routes"]) is None


@pytest.mark.parametrize(
    ("caller", "standing", "expected"),
    [
        (ADMIN, NO_STANDING, None),
        (USER, TEAM_ADMIN, None),
        (USER, ABOVE_TEAM, None),
        (USER, GRANTED, Kind.FORBIDDEN),
        (USER, NO_STANDING, Kind.HIDDEN),
        (VIEWER, NO_STANDING, Kind.FORBIDDEN),
        (replace(USER, team_id="t"), NO_STANDING, Kind.FORBIDDEN),
    ],
)
def test_members_are_added_by_those_who_manage_the_team(caller: Caller, standing: Standing, expected: Kind | None):
    assert kind(access.may_add_member(caller, "t", standing)) == expected


@pytest.mark.parametrize(
    ("caller", "joiners", "limited", "allowed"),
    [
        (USER, [("ann", "user")], False, True),
        (USER_VIEWER, [("ann", "user")], False, True),
        (USER, [("ann", "user")], True, False),
        (USER, [("ann", "admin")], False, False),
        (USER, [("bob", "user")], False, False),
        (USER, [("ann", "user"), ("bob", "user")], False, False),
        (USER, [], False, False),
        (replace(USER, has_owner=False), [("ann", "user")], False, False),
        (SERVICE, [("ann", "user")], False, False),
    ],
)
def test_an_open_team_is_joined_by_oneself_as_a_plain_member(
    caller: Caller, joiners: list[tuple[str, str]], limited: bool, allowed: bool
):
    refusal = access.may_join_team(caller, joiners, limited=limited)

    assert kind(refusal) == (None if allowed else Kind.FORBIDDEN)


@pytest.mark.parametrize(
    ("caller", "allowed"), [(ADMIN, True), (VIEWER, False), (USER, False), (ORG_ADMIN, False)]
)
def test_all_users_are_added_by_administrators_alone(caller: Caller, allowed: bool):
    assert (access.may_add_everybody(caller) is None) is allowed


@pytest.mark.parametrize(
    ("caller", "user_id", "allowed"),
    [
        (ADMIN, "bob", True),
        (VIEWER, "bob", True),
        (ORG_ADMIN, "bob", True),
        (USER, "ann", True),
        (USER, None, True),
        (USER, "", True),
        (USER, "bob", False),
        (OWNERLESS, "bob", False),
        (SERVICE, "ann", False),
    ],
)
def test_the_teams_of_others_are_asked_for_by_those_above(caller: Caller, user_id: str | None, allowed: bool):
    assert kind(access.may_list_teams_of(caller, user_id)) == (None if allowed else Kind.ROLE)


# --- properties --------------------------------------------------------------------------------------------

names = st.sampled_from([None, "ann", "bob"])
team_ids = st.sampled_from([None, "t", "u"])
callers = st.builds(
    Caller,
    role=st.sampled_from(Role),
    user_id=names,
    key_id=st.sampled_from([None, "k", "l"]),
    team_id=team_ids,
    has_owner=st.booleans(),
    is_service_account=st.booleans(),
    allowed_routes=st.sampled_from([(), ("*",)]),
    models=st.sampled_from([(), ("a",), ("a", "b")]),
    max_budget_nanos=st.sampled_from([None, 0, 10]),
    organization_admin_of=st.sampled_from([frozenset(), frozenset({"org"})]),
)
targets = st.builds(
    KeyTarget,
    key_id=st.sampled_from(["k", "l", "m"]),
    user_id=names,
    team_id=team_ids,
    created_by=names,
    service_account_id=st.sampled_from([None, "s"]),
)
standings = st.builds(
    Standing,
    is_member=st.booleans(),
    is_team_admin=st.booleans(),
    is_organization_admin=st.booleans(),
    permissions=st.sampled_from([frozenset(), frozenset({"/key/update", "/key/generate"})]),
)
changes = st.fixed_dictionaries(
    {},
    optional={
        "tags": st.just(["a"]),
        "user_id": names,
        "blocked": st.sampled_from([True, None]),
        "max_budget": st.sampled_from([1, None]),
        "metadata": st.sampled_from([None, {}, {"service_account_id": "s"}]),
        "object_permission": st.sampled_from([None, {"agents": ["a"]}, {"mcp_servers": []}]),
    },
)


def _standing_in(target: KeyTarget, standing: Standing) -> Standing:
    """A key of no team gives nobody a standing."""
    return NO_STANDING if target.team_id is None else standing


@given(callers, targets, standings, changes)
def test_what_a_caller_does_not_see_it_never_changes_and_never_learns_of(
    caller: Caller, target: KeyTarget, standing: Standing, sent: dict[str, Any]
):
    standing = _standing_in(target, standing)
    refusals = [
        access.may_update(caller, target, sent, standing, "/key/update"),
        access.may_delete(caller, target, standing),
        access.may_block(caller, target, standing, "/key/block"),
    ]

    if access.may_see_key(caller, target, standing):
        assert HIDDEN not in refusals
    else:
        assert refusals == [HIDDEN] * 3


@given(callers, targets, standings)
def test_a_list_of_a_team_shows_what_looking_at_each_key_shows(
    caller: Caller, target: KeyTarget, standing: Standing
):
    team_id = target.team_id or "t"
    target = replace(target, team_id=team_id)

    if access.sees_every_key_of(caller, team_id, standing):
        assert access.may_see_key(caller, target, standing)
    else:
        own = caller.key_id == target.key_id or (caller.user_id is not None and caller.user_id == target.user_id)
        assert access.may_see_key(caller, target, standing) is own


@given(callers, targets, standings, changes)
def test_more_standing_never_allows_less(
    caller: Caller, target: KeyTarget, standing: Standing, sent: dict[str, Any]
):
    standing = _standing_in(target, standing)
    more = _standing_in(target, replace(standing, is_member=True, is_team_admin=True))

    for rule in (
        lambda having: access.may_delete(caller, target, having),
        lambda having: access.may_block(caller, target, having, "/key/block"),
        lambda having: access.may_add_member(caller, "t", having),
        lambda having: access.may_move_to_team(caller, having),
    ):
        assert rule(standing) is not None or rule(more) is None


@given(callers, st.sampled_from([None, 0, 5, 10, 11]), st.sampled_from([None, [], ["a"], ["a", "b"], ["c"]]))
def test_nobody_grants_more_than_the_calling_key_holds(
    caller: Caller, budget: int | None, models: list[str] | None
):
    refusal = access.within_own_caps(caller, {"max_budget": budget, "models": models}, budget)

    if refusal is None and not caller.is_admin:
        assert caller.max_budget_nanos is None or (budget is not None and budget <= caller.max_budget_nanos)
        assert not caller.models or (models and set(models) <= set(caller.models))


@given(callers, st.sampled_from(sorted(routes.MANAGEMENT)), st.sampled_from(["GET", "POST"]))
def test_a_key_without_an_owner_changes_nothing_unless_somebody_said_so(caller: Caller, route: str, method: str):
    plain = replace(
        caller,
        role=Role.INTERNAL_USER,
        has_owner=False,
        is_service_account=False,
        allowed_routes=(),
        organization_admin_of=frozenset(),
    )

    refused = access.gate(plain, route, method) is not None

    assert refused is (route not in routes.INFO | routes.SELF_MANAGED)

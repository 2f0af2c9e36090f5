"""Whose spend a caller may see: the pure rules."""

from dataclasses import replace

import pytest

from app.domain import routes
from app.domain.access import Caller, Role, SpendReach, Standing, gate, sees_spend_of, spend_reach

USER = Caller(Role.INTERNAL_USER, "ann", key_id="k", has_owner=True)
OWNERLESS = Caller(Role.INTERNAL_USER, None, key_id="k")
SERVICE = replace(OWNERLESS, team_id="t", is_service_account=True)


@pytest.mark.parametrize("role", [Role.PROXY_ADMIN, Role.PROXY_ADMIN_VIEWER])
def test_those_who_see_all_see_everybodys_spend(role: Role):
    assert spend_reach(replace(USER, role=role)) == SpendReach(everything=True)


@pytest.mark.parametrize("caller", [USER, OWNERLESS, SERVICE, replace(USER, role=Role.INTERNAL_USER_VIEWER)])
def test_everybody_else_sees_the_own_user_and_key_and_the_teams_that_are_given(caller: Caller):
    assert spend_reach(caller, ["t"]) == SpendReach(False, caller.user_id, "k", frozenset({"t"}))


@pytest.mark.parametrize(
    ("standing", "sees"),
    [
        (Standing(), False),
        (Standing(is_member=True, permissions=frozenset({"/key/list", "/team/daily/activity"})), False),
        (Standing(is_member=True, is_team_admin=True), True),
        (Standing(is_organization_admin=True), True),
    ],
)
def test_a_teams_spend_is_for_those_who_manage_it(standing: Standing, sees: bool):
    assert sees_spend_of(standing) == sees


@pytest.mark.parametrize("route", sorted(routes.REPORTS))
@pytest.mark.parametrize("caller", [USER, OWNERLESS, SERVICE, replace(USER, role=Role.PROXY_ADMIN_VIEWER)])
def test_everybody_reaches_the_reports(caller: Caller, route: str):
    assert gate(caller, route, "GET") is None


def test_a_key_for_reports_alone_reaches_nothing_else():
    caller = replace(USER, allowed_routes=("spend_tracking_routes",))

    assert gate(caller, "/spend/logs", "GET") is None
    assert gate(caller, "/key/list", "GET") is not None
    assert gate(caller, "/global/spend/keys", "GET") is not None

"""The rows of teams and of those in them."""

from collections.abc import Callable
from typing import Any

from tests.access.callers import (
    ACME,
    ADMINS,
    CREW,
    ELSEWHERE,
    EVERYBODY,
    MANAGERS,
    MANAGERS_ELSEWHERE,
    NEWCOMER,
    ORG_ADMINS,
    OTHER,
    PLAIN_MEMBERS,
    REGULAR,
    SEE_ALL,
    VIEWER,
)
from tests.access.oracle import Noun, Row, opened

SEES = {
    CREW: SEE_ALL | MANAGERS | PLAIN_MEMBERS | {"team key", "service account"},
    ELSEWHERE: SEE_ALL | MANAGERS_ELSEWHERE,
}
TEAM = Noun("team", SEES)
MANAGING = {CREW: ADMINS | MANAGERS, ELSEWHERE: ADMINS | MANAGERS_ELSEWHERE}
ABOVE = ADMINS | ORG_ADMINS
# Whose team it may become: what is not the caller's to fill is refused alike, whether it is there or not.
WITHIN = Noun("organization", {ACME: ADMINS | {"org admin"}, OTHER: ADMINS | {"other org admin"}})
ALL_WITHIN = (ACME, OTHER, "unknown")

Sends = Callable[[str], dict[str, Any]]


def _body(**fields: Any) -> Sends:
    return lambda team: {"json": {"team_id": team, **fields}}


def _query(team: str) -> dict[str, Any]:
    return {"query": {"team_id": team}}


def _path(json: Any = None, **names: str) -> Sends:
    return lambda team: {"path": {"team_id": team, **names}, **({} if json is None else {"json": json})}


def _managed(method: str, route: str, sends: Sends, does: str = "") -> Row:
    """Everybody reaches it; those who manage the team may."""
    reaches = EVERYBODY if method == "GET" else EVERYBODY - {VIEWER}
    return Row(method=method, route=route, does=does, noun=TEAM, sends=sends, reaches=reaches, may=MANAGING)


def _above(route: str, sends: Sends) -> Row:
    """For administrators, and those of the team's organization; a team's own admin does not reach it."""
    return Row(method="POST", route=route, noun=TEAM, sends=sends, reaches=ABOVE, may=MANAGING)


LOGGING = {"callback_name": "langfuse", "callback_type": "failure", "callback_vars": {}}

ROWS = (
    Row(
        method="POST",
        route="/team/new",
        sends=lambda _: {"json": {"team_id": "new"}},
        reaches=ABOVE,
        may={"none": ADMINS},
        odd=opened(200),
    ),
    Row(
        method="POST",
        route="/team/new",
        does="in an organization",
        noun=WITHIN,
        sends=lambda organization: {"json": {"team_id": "new", "organization_id": organization}},
        reaches=ABOVE,
        may=WITHIN.seen_by,
        hidden=403,
        odd={**dict.fromkeys(((admin, "unknown") for admin in ADMINS), 400), **opened(400, *ALL_WITHIN)},
    ),
    Row(method="GET", route="/team/info", noun=TEAM, sends=_query, may=SEES),
    Row(method="GET", route="/budget/calendar", does="of a team", noun=TEAM, sends=_query, may=SEES),
    Row(
        method="GET",
        route="/budget/calendar",
        does="of a member",
        noun=TEAM,
        sends=lambda team: {"query": {"team_id": team, "user_id": REGULAR}},
        may=SEES,
    ),
    *(
        Row(
            method="GET",
            route=route,
            noun=TEAM,
            sends=lambda _: {"query": {"page_size": 100}},
            seen_by=dict.fromkeys((*SEES, "unknown"), EVERYBODY),
            may=dict.fromkeys((*SEES, "unknown"), EVERYBODY),
            shows=SEES,
        )
        for route in ("/team/list", "/v2/team/list")
    ),
    Row(method="GET", route="/team/available", may={"none": EVERYBODY}),
    _managed("POST", "/team/update", _body(team_alias="x")),
    _above("/team/block", _body()),
    _above("/team/unblock", _body()),
    _above("/team/delete", lambda team: {"json": {"team_ids": [team]}}),
    _managed("POST", "/team/member_add", _body(member={"user_id": NEWCOMER, "role": "user"})),
    _managed("POST", "/team/bulk_member_add", _body(members=[{"user_id": NEWCOMER, "role": "user"}])),
    _managed("POST", "/team/member_update", _body(user_id=REGULAR, max_budget_in_team=1)),
    _managed("POST", "/team/member_delete", _body(user_id=REGULAR)),
    _managed("POST", "/team/{team_id}/member/{user_id}/reset_spend", _path({"reset_to": 0}, user_id=REGULAR)),
    _managed("POST", "/team/{team_id}/member/{user_id}/reset_budget", _path(user_id=REGULAR)),
    _managed("GET", "/team/permissions_list", _query),
    _managed("POST", "/team/permissions_update", _body(team_member_permissions=["/key/info"])),
    _managed("POST", "/team/{team_id}/callback", _path(LOGGING)),
    _managed("GET", "/team/{team_id}/callback", _path()),
    _managed("DELETE", "/team/{team_id}/callback/{callback_name}", _path(callback_name="langfuse")),
    _managed("POST", "/team/{team_id}/disable_logging", _path()),
    _managed("POST", "/team/key/bulk_update", _body(all_keys_in_team=True, update_fields={"tags": ["x"]})),
)

"""The rows of users."""

from typing import Any

from tests.access.callers import (
    ACME,
    ADMINS,
    EVERYBODY,
    INTERNAL,
    MATE,
    ORG_ADMINS,
    OTHER,
    OWNERS,
    SEE_ALL,
    STRANGER,
    VIEWER,
)
from tests.access.oracle import Noun, Row, joined, on, opened

ONESELF = "oneself"
SEES = {ONESELF: OWNERS, MATE: SEE_ALL, STRANGER: SEE_ALL}
USER = Noun("user", SEES, held_by={ONESELF: OWNERS})
# Whose user it may become: see the teams of an organization.
WITHIN = Noun("organization", {ACME: ADMINS | {"org admin"}, OTHER: ADMINS | {"other org admin"}})
ALL_WITHIN = (ACME, OTHER, "unknown")
ABOVE = ADMINS | ORG_ADMINS
# Whose teams all lie within the organization.
MEMBERS_OF = {MATE: frozenset({"org admin"}), STRANGER: frozenset({"other org admin"})}
LISTERS = ADMINS | {VIEWER} | ORG_ADMINS
SELF_SERVING = ADMINS | INTERNAL | ORG_ADMINS


def _query(user: str) -> dict[str, Any]:
    return {"query": {"user_id": user}}


ROWS = (
    Row(
        method="POST",
        route="/user/new",
        sends=lambda _: {"json": {"user_id": "new"}},
        reaches=ABOVE,
        may={"none": ADMINS},
        odd=opened(200),
    ),
    Row(
        method="POST",
        route="/user/new",
        does="in an organization",
        noun=WITHIN,
        sends=lambda organization: {"json": {"user_id": "new", "organizations": [organization]}},
        reaches=ABOVE,
        may=WITHIN.seen_by,
        hidden=403,
        odd={**dict.fromkeys(((admin, "unknown") for admin in ADMINS), 400), **opened(400, *ALL_WITHIN)},
    ),
    Row(
        method="POST",
        route="/user/new",
        does="an administrator",
        noun=WITHIN,
        sends=lambda organization: {
            "json": {"user_id": "new", "organizations": [organization], "user_role": "proxy_admin"}
        },
        reaches=ABOVE,
        may=on(ADMINS, ACME, OTHER),
        hidden=403,
        odd={**dict.fromkeys(((admin, "unknown") for admin in ADMINS), 400), **opened(403, *ALL_WITHIN)},
    ),
    Row(method="GET", route="/user/info", noun=USER, sends=_query, may=SEES),
    Row(method="GET", route="/budget/calendar", does="of a user", noun=USER, sends=_query, may=SEES),
    Row(method="GET", route="/v2/user/info", noun=USER, sends=_query, may=SEES),
    Row(
        method="GET",
        route="/user/list",
        noun=USER,
        sends=lambda _: {"query": {"page_size": 100}},
        seen_by=on(EVERYBODY, *SEES, "unknown"),
        may=on(LISTERS, *SEES, "unknown"),
        shows=joined(on(ADMINS | {VIEWER}, *SEES), {ONESELF: ORG_ADMINS}),
    ),
    Row(
        method="POST",
        route="/user/update",
        noun=USER,
        sends=lambda user: {"json": {"user_id": user, "user_alias": "x"}},
        reaches=SELF_SERVING,
        may=joined(on(ADMINS, *SEES), {ONESELF: SELF_SERVING}),
    ),
    Row(
        method="POST",
        route="/user/update",
        does="a limit",
        noun=USER,
        sends=lambda user: {"json": {"user_id": user, "max_budget": 1}},
        reaches=SELF_SERVING,
        may=on(ADMINS, *SEES),
    ),
    Row(
        method="POST",
        route="/user/update",
        does="the role",
        noun=USER,
        sends=lambda user: {"json": {"user_id": user, "user_role": "proxy_admin"}},
        reaches=SELF_SERVING,
        may=on(ADMINS, *SEES),
    ),
    Row(
        method="POST",
        route="/user/delete",
        noun=USER,
        sends=lambda user: {"json": {"user_ids": [user]}},
        reaches=ABOVE,
        seen_by=joined(SEES, MEMBERS_OF),
        may=joined(on(ADMINS, *SEES), {ONESELF: ABOVE}, MEMBERS_OF),
    ),
    Row(method="GET", route="/user/available_roles", may={"none": EVERYBODY}),
)

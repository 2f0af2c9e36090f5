"""The rows of organizations and of those in them."""

from collections.abc import Callable
from typing import Any

from tests.access.callers import ACME, ADMINS, EVERYBODY, NEWCOMER, ORG_ADMINS, OTHER, REGULAR, SEE_ALL
from tests.access.oracle import Noun, Row, opened

SEES = {ACME: SEE_ALL | {"org admin", "org member"}, OTHER: SEE_ALL | {"other org admin"}}
ORGANIZATION = Noun("organization", SEES)
ADMINISTERING = {ACME: ADMINS | {"org admin"}, OTHER: ADMINS | {"other org admin"}}
ABOVE = ADMINS | ORG_ADMINS


def _administered(method: str, route: str, **fields: Any) -> Row:
    sends: Callable[[str], dict[str, Any]] = lambda organization: {  # noqa: E731 - one of the row's values
        "json": {"organization_id": organization, **fields}
    }
    return Row(method=method, route=route, noun=ORGANIZATION, sends=sends, reaches=ABOVE, may=ADMINISTERING)


ROWS = (
    Row(
        method="POST",
        route="/organization/new",
        sends=lambda _: {"json": {"organization_alias": "new"}},
        reaches=ADMINS,
        may={"none": ADMINS},
        odd=opened(200),
    ),
    Row(
        method="GET",
        route="/organization/info",
        noun=ORGANIZATION,
        sends=lambda organization: {"query": {"organization_id": organization}},
        may=SEES,
    ),
    Row(
        method="GET",
        route="/budget/calendar",
        does="of an organization",
        noun=ORGANIZATION,
        sends=lambda organization: {"query": {"organization_id": organization}},
        may=SEES,
    ),
    Row(
        method="GET",
        route="/organization/list",
        noun=ORGANIZATION,
        seen_by=dict.fromkeys((*SEES, "unknown"), EVERYBODY),
        may=dict.fromkeys((*SEES, "unknown"), EVERYBODY),
        shows=SEES,
    ),
    _administered("PATCH", "/organization/update", organization_alias="x"),
    _administered("POST", "/organization/member_add", member={"user_id": NEWCOMER, "role": "internal_user"}),
    _administered("PATCH", "/organization/member_update", user_id=REGULAR, role="internal_user_viewer"),
    _administered("DELETE", "/organization/member_delete", user_id=REGULAR),
    Row(
        method="DELETE",
        route="/organization/delete",
        noun=ORGANIZATION,
        sends=lambda organization: {"json": {"organization_ids": [organization]}},
        reaches=ADMINS,
        may=dict.fromkeys(SEES, ADMINS),
        odd=opened(401, *SEES, "unknown"),
    ),
)

"""Routes as access rules see them: groups of them, and whether a list of grants covers one.

The group names are LiteLLM's; what each holds is this service's own routes, or the data-plane routes that a
gateway asks about.
"""

import re
from collections.abc import Collection, Iterable

KEY_INFO = frozenset({"/key/info", "/key/list", "/key/health", "/v2/key/info"})
KEY_MANAGEMENT = frozenset(
    {
        "/key/generate",
        "/key/update",
        "/key/delete",
        "/key/block",
        "/key/unblock",
        "/key/regenerate",
        "/key/{key}/regenerate",
        "/key/bulk_update",
        "/key/service-account/generate",
        "/key/{key}/reset_spend",
        "/key/aliases",
    }
)
# For administrators and the keys of gateways.
GATEWAY = frozenset({"/key/verify", "/key/settle", "/key/release", "/key/extend", "/key/explain", "/key/log"})
# Reports that hold what the caller may see of them, and so are for everybody.
REPORTS = frozenset(
    {
        "/spend/keys",
        "/spend/tags",
        "/spend/end_users",
        "/spend/logs",
        "/user/daily/activity",
        "/team/daily/activity",
    }
)
# Any authenticated caller reaches these; the use case decides.
SELF_MANAGED = frozenset(
    {
        "/team/update",
        "/team/member_add",
        "/team/bulk_member_add",
        "/team/member_update",
        "/team/member_delete",
        "/team/permissions_list",
        "/team/permissions_update",
        "/team/{team_id}/callback",
        "/team/{team_id}/callback/{callback_name}",
        "/team/{team_id}/disable_logging",
        "/team/{team_id}/member/{user_id}/reset_spend",
        "/team/{team_id}/member/{user_id}/reset_budget",
        "/team/key/bulk_update",
        "/user/list",
    }
)
# A user reaches these for itself.
PERSONAL = frozenset({"/user/update"})
# What clients ask for at their start; nothing in it is anybody's secret.
CATALOGUE = frozenset(
    {
        "/models",
        "/v1/models",
        "/model/info",
        "/v1/model/info",
        "/credentials",
        "/v2/guardrails/list",
        "/policies/list",
        "/v1/unified_access_group",
        "/access_group/list",
    }
)
INFO = (
    KEY_INFO
    | CATALOGUE
    | {
        "/team/info",
        "/team/list",
        "/v2/team/list",
        "/team/available",
        "/user/info",
        "/v2/user/info",
        "/user/available_roles",
        "/organization/info",
        "/organization/list",
    }
)
# What an administrator of an organization reaches beyond the rest; the use case keeps it to that organization.
_OF_ORGANIZATIONS = frozenset(
    {
        "/team/new",
        "/team/block",
        "/team/unblock",
        "/team/delete",
        "/user/new",
        "/user/delete",
        "/organization/update",
        "/organization/member_add",
        "/organization/member_update",
        "/organization/member_delete",
    }
)
ORGANIZATION_ADMIN = KEY_MANAGEMENT | _OF_ORGANIZATIONS
MANAGEMENT = (
    KEY_MANAGEMENT
    | SELF_MANAGED
    | PERSONAL
    | (INFO - CATALOGUE)
    | _OF_ORGANIZATIONS
    | {"/organization/new", "/organization/delete"}
    | {
        "/budget/new",
        "/budget/info",
        "/budget/update",
        "/budget/list",
        "/budget/settings",
        "/budget/delete",
        "/audit",
        "/audit/{id}",
        "/events",
        "/events/targets",
        "/events/{id}",
        "/events/{id}/replay",
    }
)

# What a gateway's clients call: an operation and all below it, under a version, a deployment or neither.
_OPERATIONS = (
    "chat/completions|completions|embeddings|responses|messages|moderations|rerank|realtime|models|model/info"
    "|images/(?:generations|edits|variations)|audio/(?:transcriptions|translations|speech)"
    "|batches|files|fine_tuning/jobs|assistants|threads|vector_stores"
)
_DATA_PLANE = re.compile(
    rf"/(?:v1/|v2/|v1beta/|engines/[^/]+/|openai/deployments/[^/]+/)?(?:{_OPERATIONS})(?:/.*)?"
)

_GROUPS: dict[str, frozenset[str]] = {
    "info_routes": frozenset(INFO),
    "management_routes": frozenset(MANAGEMENT),
    "key_management_routes": KEY_MANAGEMENT | KEY_INFO,
    "spend_tracking_routes": REPORTS,
    "global_spend_tracking_routes": frozenset({"/global/spend/keys"}),
}
_DATA_PLANE_GROUPS = frozenset({"llm_api_routes", "openai_routes"})


def covered(route: str, grants: Iterable[str]) -> bool:
    """Whether one of the grants is this route, a prefix of it, a `*` pattern of it or a group that holds it."""
    return any(_covers(grant, route) for grant in grants)


def unbounded(grants: Iterable[str]) -> bool:
    """Whether grants leave no route out."""
    return covered("/", grants)


def within(grants: Iterable[str], others: Collection[str]) -> bool:
    """Whether each of the grants is among the others, or covered by one of them."""
    return unbounded(others) or all(
        grant in others or (grant.startswith("/") and covered(grant, others)) for grant in grants
    )


def _covers(grant: str, route: str) -> bool:
    if grant in _DATA_PLANE_GROUPS:
        return _DATA_PLANE.fullmatch(route) is not None
    if grant in _GROUPS:
        return route in _GROUPS[grant]
    if grant.endswith("*"):
        return route.startswith(grant[:-1])
    prefix = grant.rstrip("/")
    # Nothing is no prefix: an empty grant would cover every route.
    return route == grant or (prefix != "" and route.startswith(prefix + "/"))

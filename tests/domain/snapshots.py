"""Snapshots as SQL would give them, for rules that never see a database."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from app.domain.snapshots import Snapshot

NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)

_KEY = {
    "key_id": "key 1",
    "token": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
    "key_name": "sk-...abcd",
    "key_alias": None,
    "user_id": None,
    "team_id": None,
    "organization_id": None,
    "blocked": None,
    "expires_at": None,
    "models": [],
    "aliases": {},
    "metadata": {},
    "allowed_routes": [],
    "allowed_cache_controls": [],
}
_TEAM = {
    "team_id": "t1",
    "organization_id": None,
    "blocked": False,
    "models": [],
    "model_aliases": {},
    "metadata": {},
}
_USER = {"user_id": "u1", "models": [], "metadata": {}}
_ORGANIZATION = {"organization_id": "o1", "models": []}
_REACH = {"vector_stores": [], "models": [], "blocked_tools": [], "mcp_servers": []}


def snapshot_of(
    *,
    team: Mapping[str, Any] | None = None,
    user: Mapping[str, Any] | None = None,
    organization: Mapping[str, Any] | None = None,
    member_models: list[str] | None = None,
    reach: Mapping[str, Any] | None = None,
    team_reach: Mapping[str, Any] | None = None,
    **key: Any,
) -> Snapshot:
    """A key with what is named of it, of its team, of its owner and of all around them."""
    ids: dict[str, Any] = {}
    if team is not None:
        ids["team_id"] = "t1"
    if user is not None:
        ids["user_id"] = "u1"
    return Snapshot(
        key=_KEY | ids | key,
        user=None if user is None else _USER | user,
        team=None if team is None else _TEAM | team,
        member=None,
        organization=None if organization is None else _ORGANIZATION | organization,
        member_tier=None if member_models is None else {"allowed_models": member_models},
        object_permission=None if reach is None else _REACH | reach,
        team_object_permission=None if team_reach is None else _REACH | team_reach,
    )

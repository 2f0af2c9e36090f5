"""A key, and everything that bears on its verdict, as one statement saw it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Rows of tables by the names of their columns, None where there is no such row.

    `key` is the key's row with its `token`, `key_name` and `revoke_at`. `armed_at` holds, by (scope, sub), when
    the window of each budget that the key counts in was armed.
    """

    key: Mapping[str, Any]
    user: Mapping[str, Any] | None
    team: Mapping[str, Any] | None
    member: Mapping[str, Any] | None
    organization_admin_of: frozenset[str] = frozenset()
    organization: Mapping[str, Any] | None = None
    tier: Mapping[str, Any] | None = None
    member_tier: Mapping[str, Any] | None = None
    organization_tier: Mapping[str, Any] | None = None
    object_permission: Mapping[str, Any] | None = None
    team_object_permission: Mapping[str, Any] | None = None
    armed_at: Mapping[tuple[str, str], datetime] = field(default_factory=dict)

"""A key and everything that bears on its verdict, as one statement saw it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.domain.windows import Window

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Rows are those of the tables; each is None where there is no such row.

    `tier` is the budget tier that the key is linked to. `armed_at` tells since when an account has windows, by
    scope and sub-scope; one that was never opened is not in it. `windows` are those that were stored then: they
    may have been moved since, but not otherwise than whoever knows these computes it.
    """

    key: Row
    user: Row | None = None
    team: Row | None = None
    member: Row | None = None
    organization: Row | None = None
    tier: Row | None = None
    member_tier: Row | None = None
    organization_tier: Row | None = None
    object_permission: Row | None = None
    team_object_permission: Row | None = None
    organization_admin_of: frozenset[str] = frozenset()
    armed_at: Mapping[tuple[str, str], datetime | None] = field(default_factory=dict)
    windows: Mapping[tuple[str, str], Window] = field(default_factory=dict)

    @property
    def organization_id(self) -> str | None:
        """The organization that the key counts in: its team's, else its own."""
        own: str | None = self.key["organization_id"]
        return (self.team or {}).get("organization_id") or own

    @property
    def owner_is_active(self) -> bool:
        """Whether the key's owner, if it has a row, is not switched off by the identity provider."""
        # What LiteLLM's SCIM endpoints leave on such a user.
        return self.user is None or self.user["metadata"].get("scim_active") is not False

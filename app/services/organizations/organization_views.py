"""An organization and its members as the rest of the service sees them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.clock import iso
from app.domain.access import Caller
from app.domain.money import dollars
from app.domain.payloads import payload
from app.domain.spend import Spend
from app.services.users.user_views import UserView, shown_to


@dataclass(frozen=True, slots=True)
class OrganizationMemberView:
    """One user's membership of one organization, with the tier of its own, if it has one.

    `user` is None for a member without a row.
    """

    columns: Mapping[str, Any]
    user: UserView | None
    tier: Mapping[str, Any] | None = None

    def fields(self) -> dict[str, Any]:
        """The membership under its wire names, ready for JSON."""
        columns = self.columns
        return {
            **{name: columns[name] for name in ("organization_id", "user_id", "user_role", "budget_id")},
            "created_at": iso(columns["created_at"]),
            "updated_at": iso(columns["updated_at"]),
            "max_budget_in_organization": None if self.tier is None else self.tier["max_budget"],
            "litellm_budget_table": self.tier,
        }

    def shown_to(self, caller: Caller) -> dict[str, Any]:
        """The membership with as much of its user as the caller may see."""
        return {**self.fields(), "user": None if self.user is None else shown_to(caller, self.user)}


@dataclass(frozen=True, slots=True)
class OrganizationView:
    """An organization at one instant, with the tier that caps it."""

    organization_id: str
    columns: Mapping[str, Any]
    spend: Spend
    tier: Mapping[str, Any] | None
    object_permission: Mapping[str, Any] | None = None

    def fields(self) -> dict[str, Any]:
        """Every field under its wire name, ready for JSON."""
        columns = self.columns
        return {
            **{name: columns[name] for name in _PLAIN},
            "spend": dollars(self.spend.window_nanos),
            "total_spend": dollars(self.spend.lifetime_nanos),
            "budget_reset_at": iso(self.spend.reset_at),
            "created_at": iso(columns["created_at"]),
            "updated_at": iso(columns["updated_at"]),
            "litellm_budget_table": self.tier,
            "object_permission": self.object_permission,
            "model_spend": {},
        }

    def event_fields(self) -> dict[str, Any]:
        """What events say of it."""
        tier = self.tier or {}
        return payload(
            self.columns,
            spend_nanos=self.spend.window_nanos,
            max_budget=tier.get("max_budget"),
            soft_budget=tier.get("soft_budget"),
        )


_PLAIN = (
    "organization_id",
    "organization_alias",
    "budget_id",
    "object_permission_id",
    "models",
    "metadata",
    "created_by",
    "updated_by",
)

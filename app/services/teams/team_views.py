"""A team and its members as the rest of the service sees them, and the one place that names their fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.clock import iso
from app.domain import spellings
from app.domain.budgets import shown_limits
from app.domain.further_usage import FurtherUsage, usage_fields
from app.domain.limits import Account
from app.domain.masking import masked_team_metadata
from app.domain.money import dollars, shown
from app.domain.payloads import payload
from app.domain.scopes import Scope, ScopeKind
from app.domain.spend import Spend
from app.domain.teams import member_id, shown_metadata


@dataclass(frozen=True, slots=True)
class MemberView:
    """One user's membership of one team, with its tier: its own, or the one that the team's members share."""

    team_id: str
    user_id: str
    user_email: str | None
    role: str
    spend: Spend
    tier: Mapping[str, Any] | None
    shares_tier: bool

    @property
    def account(self) -> Account:
        """What its charges count in, in the window of this instant."""
        scope = Scope(ScopeKind.MEMBER, member_id(self.team_id, self.user_id))
        return Account(scope, self.spend.window, self.spend.armed_at, self.spend.terms)

    def role_fields(self) -> dict[str, Any]:
        """The entry in a team's `members_with_roles`."""
        return {"user_id": self.user_id, "user_email": self.user_email, "role": self.role}

    def fields(self) -> dict[str, Any]:
        """The membership under its wire names, ready for JSON."""
        source = None if self.tier is None else "team" if self.shares_tier else "member"
        return {
            **self.role_fields(),
            "team_id": self.team_id,
            "spend": dollars(self.spend.window_nanos),
            "total_spend": dollars(self.spend.lifetime_nanos),
            "budget_reset_at": iso(self.spend.reset_at),
            "budget_id": None if self.tier is None else self.tier["budget_id"],
            "budget_source": source,
            "litellm_budget_table": self.tier,
        }


@dataclass(frozen=True, slots=True)
class TeamView:
    """A team at one instant; `further` are its budgets beside the whole one, where they were asked for."""

    team_id: str
    columns: Mapping[str, Any]
    spend: Spend
    members: Sequence[MemberView]
    member_tier: Mapping[str, Any] | None = None
    object_permission: Mapping[str, Any] | None = None
    further: Sequence[FurtherUsage] = ()

    def fields(self) -> dict[str, Any]:
        """Every field under its wire name, ready for JSON and to be shown."""
        stored = self.stored_fields()
        return {**stored, "metadata": masked_team_metadata(stored["metadata"])}

    def event_fields(self) -> dict[str, Any]:
        """What events say of it."""
        columns = self.columns
        return payload(
            columns,
            spend_nanos=self.spend.window_nanos,
            max_budget=shown(columns["max_budget_nanos"]),
            soft_budget=shown(columns["soft_budget_nanos"]),
        )

    def stored_fields(self) -> dict[str, Any]:
        """The same with secrets as they are stored, sealed: so that a record can tell that one has changed."""
        columns = self.columns
        aliases = columns["model_aliases"]
        return {
            **{name: columns[name] for name in _PLAIN},
            **spellings.shown(columns["budget_duration"]),
            "budget_limits": shown_limits(columns["budget_limits"]),
            "metadata": shown_metadata(columns["metadata"], columns["member_budget_id"]),
            "blocked": bool(columns["blocked"]),
            "max_budget": shown(columns["max_budget_nanos"]),
            "soft_budget": shown(columns["soft_budget_nanos"]),
            "spend": dollars(self.spend.window_nanos),
            "total_spend": dollars(self.spend.lifetime_nanos),
            "budget_reset_at": iso(self.spend.reset_at),
            "created_at": iso(columns["created_at"]),
            "updated_at": iso(columns["updated_at"]),
            **self._members(),
            "team_member_budget_table": self.member_tier,
            "object_permission": self.object_permission,
            "model_id": None,
            "litellm_model_table": {"model_aliases": aliases} if aliases else None,
            "model_spend": {},
            **usage_fields(self.further),
        }

    def _members(self) -> dict[str, Any]:
        return {
            "admins": [member.user_id for member in self.members if member.role == "admin"],
            "members": [member.user_id for member in self.members],
            "members_with_roles": [member.role_fields() for member in self.members],
        }


@dataclass(frozen=True, slots=True)
class ArchivedTeam:
    """A deleted team as it was shown, by whom it was deleted, and how many members it had."""

    shown: Mapping[str, Any]
    deletion: Mapping[str, Any]
    member_count: int

    def fields(self) -> dict[str, Any]:
        """Every field under its wire name, ready for JSON."""
        return {**self.shown, **self.deletion}


_PLAIN = (
    "team_id",
    "team_alias",
    "organization_id",
    "object_permission_id",
    "models",
    "max_parallel_requests",
    "tpm_limit",
    "rpm_limit",
    "tpd_limit",
    "model_max_budget",
    "team_member_permissions",
    "default_team_member_models",
    "router_settings",
    "access_group_ids",
    "policies",
    "allow_team_guardrail_config",
)

"""A key as the rest of the service sees it: one frozen view, one place that names its fields for the wire.

Responses, audit rows and events all draw on `KeyView.fields`, so a number or a date is never written two ways.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.clock import iso
from app.domain import spellings
from app.domain.access import SERVICE_ACCOUNT, KeyTarget
from app.domain.budgets import shown_limits
from app.domain.further_budgets import further_accounts
from app.domain.further_usage import FurtherUsage, usage_fields
from app.domain.increases import visible_metadata
from app.domain.limits import Account, model_budgets
from app.domain.masking import masked_metadata
from app.domain.money import dollars, shown
from app.domain.rollover import Terms
from app.domain.scopes import Scope, ScopeKind
from app.domain.spend import Spend
from app.services.budgets.budget_views import TIER_FIELDS


@dataclass(frozen=True, slots=True)
class KeyView:
    """A live or archived key at one instant, `seen_at`.

    `further` are its budgets beside the whole one, where they were asked for.
    """

    key_id: str
    token: str
    key_name: str
    columns: Mapping[str, Any]
    spend: Spend
    seen_at: datetime
    tier: Mapping[str, Any] | None = None
    object_permission: Mapping[str, Any] | None = None
    deletion: Mapping[str, Any] = field(default_factory=dict)
    further: Sequence[FurtherUsage] = ()

    @property
    def target(self) -> KeyTarget:
        columns = self.columns
        return KeyTarget(
            self.key_id,
            columns["user_id"],
            columns["team_id"],
            columns["created_by"],
            (columns["metadata"] or {}).get(SERVICE_ACCOUNT),
        )

    @property
    def account(self) -> Account:
        """What its charges count in, in the window of this instant."""
        return Account(Scope(ScopeKind.KEY, self.key_id), self.spend.window, self.spend.armed_at, self.spend.terms)

    @property
    def further_accounts(self) -> dict[Scope, Terms]:
        """The scopes that its budgets for models and for further windows open, each with its terms."""
        return further_accounts(Scope(ScopeKind.KEY, self.key_id), self.columns)

    @property
    def further_settings(self) -> dict[str, Any]:
        """Its columns with the budgets for models that hold for it: its own, and its tier's for other models."""
        return {**self.columns, "model_max_budget": model_budgets(self.columns, self.tier)}

    @property
    def max_budget(self) -> float | None:
        """The key's own cap, else its tier's, without what is added for a time."""
        return self._own_or_tiers("max_budget")

    @property
    def soft_budget(self) -> float | None:
        return self._own_or_tiers("soft_budget")

    @property
    def status(self) -> str:
        if self.deletion:
            return "deleted"
        if self.columns["blocked"]:
            return "revoked"
        expires_at = self.columns["expires_at"]
        return "expired" if expires_at is not None and expires_at <= self.seen_at else "active"

    def fields(self) -> dict[str, Any]:
        """Every field under its wire name, ready for JSON and to be shown."""
        stored = self.stored_fields()
        return {**stored, "metadata": masked_metadata(stored["metadata"])}

    def stored_fields(self) -> dict[str, Any]:
        """The same with secrets as they are stored, sealed: so that a record can tell that one has changed."""
        columns = self.columns
        plain = {name: columns[name] for name in _PLAIN} | spellings.shown(columns["budget_duration"])
        instants = {name: iso(columns[name]) for name in _INSTANTS}
        return {
            "token": self.token,
            "key_name": self.key_name,
            "key_id": self.key_id,
            **plain,
            **instants,
            **_CONSTANT,
            "policies": _policies(columns["metadata"]),
            "budget_limits": shown_limits(columns["budget_limits"]),
            "metadata": visible_metadata(columns["metadata"], self.seen_at),
            "expires": iso(columns["expires_at"]),
            "budget_reset_at": iso(self.spend.reset_at),
            "spend": dollars(self.spend.window_nanos),
            "total_spend": dollars(self.spend.lifetime_nanos),
            "max_budget": shown(columns["max_budget_nanos"]),
            "soft_budget": self.soft_budget,
            "org_id": columns["organization_id"],
            "status": self.status,
            "litellm_budget_table": self._budget_table(),
            "object_permission": self.object_permission,
            **usage_fields(self.further),
            **self.deletion,
        }

    def _own_or_tiers(self, name: str) -> float | None:
        own = shown(self.columns[f"{name}_nanos"])
        return own if own is not None or self.tier is None else self.tier[name]

    def _budget_table(self) -> Mapping[str, Any] | None:
        """The tier's row with the key's own soft budget in it, where LiteLLM's clients look for it."""
        own = self.columns["soft_budget_nanos"]
        if own is None:
            return self.tier
        return {**(self.tier or dict.fromkeys(TIER_FIELDS)), "soft_budget": dollars(own)}


def _policies(metadata: Mapping[str, Any]) -> list[Any]:
    """Those that were sent: were none shown, a row that is sent back would take them off."""
    sent = metadata.get("policies")
    return sent if isinstance(sent, list) else []


_PLAIN = (
    "key_alias",
    "models",
    "aliases",
    "config",
    "router_settings",
    "user_id",
    "team_id",
    "agent_id",
    "project_id",
    "permissions",
    "max_parallel_requests",
    "metadata",
    "blocked",
    "tpm_limit",
    "rpm_limit",
    "tpd_limit",
    "allowed_cache_controls",
    "allowed_routes",
    "key_type",
    "access_group_ids",
    "model_max_budget",
    "budget_fallbacks",
    "budget_id",
    "organization_id",
    "object_permission_id",
    "created_by",
    "updated_by",
    "rotation_count",
    "auto_rotate",
    "rotation_interval",
)
_INSTANTS = (
    "created_at",
    "updated_at",
    "settings_updated_at",
    "last_active",
    "last_rotation_at",
    "key_rotation_at",
)
# LiteLLM's row has these; nothing here ever gives them another value.
_CONSTANT: dict[str, Any] = {
    "soft_budget_cooldown": False,
    "model_spend": {},
    "litellm_organization_table": None,
    "litellm_project_table": None,
    "jwt_key_mappings": None,
}

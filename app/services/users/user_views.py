"""A user as the rest of the service sees it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.clock import iso
from app.domain import access, spellings
from app.domain.access import Caller
from app.domain.further_usage import FurtherUsage
from app.domain.limits import Account
from app.domain.money import dollars, shown
from app.domain.scopes import Scope, ScopeKind
from app.domain.spend import Spend


@dataclass(frozen=True, slots=True)
class UserView:
    """A user at one instant, with the ids of its teams.

    `further` are its budgets beside the whole one, where they were asked for.
    """

    user_id: str
    columns: Mapping[str, Any]
    spend: Spend
    teams: Sequence[str] = ()
    object_permission: Mapping[str, Any] | None = None
    further: Sequence[FurtherUsage] = ()

    @property
    def account(self) -> Account:
        """What its charges count in, in the window of this instant."""
        spend = self.spend
        return Account(Scope(ScopeKind.USER, self.user_id), spend.window, spend.armed_at, spend.terms)

    def fields(self) -> dict[str, Any]:
        """Every field under its wire name, ready for JSON; never a password."""
        columns = self.columns
        return {
            **{name: columns[name] for name in _PLAIN},
            **spellings.shown(columns["budget_duration"]),
            "max_budget": shown(columns["max_budget_nanos"]),
            "soft_budget": shown(columns["soft_budget_nanos"]),
            "spend": dollars(self.spend.window_nanos),
            "total_spend": dollars(self.spend.lifetime_nanos),
            "budget_reset_at": iso(self.spend.reset_at),
            "created_at": iso(columns["created_at"]),
            "updated_at": iso(columns["updated_at"]),
            "teams": list(self.teams),
            "object_permission": self.object_permission,
            "model_spend": {},
        }

    def named(self) -> dict[str, Any]:
        """Who it is and nothing else: for those who may not see the user itself."""
        return {name: self.columns[name] for name in ("user_id", "user_email", "user_alias")}


def shown_to(caller: Caller, view: UserView) -> dict[str, Any]:
    """As much of a user as the caller may see."""
    return view.fields() if access.may_see_user(caller, view.user_id) else view.named()


_PLAIN = (
    "user_id",
    "user_email",
    "user_alias",
    "user_role",
    "sso_user_id",
    "models",
    "metadata",
    "max_parallel_requests",
    "tpm_limit",
    "rpm_limit",
    "tpd_limit",
    "model_max_budget",
    "allowed_cache_controls",
    "policies",
    "object_permission_id",
)

"""The bodies of the team endpoints that are not simply the fields of a view."""

from typing import Any

from app.clock import iso
from app.domain.money import dollars
from app.domain.teams import OWN_TIER_FIELDS
from app.services.team_views import MemberView

# The limits of a member without any tier.
_OPEN: dict[str, Any] = {"allowed_models": [], "model_max_budget": {}}


def member_spend_reset(before: MemberView, after: MemberView) -> dict[str, Any]:
    return {
        "team_id": after.team_id,
        "user_id": after.user_id,
        "spend": dollars(after.spend.window_nanos),
        "previous_spend": dollars(before.spend.window_nanos),
        "max_budget": None if after.tier is None else after.tier["max_budget"],
        "budget_reset_at": iso(after.spend.reset_at),
    }


def member_updated(view: MemberView) -> dict[str, Any]:
    """The membership under the names of the request that changed it."""
    tier = _OPEN if view.tier is None else view.tier
    return {
        "team_id": view.team_id,
        **view.role_fields(),
        **{wire: tier.get(name) for wire, name in OWN_TIER_FIELDS.items()},
    }

"""The bodies of the team endpoints that are not simply the fields of a view."""

from typing import Any

from app.domain.teams import OWN_TIER_FIELDS
from app.services.team_views import MemberView

# The limits of a member without any tier.
_OPEN: dict[str, Any] = {"allowed_models": [], "model_max_budget": {}}


def member_updated(view: MemberView) -> dict[str, Any]:
    """The membership under the names of the request that changed it."""
    tier = _OPEN if view.tier is None else view.tier
    return {
        "team_id": view.team_id,
        **view.role_fields(),
        **{wire: tier.get(name) for wire, name in OWN_TIER_FIELDS.items()},
    }

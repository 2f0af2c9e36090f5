"""The bodies of the endpoints of teams' members that are not simply the fields of a view."""

from collections.abc import Sequence
from typing import Any

from app.domain.teams import OWN_TIER_FIELDS
from app.services.teams.team_members import MemberOutcome
from app.services.teams.team_views import MemberView, TeamView

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


def bulk_added(team: TeamView, outcomes: Sequence[MemberOutcome]) -> dict[str, Any]:
    failed = [outcome for outcome in outcomes if outcome.failed_reason is not None]
    return {
        "team_id": team.team_id,
        "results": [_result(outcome) for outcome in outcomes],
        "total_requested": len(outcomes),
        "successful_additions": len(outcomes) - len(failed),
        "failed_additions": len(failed),
        "updated_team": team.fields(),
    }


def _result(outcome: MemberOutcome) -> dict[str, Any]:
    return {
        "user_id": outcome.user_id,
        "user_email": outcome.user_email,
        "success": outcome.failed_reason is None,
        "error": outcome.failed_reason,
        "updated_user": outcome.user,
        "updated_team_membership": None if outcome.membership is None else outcome.membership.fields(),
    }

"""The body of a reset of a member's spend."""

from typing import Any

from app.clock import iso
from app.domain.money import dollars
from app.services.teams.team_views import MemberView


def member_spend_reset(before: MemberView, after: MemberView) -> dict[str, Any]:
    return {
        "team_id": after.team_id,
        "user_id": after.user_id,
        "spend": dollars(after.spend.window_nanos),
        "previous_spend": dollars(before.spend.window_nanos),
        "max_budget": None if after.tier is None else after.tier["max_budget"],
        "budget_reset_at": iso(after.spend.reset_at),
    }

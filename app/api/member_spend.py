"""The endpoints that reset what a member has spent in a team, and may spend: to one use case each, and back."""

from typing import Any

from flask import Response

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer
from app.api.errors import Detail
from app.api.responses.member_spend import member_spend_reset
from app.api.schemas.keys import ResetSpendRequestSchema
from app.api.schemas.member_spend import MemberSpendResetResponseSchema
from app.api.schemas.teams import TeamMembershipSchema
from app.errors import InvalidRequest, NotFound

member_spend = Blueprint("member_spend")


@member_spend.operation(
    "/team/{team_id}/member/{user_id}/reset_spend",
    "POST",
    "reset_team_member_spend_fn_team__team_id__member__user_id__reset_spend_post",
    MemberSpendResetResponseSchema(),
    summary="Reset Team Member Spend Fn",
    raises=(InvalidRequest, NotFound),
    changes=True,
    detail=Detail.OBJECT,
)
@member_spend.takes(ResetSpendRequestSchema())
def reset_spend(sent: dict[str, Any], team_id: str, user_id: str) -> Response:
    before, after = services().member_spend.reset(act(), team_id, user_id, sent["reset_to"])
    return answer(member_spend_reset(before, after))


@member_spend.operation(
    "/team/{team_id}/member/{user_id}/reset_budget",
    "POST",
    "reset_team_member_budget_fn_team__team_id__member__user_id__reset_budget_post",
    TeamMembershipSchema(),
    summary="Reset Team Member Budget Fn",
    raises=(NotFound,),
    changes=True,
    detail=Detail.OBJECT,
)
def reset_budget(team_id: str, user_id: str) -> Response:
    return answer(services().member_changes.reset_budget(act(), team_id, user_id).fields())

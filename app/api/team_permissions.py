"""The endpoints of what a team grants its plain members: from HTTP to one use case each, and back."""

from typing import Any

from flask import Response

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer
from app.api.errors import Detail
from app.api.schemas.team_permissions import (
    GetTeamMemberPermissionsResponseSchema,
    TeamPermissionsQuerySchema,
    UpdateTeamMemberPermissionsRequestSchema,
)
from app.api.schemas.teams import LiteLLM_TeamTableSchema
from app.domain.teams import MEMBER_PERMISSIONS
from app.errors import InvalidRequest, NotFound

team_permissions = Blueprint("team_permissions")


@team_permissions.operation(
    "/team/permissions_list",
    "GET",
    "team_member_permissions_team_permissions_list_get",
    GetTeamMemberPermissionsResponseSchema(),
    summary="Team Member Permissions",
    raises=(NotFound,),
    detail=Detail.OBJECT,
)
@team_permissions.takes(TeamPermissionsQuerySchema(), "query")
def permissions_list(query: dict[str, Any]) -> Response:
    granted = services().team_permissions.list(act(), query["team_id"])
    return answer(
        {
            "team_id": query["team_id"],
            "team_member_permissions": granted,
            "all_available_permissions": MEMBER_PERMISSIONS,
        }
    )


@team_permissions.operation(
    "/team/permissions_update",
    "POST",
    "update_team_member_permissions_team_permissions_update_post",
    LiteLLM_TeamTableSchema(),
    summary="Update Team Member Permissions",
    raises=(InvalidRequest, NotFound),
    changes=True,
    detail=Detail.OBJECT,
)
@team_permissions.takes(UpdateTeamMemberPermissionsRequestSchema())
def permissions_update(sent: dict[str, Any]) -> Response:
    view = services().team_permissions.update(act(), sent["team_id"], sent["team_member_permissions"])
    return answer(view.fields())

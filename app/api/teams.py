"""The `/team/*` endpoints: from HTTP to one use case each, and back."""

from typing import Any

from flask import Response

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer
from app.api.schemas.teams import (
    LiteLLM_TeamTableSchema,
    NewTeamRequestSchema,
    TeamAddMemberResponseSchema,
    TeamInfoQuerySchema,
    TeamInfoResponseObjectSchema,
    TeamMemberAddRequestSchema,
)
from app.errors import Conflict, InvalidRequest, MemberExists, NotFound

teams = Blueprint("teams")


@teams.operation(
    "/team/new",
    "POST",
    "new_team_team_new_post",
    LiteLLM_TeamTableSchema(),
    summary="New Team",
    raises=(InvalidRequest, Conflict),
    changes=True,
)
@teams.takes(NewTeamRequestSchema())
def new(sent: dict[str, Any]) -> Response:
    return answer(services().teams.new(act(), sent).fields())


@teams.operation(
    "/team/info",
    "GET",
    "team_info_team_info_get",
    TeamInfoResponseObjectSchema(),
    summary="Team Info",
    raises=(NotFound,),
)
@teams.takes(TeamInfoQuerySchema(), "query")
def info(query: dict[str, Any]) -> Response:
    found = services().teams.info(act(), query["team_id"], query["key_limit"])
    return answer(
        {
            "team_id": found.team.team_id,
            "team_info": found.team.fields(),
            "keys": [view.fields() for view in found.keys],
            "team_memberships": [member.fields() for member in found.team.members],
        }
    )


@teams.operation(
    "/team/member_add",
    "POST",
    "team_member_add_team_member_add_post",
    TeamAddMemberResponseSchema(),
    summary="Team Member Add",
    raises=(InvalidRequest, MemberExists, NotFound, Conflict),
    changes=True,
)
@teams.takes(TeamMemberAddRequestSchema())
def member_add(sent: dict[str, Any]) -> Response:
    added = services().team_members.member_add(act(), sent)
    return answer(
        {
            **added.team.fields(),
            "updated_users": added.users,
            "updated_team_memberships": [member.fields() for member in added.memberships],
        }
    )

"""The `/team/*` endpoints: from HTTP to one use case each, and back."""

from typing import Any

from flask import Response

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer
from app.api.responses import teams as responses
from app.api.schemas.teams import (
    BlockTeamRequestSchema,
    LiteLLM_TeamTableSchema,
    NewTeamRequestSchema,
    TeamAddMemberResponseSchema,
    TeamInfoQuerySchema,
    TeamInfoResponseObjectSchema,
    TeamMemberAddRequestSchema,
    TeamMemberUpdateRequestSchema,
    TeamMemberUpdateResponseSchema,
    UpdateTeamRequestSchema,
    UpdateTeamResponseSchema,
)
from app.domain.teams import UNENFORCED_FIELDS
from app.errors import Conflict, InvalidRequest, MemberExists, NotFound

teams = Blueprint("teams", unenforced=UNENFORCED_FIELDS)


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
    "/team/update",
    "POST",
    "update_team_team_update_post",
    UpdateTeamResponseSchema(),
    summary="Update Team",
    raises=(InvalidRequest, NotFound, Conflict),
    changes=True,
)
@teams.takes(UpdateTeamRequestSchema())
def update(sent: dict[str, Any]) -> Response:
    view = services().team_changes.update(act(), sent)
    return answer({"team_id": view.team_id, "data": view.fields()})


@teams.operation(
    "/team/block",
    "POST",
    "block_team_team_block_post",
    LiteLLM_TeamTableSchema(),
    summary="Block Team",
    raises=(NotFound,),
    changes=True,
)
@teams.takes(BlockTeamRequestSchema())
def block(sent: dict[str, Any]) -> Response:
    view = services().team_changes.set_blocked(act(), sent["team_id"], "/team/block", blocked=True)
    return answer(view.fields())


@teams.operation(
    "/team/unblock",
    "POST",
    "unblock_team_team_unblock_post",
    LiteLLM_TeamTableSchema(),
    summary="Unblock Team",
    raises=(NotFound,),
    changes=True,
)
@teams.takes(BlockTeamRequestSchema())
def unblock(sent: dict[str, Any]) -> Response:
    view = services().team_changes.set_blocked(act(), sent["team_id"], "/team/unblock", blocked=False)
    return answer(view.fields())


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


@teams.operation(
    "/team/member_update",
    "POST",
    "team_member_update_team_member_update_post",
    TeamMemberUpdateResponseSchema(),
    summary="Team Member Update",
    raises=(InvalidRequest, NotFound),
    changes=True,
)
@teams.takes(TeamMemberUpdateRequestSchema())
def member_update(sent: dict[str, Any]) -> Response:
    return answer(responses.member_updated(services().member_changes.member_update(act(), sent)))

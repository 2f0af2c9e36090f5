"""The `/team/*` endpoints: from HTTP to one use case each, and back."""

from typing import Any

from flask import Response

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer
from app.api.schemas.teams import (
    BlockTeamRequestSchema,
    DeletedTeamsSchema,
    DeleteTeamRequestSchema,
    LiteLLM_TeamTableSchema,
    NewTeamRequestSchema,
    TeamInfoQuerySchema,
    TeamInfoResponseObjectSchema,
    UpdateTeamRequestSchema,
    UpdateTeamResponseSchema,
)
from app.domain.teams import UNENFORCED_FIELDS
from app.errors import Conflict, InvalidRequest, NotFound

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
    "/team/delete",
    "POST",
    "delete_team_team_delete_post",
    DeletedTeamsSchema(),
    summary="Delete Team",
    raises=(InvalidRequest, NotFound),
    changes=True,
)
@teams.takes(DeleteTeamRequestSchema())
def delete(sent: dict[str, Any]) -> Response:
    return answer({"deleted_teams": services().team_ends.delete(act(), sent["team_ids"])})


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

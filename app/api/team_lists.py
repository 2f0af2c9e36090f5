"""The lists of teams: from HTTP to one use case each, and back."""

from typing import Any

from flask import Response

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer, answer_page
from app.api.responses import team_lists as responses
from app.api.schemas.team_lists import (
    AvailableTeamSchema,
    TeamInfoListQuerySchema,
    TeamListResponseObjectSchema,
    TeamListResponseSchema,
    TeamListV2QuerySchema,
)
from app.errors import InvalidRequest
from app.services.teams.team_filters import TeamQuery

team_lists = Blueprint("team_lists")


@team_lists.operation(
    "/team/list",
    "GET",
    "list_team_team_list_get",
    TeamListResponseObjectSchema(many=True),
    summary="List Team",
    raises=(InvalidRequest,),
)
@team_lists.takes(TeamInfoListQuerySchema(), "query")
def list_teams(query: dict[str, Any]) -> Response:
    key_limit = query.pop("key_limit")
    found = services().team_lists.list(act(), TeamQuery(**query), key_limit)
    return answer_page([responses.team(each) for each in found.teams], found.page)


@team_lists.operation(
    "/v2/team/list",
    "GET",
    "list_team_v2_v2_team_list_get",
    TeamListResponseSchema(),
    summary="List Team V2",
    raises=(InvalidRequest,),
)
@team_lists.takes(TeamListV2QuerySchema(), "query")
def list_v2(query: dict[str, Any]) -> Response:
    asked = TeamQuery(**query)
    found = services().team_lists.list_v2(act(), asked)
    return answer_page(responses.page(found, asked), found.page)


@team_lists.operation(
    "/team/available",
    "GET",
    "list_available_teams_team_available_get",
    AvailableTeamSchema(many=True),
    summary="List Available Teams",
)
def available() -> Response:
    return answer([responses.available(row) for row in services().team_lists.available(act())])

"""The endpoints of a team's logging callbacks: from HTTP to one use case each, and back."""

from typing import Any

from flask import Response

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer
from app.api.errors import Detail
from app.api.schemas.team_callbacks import (
    AddTeamCallbackSchema,
    TeamCallbackAddedSchema,
    TeamCallbackDeleteResponseSchema,
    TeamCallbackListResponseSchema,
)
from app.domain.team_callbacks import Callbacks
from app.errors import InvalidRequest, NotFound

team_callbacks = Blueprint("team_callbacks")


@team_callbacks.operation(
    "/team/{team_id:path}/callback",
    "POST",
    "add_team_callbacks_team__team_id__callback_post",
    TeamCallbackAddedSchema(),
    summary="Add Team Callbacks",
    raises=(InvalidRequest, NotFound),
    changes=True,
    detail=Detail.OBJECT,
)
@team_callbacks.takes(AddTeamCallbackSchema())
def add(sent: dict[str, Any], team_id: str) -> Response:
    view = services().team_callbacks.add(act(), team_id, sent)
    return answer({"status": "success", "data": view.fields()})


@team_callbacks.operation(
    "/team/{team_id:path}/callback",
    "GET",
    "get_team_callbacks_team__team_id__callback_get",
    TeamCallbackListResponseSchema(),
    summary="Get Team Callbacks",
    raises=(NotFound,),
    detail=Detail.OBJECT,
)
def list_callbacks(team_id: str) -> Response:
    found = services().team_callbacks.list(act(), team_id)
    return answer({"status": "success", "data": {**_names(team_id, found), "callback_vars": found.variables}})


@team_callbacks.operation(
    "/team/{team_id:path}/callback/{callback_name}",
    "DELETE",
    "delete_team_callback_team__team_id__callback__callback_name__delete",
    TeamCallbackDeleteResponseSchema(),
    summary="Delete Team Callback",
    raises=(NotFound,),
    changes=True,
    detail=Detail.OBJECT,
)
def delete(team_id: str, callback_name: str) -> Response:
    left = services().team_callbacks.delete(act(), team_id, callback_name)
    message = f"Callback {callback_name} removed for team {team_id}"
    return answer({"status": "success", "message": message, "data": _names(team_id, left)})


@team_callbacks.operation(
    "/team/{team_id:path}/disable_logging",
    "POST",
    "disable_team_logging_team__team_id__disable_logging_post",
    TeamCallbackDeleteResponseSchema(),
    summary="Disable Team Logging",
    raises=(NotFound,),
    changes=True,
    detail=Detail.OBJECT,
)
def disable_logging(team_id: str) -> Response:
    services().team_callbacks.disable_logging(act(), team_id)
    message = f"Logging disabled for team {team_id}"
    return answer({"status": "success", "message": message, "data": _names(team_id, Callbacks([], [], {}))})


def _names(team_id: str, found: Callbacks) -> dict[str, Any]:
    return {"team_id": team_id, "success_callbacks": found.success, "failure_callbacks": found.failure}

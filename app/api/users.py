"""The `/user/*` endpoints: from HTTP to one use case each, and back."""

from typing import Any

from flask import Response

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer
from app.api.responses import users as responses
from app.api.schemas.users import (
    NewUserRequestSchema,
    NewUserResponseSchema,
    UpdateUserRequestSchema,
    UpdateUserResponseSchema,
    UserInfoQuerySchema,
    UserInfoResponseSchema,
)
from app.domain.users import UNENFORCED_FIELDS
from app.errors import BadAlias, Conflict, InvalidRequest, NotFound

users = Blueprint("users", unenforced=UNENFORCED_FIELDS)


@users.operation(
    "/user/new",
    "POST",
    "new_user_user_new_post",
    NewUserResponseSchema(),
    summary="New User",
    raises=(InvalidRequest, BadAlias, Conflict),
    changes=True,
)
@users.takes(NewUserRequestSchema())
def new(sent: dict[str, Any]) -> Response:
    return answer(responses.new(services().users.new(act(), sent)))


@users.operation(
    "/user/update",
    "POST",
    "user_update_user_update_post",
    UpdateUserResponseSchema(),
    summary="User Update",
    raises=(InvalidRequest, NotFound, Conflict),
    changes=True,
)
@users.takes(UpdateUserRequestSchema())
def update(sent: dict[str, Any]) -> Response:
    view = services().user_changes.update(act(), sent)
    return answer({"user_id": view.user_id, "data": view.fields()})


@users.operation(
    "/user/info",
    "GET",
    "user_info_user_info_get",
    UserInfoResponseSchema(),
    summary="User Info",
    raises=(NotFound,),
)
@users.takes(UserInfoQuerySchema(), "query")
def info(query: dict[str, Any]) -> Response:
    return answer(responses.info(services().users.info(act(), query.get("user_id"))))

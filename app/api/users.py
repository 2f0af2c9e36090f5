"""The `/user/*` endpoints: from HTTP to one use case each, and back."""

from typing import Any

from flask import Response

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer, answer_page
from app.api.responses import users as responses
from app.api.schemas.users import (
    AvailableRolesSchema,
    DeleteUserRequestSchema,
    NewUserRequestSchema,
    NewUserResponseSchema,
    UpdateUserRequestSchema,
    UpdateUserResponseSchema,
    UserInfoQuerySchema,
    UserInfoResponseSchema,
    UserInfoV2ResponseSchema,
    UserListQuerySchema,
    UserListResponseSchema,
)
from app.domain.users import UNENFORCED_FIELDS
from app.errors import BadAlias, Conflict, InvalidRequest, NotFound
from app.services.users.user_filters import UserQuery

users = Blueprint("users", unenforced=UNENFORCED_FIELDS)

_COUNT = {"type": "integer", "description": "How many users were deleted"}


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
    "/user/delete",
    "POST",
    "delete_user_user_delete_post",
    _COUNT,
    summary="Delete User",
    raises=(InvalidRequest, NotFound, Conflict),
    changes=True,
)
@users.takes(DeleteUserRequestSchema())
def delete(sent: dict[str, Any]) -> Response:
    return answer(services().user_ends.delete(act(), sent["user_ids"] or ()))


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
    return answer(responses.info(services().user_reads.info(act(), query.get("user_id"))))


@users.operation(
    "/v2/user/info",
    "GET",
    "user_info_v2_v2_user_info_get",
    UserInfoV2ResponseSchema(),
    summary="User Info V2",
    raises=(NotFound,),
)
@users.takes(UserInfoQuerySchema(), "query")
def info_v2(query: dict[str, Any]) -> Response:
    return answer(services().user_reads.row(act(), query.get("user_id")).fields())


@users.operation(
    "/user/list",
    "GET",
    "get_users_user_list_get",
    UserListResponseSchema(),
    summary="Get Users",
    raises=(InvalidRequest,),
)
@users.takes(UserListQuerySchema(), "query")
def list_users(query: dict[str, Any]) -> Response:
    asked = UserQuery(**query)
    found = services().user_reads.list(act(), asked)
    return answer_page(responses.page(found, asked), found.page)


@users.operation(
    "/user/available_roles",
    "GET",
    "ui_get_available_role_user_available_roles_get",
    AvailableRolesSchema(),
    summary="Ui Get Available Role",
)
def available_roles() -> Response:
    return answer(responses.roles())

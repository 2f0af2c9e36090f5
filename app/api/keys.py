"""The `/key/*` endpoints of this service: from HTTP to one use case each, and back."""

from typing import Any

from flask import Response

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer, answer_page
from app.api.errors import Detail
from app.api.responses import keys as responses
from app.api.responses.key_health import key_health
from app.api.schemas.key_answers import (
    DeletedKeysSchema,
    GenerateKeyResponseSchema,
    KeyHealthResponseSchema,
    KeyInfoSchema,
    KeyListResponseObjectSchema,
    LiteLLM_VerificationTokenSchema,
    UpdatedKeySchema,
)
from app.api.schemas.keys import (
    BlockKeyRequestSchema,
    GenerateKeyRequestSchema,
    KeyInfoQuerySchema,
    KeyListQuerySchema,
    KeyRequestSchema,
    UpdateKeyRequestSchema,
)
from app.domain.keys import UNENFORCED_FIELDS
from app.errors import (
    BadAlias,
    Conflict,
    InvalidRequest,
    KeyNotFound,
    ListRefused,
    MalformedKey,
    ManagersOnly,
    MemberPermissionMissing,
    NothingFound,
    NoWorker,
    Overloaded,
)
from app.services.keys.key_filters import KeyQuery

keys = Blueprint("keys", unenforced=UNENFORCED_FIELDS)


@keys.operation(
    "/key/generate",
    "POST",
    "generate_key_fn_key_generate_post",
    GenerateKeyResponseSchema(),
    summary="Generate Key Fn",
    raises=(InvalidRequest, BadAlias, Conflict, MemberPermissionMissing),
    changes=True,
)
@keys.takes(GenerateKeyRequestSchema())
def generate(sent: dict[str, Any]) -> Response:
    return answer(responses.generated(services().keys.generate(act(), sent, "/key/generate")))


@keys.operation(
    "/key/update",
    "POST",
    "update_key_fn_key_update_post",
    UpdatedKeySchema(),
    summary="Update Key Fn",
    raises=(InvalidRequest, BadAlias, KeyNotFound, MemberPermissionMissing),
    changes=True,
)
@keys.takes(UpdateKeyRequestSchema())
def update(sent: dict[str, Any]) -> Response:
    view = services().key_changes.update(act(), sent, "/key/update")
    return answer(responses.updated(view, sent.get("key")))


@keys.operation(
    "/key/delete",
    "POST",
    "delete_key_fn_key_delete_post",
    DeletedKeysSchema(),
    summary="Delete Key Fn",
    raises=(NothingFound,),
    changes=True,
)
@keys.takes(KeyRequestSchema())
def delete(sent: dict[str, Any]) -> Response:
    removed = services().key_ends.delete(act(), sent.get("keys") or (), sent.get("key_aliases") or ())
    return answer({"deleted_keys": removed})


@keys.operation(
    "/key/block",
    "POST",
    "block_key_key_block_post",
    LiteLLM_VerificationTokenSchema(),
    summary="Block Key",
    raises=(MalformedKey, KeyNotFound, ManagersOnly),
    changes=True,
    detail=Detail.OBJECT,
)
@keys.takes(BlockKeyRequestSchema())
def block(sent: dict[str, Any]) -> Response:
    view = services().key_ends.set_blocked(act(), sent["key"], "/key/block", blocked=True)
    return answer(responses.row(view))


@keys.operation(
    "/key/unblock",
    "POST",
    "unblock_key_key_unblock_post",
    LiteLLM_VerificationTokenSchema(),
    summary="Unblock Key",
    raises=(MalformedKey, KeyNotFound, ManagersOnly),
    changes=True,
    detail=Detail.OBJECT,
)
@keys.takes(BlockKeyRequestSchema())
def unblock(sent: dict[str, Any]) -> Response:
    view = services().key_ends.set_blocked(act(), sent["key"], "/key/unblock", blocked=False)
    return answer(responses.row(view))


@keys.operation(
    "/key/info",
    "GET",
    "info_key_fn_key_info_get",
    KeyInfoSchema(),
    summary="Info Key Fn",
    raises=(KeyNotFound,),
)
@keys.takes(KeyInfoQuerySchema(), "query")
def info(query: dict[str, Any]) -> Response:
    reference = query.get("key")
    return answer(responses.info(services().key_reads.info(act(), reference), reference))


@keys.operation(
    "/key/list",
    "GET",
    "list_keys_key_list_get",
    KeyListResponseObjectSchema(),
    summary="List Keys",
    raises=(InvalidRequest, ListRefused),
)
@keys.takes(KeyListQuerySchema(), "query")
def list_keys(query: dict[str, Any]) -> Response:
    asked = KeyQuery(**{**query, "expand": tuple(query.get("expand", ()))})
    found = services().key_reads.list(act(), asked)
    return answer_page(responses.page(found, asked), found.page)


@keys.operation(
    "/key/health",
    "POST",
    "key_health_key_health_post",
    KeyHealthResponseSchema(),
    summary="Key Health",
    raises=(Overloaded, NoWorker),
)
def health() -> Response:
    return answer(key_health(services().key_health.check(act())))

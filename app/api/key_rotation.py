"""The `/key/*` endpoints that rotate, correct and look up keys in numbers."""

from typing import Any

from flask import Response

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer, answer_page
from app.api.errors import Detail
from app.api.responses import keys as responses
from app.api.schemas.key_answers import (
    BulkUpdateKeyResponseSchema,
    GenerateKeyResponseSchema,
    KeyAliasesSchema,
    KeyInfosSchema,
    ResetSpendResponseSchema,
)
from app.api.schemas.keys import (
    BulkUpdateKeyRequestSchema,
    GenerateKeyRequestSchema,
    KeyAliasesQuerySchema,
    KeyInfoQuerySchema,
    KeyInfosRequestSchema,
    RegenerateKeyRequestSchema,
    ResetSpendRequestSchema,
)
from app.domain.keys import UNENFORCED_FIELDS
from app.errors import (
    BadAlias,
    Conflict,
    InvalidRequest,
    KeyNotFound,
    ManagersOnly,
    MemberPermissionMissing,
    NothingFound,
)
from app.services.keys.key_filters import AliasQuery

key_rotation = Blueprint("key_rotation", unenforced=UNENFORCED_FIELDS)

_REGENERATES = (InvalidRequest, BadAlias, Conflict, NothingFound, MemberPermissionMissing)


@key_rotation.operation(
    "/key/{key}/regenerate",
    "POST",
    "regenerate_key_fn_key__key__regenerate_post",
    GenerateKeyResponseSchema(),
    summary="Regenerate Key Fn",
    raises=_REGENERATES,
    changes=True,
    body_optional=True,
)
@key_rotation.takes(RegenerateKeyRequestSchema(), required=False)
def regenerate_named(sent: dict[str, Any], key: str) -> Response:
    return _regenerate(sent, key)


@key_rotation.operation(
    "/key/regenerate",
    "POST",
    "regenerate_key_fn_key_regenerate_post",
    GenerateKeyResponseSchema(),
    summary="Regenerate Key Fn",
    raises=_REGENERATES,
    changes=True,
    body_optional=True,
)
@key_rotation.takes(KeyInfoQuerySchema(), "query")
@key_rotation.takes(RegenerateKeyRequestSchema(), required=False)
def regenerate(query: dict[str, Any], sent: dict[str, Any]) -> Response:
    return _regenerate(sent, query.get("key"))


def _regenerate(sent: dict[str, Any], named: str | None) -> Response:
    reference = named or sent.get("key")
    if not reference:
        raise InvalidRequest("No key was named: send it in the path, the query or the body.", "key")
    if sent.get("key") not in {None, reference}:
        raise InvalidRequest("The key of the body is not that of the path or query.", "key")
    rotated = services().key_rotation.regenerate(act(), reference, sent, "/key/regenerate")
    return answer(responses.generated(rotated))


@key_rotation.operation(
    "/key/service-account/generate",
    "POST",
    "generate_service_account_key_fn_key_service_account_generate_post",
    GenerateKeyResponseSchema(),
    summary="Generate Service Account Key Fn",
    raises=(InvalidRequest, BadAlias, Conflict, MemberPermissionMissing),
    changes=True,
    detail=Detail.TEXT,
)
@key_rotation.takes(GenerateKeyRequestSchema())
def generate_service_account(sent: dict[str, Any]) -> Response:
    made = services().keys.generate_service_account(act(), sent, "/key/service-account/generate")
    return answer(responses.generated(made))


@key_rotation.operation(
    "/key/bulk_update",
    "POST",
    "bulk_update_keys_key_bulk_update_post",
    BulkUpdateKeyResponseSchema(),
    summary="Bulk Update Keys",
    raises=(InvalidRequest, ManagersOnly),
    changes=True,
    detail=Detail.OBJECT,
)
@key_rotation.takes(BulkUpdateKeyRequestSchema())
def bulk_update(sent: dict[str, Any]) -> Response:
    return answer(responses.bulk(services().key_bulk.update(act(), sent["keys"], "/key/bulk_update")))


@key_rotation.operation(
    "/key/{key}/reset_spend",
    "POST",
    "reset_key_spend_fn_key__key__reset_spend_post",
    ResetSpendResponseSchema(),
    summary="Reset Key Spend Fn",
    raises=(InvalidRequest, KeyNotFound, ManagersOnly),
    changes=True,
    detail=Detail.OBJECT,
)
@key_rotation.takes(ResetSpendRequestSchema())
def reset_spend(sent: dict[str, Any], key: str) -> Response:
    return answer(responses.spend_reset(*services().key_spend.reset(act(), key, sent["reset_to"])))


@key_rotation.operation(
    "/key/aliases",
    "GET",
    "key_aliases_key_aliases_get",
    KeyAliasesSchema(),
    summary="Key Aliases",
    raises=(InvalidRequest,),
)
@key_rotation.takes(KeyAliasesQuerySchema(), "query")
def aliases(query: dict[str, Any]) -> Response:
    asked = AliasQuery(**query)
    page = services().key_reads.aliases(act(), asked)
    return answer_page(responses.aliases(page, asked), page)


@key_rotation.operation(
    "/v2/key/info",
    "POST",
    "info_key_fn_v2_v2_key_info_post",
    KeyInfosSchema(),
    summary="Info Key Fn V2",
)
@key_rotation.takes(KeyInfosRequestSchema())
def infos(sent: dict[str, Any]) -> Response:
    references = sent.get("keys")
    views = services().key_reads.infos(act(), references or (), sent.get("key_aliases") or ())
    return answer(responses.infos(views, references))

"""What each error is on the wire: status, type and shape. The OpenAPI document is drawn from the same table."""

from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import orjson
import structlog
from flask import Flask, Response, g, redirect, request
from marshmallow import Schema, fields
from werkzeug.exceptions import HTTPException, NotFound

from app import errors
from app.api.body import EncodedBody, MalformedBody, SchemaFault, WrongBody
from app.errors import ServiceError, StoreUnavailable, reason_of, root_of

_log = structlog.get_logger()

RETRY_AFTER_SECONDS = 1


class Detail(StrEnum):
    """The other shape of an error, `{"detail": …}`: where LiteLLM uses it, it stands beside the envelope."""

    TEXT = "text"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class Row:
    """How an error is answered; with `detail` wherever it happens."""

    status: int
    type: str
    detail: Detail | None = None


# The most specific class that has a row decides.
TABLE: dict[type[ServiceError], Row] = {
    errors.InvalidRequest: Row(400, "invalid_request_error"),
    errors.BadAlias: Row(400, "bad_request_error"),
    errors.MalformedKey: Row(400, "bad_request_error"),
    errors.MemberExists: Row(400, "team_member_already_in_team"),
    errors.Conflict: Row(409, "bad_request_error"),
    errors.NotFound: Row(404, "not_found_error"),
    errors.NothingFound: Row(404, "invalid_request_error"),
    errors.Unauthenticated: Row(401, "auth_error"),
    errors.UnknownKey: Row(401, "token_not_found_in_db"),
    errors.ExpiredKey: Row(401, "expired_key"),
    errors.RoleRefused: Row(401, "auth_error"),
    errors.MemberPermissionMissing: Row(401, "team_member_permission_error"),
    errors.RouteNotAllowed: Row(403, "auth_error", detail=Detail.TEXT),
    errors.Forbidden: Row(403, "auth_error"),
    errors.ListRefused: Row(403, "bad_request_error"),
    errors.Overloaded: Row(503, "internal_server_error"),
    errors.NoWorker: Row(503, "internal_server_error"),
    errors.StoreUnavailable: Row(503, "no_db_connection"),
}


def row_of(error: type[ServiceError]) -> Row:
    """The row of the nearest class that has one."""
    return next(TABLE[ancestor] for ancestor in error.__mro__ if ancestor in TABLE)


class ErrorBodySchema(Schema):
    message = fields.String(required=True)
    type = fields.String(required=True)
    param = fields.String(required=True, allow_none=True)
    code = fields.String(required=True, metadata={"description": "The HTTP status, as text"})


class ErrorEnvelopeSchema(Schema):
    """Every error but that of a schema; `detail` stands beside it where LiteLLM answers with that."""

    error = fields.Nested(ErrorBodySchema, required=True)
    detail = fields.Raw()


class ValidationErrorSchema(Schema):
    loc = fields.List(fields.Raw(), required=True)
    msg = fields.String(required=True)
    type = fields.String(required=True)


class HTTPValidationErrorSchema(Schema):
    """The body or the query does not fit the schema."""

    detail = fields.List(fields.Nested(ValidationErrorSchema), required=True)


def error_body(error: ServiceError) -> dict[str, Any]:
    """An error that is one answer among several."""
    row = row_of(type(error))
    return {"message": error.message, "type": row.type, "param": error.param, "code": str(row.status)}


def envelope(status: int, kind: str, message: str, param: str | None = None, detail: Any = None) -> Response:
    body: dict[str, Any] = {"error": {"message": message, "type": kind, "param": param, "code": str(status)}}
    if detail is not None:
        body["detail"] = detail
    return Response(orjson.dumps(body), status, mimetype="application/json")


def register(app: Flask) -> None:
    """Answer everything that can be raised; what is nobody's fault but ours is logged and says little."""
    app.register_error_handler(ServiceError, _service_error)
    app.register_error_handler(MalformedBody, _malformed_body)
    app.register_error_handler(EncodedBody, _encoded_body)
    app.register_error_handler(WrongBody, _wrong_body)
    app.register_error_handler(SchemaFault, _schema_fault)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, _unexpected)


def _service_error(error: ServiceError) -> Response:
    row = row_of(type(error))
    # An operation has a shape for whatever its use case refuses; who calls was settled before.
    shape = row.detail or g.get("detail")
    details = {None: None, Detail.TEXT: error.message, Detail.OBJECT: {"error": error.message}}
    answer = envelope(row.status, row.type, error.message, error.param, details[shape])
    if row.status == HTTPStatus.SERVICE_UNAVAILABLE:
        store = error.store if isinstance(error, StoreUnavailable) else None
        _log.warning("unavailable", store=store, error=type(root_of(error)).__name__, reason=reason_of(error))
        answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return answer


def _malformed_body(error: MalformedBody) -> Response:
    fault = {"type": "json_invalid", "loc": ["body", error.offset], "msg": f"JSON decode error: {error.message}"}
    return _validation([fault])


def _schema_fault(error: SchemaFault) -> Response:
    return _validation(error.detail)


def _validation(detail: list[dict[str, Any]]) -> Response:
    return Response(orjson.dumps({"detail": detail}), 422, mimetype="application/json")


def _encoded_body(_: EncodedBody) -> Response:
    return envelope(415, "invalid_request_error", "Content-Encoding is not supported: send the body as it is.")


def _wrong_body(_: WrongBody) -> Response:
    return envelope(400, "invalid_request_error", "The request body must be a JSON object.", "request_body")


def http_error(error: HTTPException) -> Any:
    if isinstance(error, NotFound) and request.path != "/" and request.path.endswith("/"):
        query = f"?{request.query_string.decode('latin-1')}" if request.query_string else ""
        return redirect("/" + quote(request.path.strip("/")) + query, 307)
    if error.response is not None:
        return error.response  # a redirect, made by the framework
    status = error.code or 500
    name = {404: "Not Found", 405: "Method Not Allowed"}.get(status, error.name)
    kind = "not_found_error" if status == 404 else "invalid_request_error"  # noqa: PLR2004
    answer = envelope(status, kind, name, detail=name)
    for header, value in error.get_headers():
        if header in {"Allow", "Retry-After"}:
            answer.headers[header] = value
    return answer


def _unexpected(error: Exception) -> Response:
    _log.error("unexpected_error", error=type(root_of(error)).__name__, reason=reason_of(error), exc_info=error)
    return envelope(500, "internal_server_error", "Internal server error")

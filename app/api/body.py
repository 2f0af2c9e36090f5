"""Reading a request's JSON body, strictly and once, before anybody is asked who they are."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from flask import Request, g
from marshmallow import EXCLUDE, Schema, fields
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge

from app.api.fields import Fault

MISSING = object()


# What marshmallow says of its own accord, in the reference's words.
_FAULTS = {
    "Missing data for required field.": Fault("missing", "Field required"),
    "Unknown field.": Fault("extra_forbidden", "Extra inputs are not permitted"),
    "Not a valid list.": Fault("list_type", "Input should be a valid list"),
    "Invalid input type.": Fault("dict_type", "Input should be a valid dictionary"),
}


class MalformedBody(Exception):
    """The body is no JSON at all; `offset` is where reading stopped."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


class EncodedBody(Exception):
    """The body is compressed, or encoded in another way."""


class WrongBody(Exception):
    """The body is JSON, but an array, a null or a bare value where an object is needed."""


class SchemaFault(Exception):
    """The request does not fit its schema; `detail` is the list that the caller gets."""

    def __init__(self, detail: list[dict[str, Any]]) -> None:
        super().__init__("the request does not fit its schema")
        self.detail = detail


def read(request: Request) -> Any:
    """The parsed body, or MISSING where there is none.

    Raises EncodedBody, MalformedBody and RequestEntityTooLarge.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        raise EncodedBody
    limit = request.max_content_length
    if limit is not None and request.content_length is not None and request.content_length > limit:
        raise RequestEntityTooLarge
    raw = request.get_data(cache=False)
    if limit is not None and request.content_length is None and len(raw) >= limit:
        # Sent in chunks: reading stops at the limit without a word, and what was read may be JSON by itself.
        raise RequestEntityTooLarge
    if not raw:
        return MISSING
    content_type = request.mimetype
    if content_type and not (content_type == "application/json" or content_type.endswith("+json")):
        raise SchemaFault([{"type": "model_attributes_type", "loc": ["body"], "msg": "Input should be JSON"}])
    try:
        return json.loads(raw.decode("utf-8"))
    except json.JSONDecodeError as error:
        raise MalformedBody(error.msg, error.pos) from error
    except UnicodeDecodeError as error:
        raise MalformedBody("Body is not valid UTF-8", error.start) from error
    except (RecursionError, ValueError) as error:
        # Nested too deeply, or a number with thousands of digits.
        raise MalformedBody("Body cannot be read", 0) from error


class Parser(FlaskParser):
    """Hands the body that was read before to webargs, and turns its faults into ours."""

    def load_json(self, req: Request, schema: Any) -> Any:
        body = g.body
        if body is MISSING:
            raise SchemaFault([{"type": "missing", "loc": ["body"], "msg": "Field required"}])
        g.sent_fields = frozenset(body)
        g.ignored_fields = sorted({*g.get("ignored_fields", ()), *_ignored(body, schema)})
        return body

    def load_querystring(self, req: Any, schema: Any) -> Any:
        g.ignored_fields = sorted({*g.get("ignored_fields", ()), *(set(req.args) - _known(schema))})
        return super().load_querystring(req, schema)

    def handle_error(
        self, error: Any, req: Any, schema: Any, *, error_status_code: Any, error_headers: Any
    ) -> NoReturn:
        detail: list[dict[str, Any]] = []
        for location, messages in error.messages.items():
            place = "body" if location == "json" else location
            _collect(messages, [place], detail)
        raise SchemaFault(detail) from error


def _known(schema: Schema) -> set[str]:
    """The names on the wire of what the schema takes."""
    return {field.data_key or name for name, field in schema.fields.items()}


def _ignored(sent: Mapping[str, Any], schema: Schema) -> Iterator[str]:
    """The fields that the schema passes over, those of what stands inside of others too."""
    for name, value in sent.items():
        field = schema.fields.get(name)
        if field is None:
            yield name
            continue
        inner, entries = _entries(field, value)
        if isinstance(inner, fields.Nested) and inner.schema.unknown == EXCLUDE:
            for entry in entries:
                if isinstance(entry, Mapping):
                    yield from (f"{name}.{deeper}" for deeper in _ignored(entry, inner.schema))


def _entries(field: fields.Field[Any], value: Any) -> tuple[Any, Iterable[Any]]:
    """The field of each of the values in a list or an object with names of its own, and these."""
    match field, value:
        case fields.List(), list():
            return field.inner, value
        case fields.Dict(), dict():
            return field.value_field, value.values()
        case _:
            return field, [value]


def _collect(messages: Any, location: list[str | int], detail: list[dict[str, Any]]) -> None:
    if isinstance(messages, dict):
        for name, inner in messages.items():
            _collect(inner, location if name == "_schema" else [*location, _shown(name)], detail)
        return
    for message in messages:
        fault = message if isinstance(message, Fault) else _FAULTS.get(message, Fault("value_error", message))
        detail.append({"type": fault.type, "loc": location, "msg": str(fault)})


def _shown(name: object) -> str | int:
    """A field name fit for an answer: it came from the caller and may hold anything."""
    if isinstance(name, int):
        return name
    return str(name)[:64].encode("ascii", "replace").decode()

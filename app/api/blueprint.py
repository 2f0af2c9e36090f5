"""The one kind of blueprint: every route is read, authenticated, gated, documented and answered the same way."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flask_smorest
import orjson
from flask import Response, g, request
from marshmallow import Schema

from app.api import auth, body
from app.api.body import MISSING, WrongBody
from app.api.errors import Detail, ErrorEnvelopeSchema, HTTPValidationErrorSchema, row_of
from app.api.responses.tabular import CSV
from app.errors import (
    Forbidden,
    RoleRefused,
    ServiceError,
    StoreUnavailable,
    Unauthenticated,
)
from app.services.rows.pages import Page

ViewFunction = Callable[..., Any]

_TEXT = {"type": "string"}
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})

# What every authenticated route can answer.
_ALWAYS: tuple[type[ServiceError], ...] = (Unauthenticated, RoleRefused, Forbidden, StoreUnavailable)

CHANGED_BY = {
    "in": "header",
    "name": "litellm-changed-by",
    "required": False,
    "schema": {"type": "string"},
    "description": "On whose behalf the caller acts; recorded in the audit beside the real caller",
}


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]  # flask-smorest is not typed
    """Routes of one noun; `public` ones ask for no key.

    `unenforced` are fields that are stored and not acted upon: an answer names those that were sent.
    `deferred` ones leave it to the use case to look at the key, which it does together with all else it looks at.
    """

    ARGUMENTS_PARSER = body.Parser()

    def __init__(
        self, name: str, *, public: bool = False, deferred: bool = False, unenforced: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(name, f"app.api.{name}", description="")
        self._public = public
        self._deferred = deferred
        self._unenforced = unenforced
        self._without_body: set[str] = set()
        self._details: dict[str, Detail] = {}
        self.before_request(self._enter)

    def _enter(self) -> None:
        """Body syntax, then the caller, then the route, then the body's kind: the reference's order."""
        if request.method == "OPTIONS":  # answered by the framework, without a view; a preflight brings no key
            g.body = MISSING
            return
        g.body = body.read(request) if request.method in _WITH_BODY else MISSING
        if self._deferred:
            g.credential = auth.credential(request)
        elif not self._public:
            g.act = auth.authenticate(request)
            auth.gate(g.act.caller, _route(), request.method)
        g.detail = self._details.get(request.endpoint or "")
        g.unenforced = self._unenforced
        if g.body in (MISSING, None) and request.endpoint in self._without_body:
            g.body = {}
        if g.body is not MISSING and not isinstance(g.body, Mapping):
            raise WrongBody

    def takes(
        self, schema: Schema, location: str = "json", *, required: bool = True
    ) -> Callable[[ViewFunction], ViewFunction]:
        """Give the view the request's body, or its query, as the schema loads it.

        A schema instance: a class would be built anew for every request.
        """
        decorate: Callable[[ViewFunction], ViewFunction] = self.arguments(
            schema, location=location, required=required
        )
        return decorate

    def operation(
        self,
        rule: str,
        method: str,
        operation_id: str,
        answer: Any,
        *,
        summary: str,
        raises: tuple[type[ServiceError], ...] = (),
        unready: Schema | None = None,
        changes: bool = False,
        body_optional: bool = False,
        detail: Detail | None = None,
        also_csv: bool = False,
        kind: str = "application/json",
    ) -> Callable[[ViewFunction], ViewFunction]:
        """Register a view with its operationId, its answer and every error it can give.

        `unready` is what it answers, as a 503, to those who should go elsewhere. `changes` marks an operation that
        writes the audit, and so takes the `litellm-changed-by` header. `detail` is the shape that its refusals
        have beside the envelope. `also_csv` documents that it can answer in that form too; `kind` is that of its
        usual one.
        """

        def decorate(view: ViewFunction) -> ViewFunction:
            if changes:
                _document_header(view)
            doc: dict[str, Any] = {"operationId": operation_id, "summary": summary}
            if not self._public:
                doc["security"] = [{"APIKeyHeader": []}]
            documented = self.doc(**doc)(view)
            answers = [(200, _response(answer, "OK", kind))]
            if also_csv:
                answers.append((200, _response(_TEXT, "OK", CSV)))
            for status, names in _statuses(raises, method, public=self._public).items():
                answers.append((status, _response(ErrorEnvelopeSchema(), names)))
            if unready is not None:
                answers.append((503, _response(unready, "Unready")))
            answers.append((422, _response(HTTPValidationErrorSchema(), "Validation Error")))
            _document_answers(documented, answers)
            if body_optional:
                self._without_body.add(f"{self.name}.{operation_id}")
            if detail is not None:
                self._details[f"{self.name}.{operation_id}"] = detail
            self.route(_flask_rule(rule), methods=[method], endpoint=operation_id)(documented)
            return view

        return decorate


def _document_header(view: ViewFunction) -> None:
    """Put the header beside the parameters that the view's own schemas document."""
    documented: dict[str, Any] = vars(view).setdefault("_apidoc", {}).setdefault("arguments", {})
    documented.setdefault("parameters", []).append(CHANGED_BY)


def _document_answers(view: ViewFunction, answers: Iterable[tuple[int, dict[str, Any]]]) -> None:
    """Put all answers of a view into its documentation at once.

    `alt_response` would wrap the view once more for each, and copy each time, schemas included, what is there.
    """
    documented: dict[str, Any] = vars(view)["_apidoc"]
    responses = documented.setdefault("response", {}).setdefault("responses", {})
    for status, each in answers:
        responses.setdefault(status, []).append(each)
    documented["success_status_codes"] = [200]


def _response(schema: Any, description: str, content_type: str | None = None) -> dict[str, Any]:
    return {"schema": schema, "description": description, "content_type": content_type}


def _statuses(raises: tuple[type[ServiceError], ...], method: str, *, public: bool) -> dict[int, str]:
    """The documented statuses, each with the names of the errors behind it."""
    names: dict[int, list[str]] = {}
    for error in (*(() if public else _ALWAYS), *raises):
        names.setdefault(row_of(error).status, []).append(error.__name__)
    if method in _WITH_BODY:
        names.setdefault(400, []).append("WrongBody")
        names.setdefault(413, []).append("RequestEntityTooLarge")
        names.setdefault(415, []).append("EncodedBody")
    names.setdefault(500, []).append("InternalServerError")
    return {status: ", ".join(dict.fromkeys(found)) for status, found in sorted(names.items())}


def _flask_rule(rule: str) -> str:
    """`/key/{key}/regenerate` in Flask's spelling; a parameter holds slashes only where it is `{name:path}`."""
    return re.sub(r"{(\w+)}", r"<\1>", re.sub(r"{(\w+):path}", r"<path:\1>", rule))


def _route() -> str:
    """The route's own name, with its parameters unfilled, as access rules and grants know it."""
    rule = request.url_rule
    return request.path if rule is None else documented(rule.rule)


def documented(rule: str) -> str:
    """A rule of Flask's as the document spells it."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def answer(fields: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(fields), status, mimetype="application/json")


def answer_page(fields: Any, page: Page) -> Response:
    """A page, with what its body has no room for: where the next one begins, and whether the total goes on."""
    response = ends(answer(fields), page.next_cursor)
    if page.capped:
        response.headers["x-keyledger-total-count-capped"] = "true"
    return response


def ends(response: Response, cursor: str | None) -> Response:
    """A page that is not the last tells where the next one begins."""
    if cursor is not None:
        response.headers["x-keyledger-next-cursor"] = cursor
    return response


def finish(response: Response) -> Response:
    """What every response carries: its request id, the security headers, and which fields were not used."""
    response.headers["x-request-id"] = g.request_id
    response.headers.setdefault("X-Frame-Options", "DENY")
    response.headers.setdefault("Content-Security-Policy", "frame-ancestors 'none'")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "no-store")
    response.vary.add("Origin")
    unenforced = g.get("unenforced", frozenset()) & g.get("sent_fields", frozenset())
    for name, value in (
        ("x-keyledger-ignored-fields", g.get("ignored_fields", ())),
        ("x-keyledger-unenforced-fields", sorted(unenforced)),
    ):
        if value:
            response.headers[name] = _header_list(value)
    return response


_MOST_NAMES = 20


def _header_list(names: list[str]) -> str:
    """Names from a request body, cut to what a header can safely hold."""
    shown = [re.sub(r"[^A-Za-z0-9_.-]", "?", name)[:64] for name in names[:_MOST_NAMES]]
    more = len(names) - len(shown)
    return ",".join(shown) + (f",+{more}" if more > 0 else "")

"""HTTP: blueprints, schemas and the table of errors. Everything here ends where a use case begins."""

from typing import Any

import flask_smorest
import structlog
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import resolve_schema_cls
from flask import Flask, g, request

from app.api import auth, errors, metrics, operations
from app.api import catalogue as catalogues
from app.api.audit import audit
from app.api.blueprint import finish
from app.api.budgets import budgets
from app.api.call_logs import call_logs
from app.api.decisions import decisions, settlements
from app.api.events import events
from app.api.key_rotation import key_rotation
from app.api.keys import keys
from app.api.member_spend import member_spend
from app.api.organizations import organizations
from app.api.schemas.organizations import OrgMemberSchema
from app.api.schemas.users import NewUserRequestTeamSchema
from app.api.spend import spend
from app.api.team_callbacks import team_callbacks
from app.api.team_keys import team_keys
from app.api.team_lists import team_lists
from app.api.team_members import team_members
from app.api.team_permissions import team_permissions
from app.api.teams import teams
from app.api.users import users
from app.container import Services

_DOCUMENT = {
    "API_TITLE": "Keyledger",
    "API_VERSION": operations.KEYLEDGER_VERSION,
    "OPENAPI_VERSION": "3.0.3",
    "OPENAPI_URL_PREFIX": "/",
    "OPENAPI_JSON_PATH": "openapi.json",
    "OPENAPI_SWAGGER_UI_PATH": "/docs",
    "OPENAPI_SWAGGER_UI_URL": "/docs/assets/",
    # Else the page sends the document's address to swagger.io.
    "OPENAPI_SWAGGER_UI_CONFIG": {"validatorUrl": "none"},
}
_KEY_HEADER = {"type": "apiKey", "in": "header", "name": "x-litellm-api-key"}


class Api(flask_smorest.Api):  # type: ignore[misc]  # flask-smorest is not typed
    """The document; errors are answered by our own table, and nothing else is documented."""

    DEFAULT_ERROR_RESPONSE_NAME = None

    def _register_error_handlers(self) -> None:
        errors.register(self._app)

    def _register_responses(self) -> None:
        """Each operation names its own answers."""

    def _register_pagination_header(self) -> None:
        """Pages are told in the body."""


def register(app: Flask) -> None:
    """Put the whole API on the application."""
    app.config.update(_DOCUMENT)
    metrics.register(app)
    app.before_request(_begin)
    app.after_request(finish)
    api = Api(
        app,
        spec_kwargs={
            "marshmallow_plugin": MarshmallowPlugin(schema_name_resolver=_component_name),
            "components": {"securitySchemes": {"APIKeyHeader": _KEY_HEADER}},
        },
    )
    api.spec.components.schema("NewUserRequestTeam", schema=NewUserRequestTeamSchema)
    api.spec.components.schema("OrgMember", schema=OrgMemberSchema)
    for blueprint in (
        keys,
        key_rotation,
        decisions,
        settlements,
        call_logs,
        budgets,
        teams,
        team_callbacks,
        team_keys,
        team_permissions,
        member_spend,
        team_members,
        team_lists,
        users,
        organizations,
        audit,
        events,
        catalogues.catalogue,
        spend,
        operations.health,
        operations.models,
        operations.jobs,
        metrics.metrics,
    ):
        api.register_blueprint(blueprint)
    catalogues.register(app)
    operations.register(app)


def bind(app: Flask, services: Services) -> None:
    """Let the application work with these services; nothing that is registered knows any."""
    app.config["MAX_CONTENT_LENGTH"] = services.settings.max_body_bytes
    app.extensions["keyledger"] = services
    metrics.bind(app, services)


def _begin() -> None:
    auth.name_request(request)
    structlog.contextvars.clear_contextvars()  # a thread serves one request after the other
    structlog.contextvars.bind_contextvars(request_id=g.request_id, method=request.method, route=metrics.route())
    g.body = None


def _component_name(schema: Any) -> str:
    name: str = resolve_schema_cls(schema).__name__  # type: ignore[union-attr]
    return name.removesuffix("Schema")

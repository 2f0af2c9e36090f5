"""What management clients of LiteLLM ask for at their start: the models that keys and teams name, and empty lists.

Deployments, credentials, guardrails, policies and access groups are a gateway's. None is kept here: reading them
says so in their own shapes, and there is nothing to write to.
"""

from typing import Any, NoReturn

from flask import Flask, Response
from werkzeug.exceptions import NotFound as NoSuchRoute

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer
from app.api.schemas.catalogue import (
    AccessGroupListSchema,
    CredentialListSchema,
    GuardrailListSchema,
    ModelInfoListSchema,
    ModelInfoQuerySchema,
    PolicyListSchema,
)
from app.domain.routes import CATALOGUE
from app.errors import NotFound

catalogue = Blueprint("catalogue")


def _model_info(query: dict[str, Any]) -> Response:
    names = services().catalogue.models(act().caller, query.get("litellm_model_id"))
    return answer({"data": [_model(name) for name in names]})


def _model(name: str) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": name}, "model_info": {"id": name, "db_model": False}}


@catalogue.operation(
    "/model/info",
    "GET",
    "model_info_v1_model_info_get",
    ModelInfoListSchema(),
    summary="Model Info V1",
    raises=(NotFound,),
)
@catalogue.takes(ModelInfoQuerySchema(), "query")
def model_info(query: dict[str, Any]) -> Response:
    return _model_info(query)


@catalogue.operation(
    "/v1/model/info",
    "GET",
    "model_info_v1_v1_model_info_get",
    ModelInfoListSchema(),
    summary="Model Info V1",
    raises=(NotFound,),
)
@catalogue.takes(ModelInfoQuerySchema(), "query")
def model_info_v1(query: dict[str, Any]) -> Response:
    return _model_info(query)


@catalogue.operation(
    "/credentials",
    "GET",
    "get_credentials_credentials_get",
    CredentialListSchema(),
    summary="Get Credentials",
)
def credentials() -> Response:
    return answer({"success": True, "credentials": []})


@catalogue.operation(
    "/v2/guardrails/list",
    "GET",
    "list_guardrails_v2_v2_guardrails_list_get",
    GuardrailListSchema(),
    summary="List Guardrails V2",
)
def guardrails() -> Response:
    return answer({"guardrails": []})


@catalogue.operation(
    "/policies/list",
    "GET",
    "list_policies_policies_list_get",
    PolicyListSchema(),
    summary="List Policies",
)
def policies() -> Response:
    return answer({"policies": [], "total_count": 0})


@catalogue.operation(
    "/v1/unified_access_group",
    "GET",
    "list_access_groups_v1_unified_access_group_get",
    {"type": "array", "items": {"type": "object"}},
    summary="List Access Groups",
)
def unified_access_groups() -> Response:
    return answer([])


@catalogue.operation(
    "/access_group/list",
    "GET",
    "list_access_groups_access_group_list_get",
    AccessGroupListSchema(),
    summary="List Access Groups",
)
def access_groups() -> Response:
    return answer({"access_groups": []})


def register(app: Flask) -> None:
    """Let writing to what is only read here answer as any route that does not exist."""
    for path in sorted(CATALOGUE):
        app.add_url_rule(path, f"no writing to {path}", _absent, methods=["POST", "PUT", "PATCH", "DELETE"])


def _absent() -> NoReturn:
    raise NoSuchRoute

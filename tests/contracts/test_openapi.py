"""The OpenAPI document: complete against the seed, valid, and true of what the service answers."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from openapi_schema_validator import OAS30Validator
from schemathesis import Case
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.specs.openapi.definitions import OPENAPI_30_VALIDATOR

from app import create_app, errors
from app.api.errors import TABLE, row_of
from app.config import Settings
from app.container import Services, build
from app.errors import ServiceError
from tests.clients import MASTER_KEY
from tests.environment import ENVIRONMENT
from tests.servers import RedisServer
from tests.stores import copy_of

SEED: dict[str, Any] = json.loads(Path(__file__).with_name("seed_fields.json").read_text())
SERVED = sorted(SEED)

COMPONENTS = {
    "GenerateKeyRequest",
    "GenerateKeyResponse",
    "UpdateKeyRequest",
    "KeyRequest",
    "BlockKeyRequest",
    "KeyListResponseObject",
    "LiteLLM_VerificationToken",
    "LiteLLM_ObjectPermissionBase",
    "BudgetConfig",
}

# Which component each operation of the seed takes and answers, where the seed names one.
TAKEN = {
    "POST /key/generate": "GenerateKeyRequest",
    "POST /key/update": "UpdateKeyRequest",
    "POST /key/delete": "KeyRequest",
    "POST /key/block": "BlockKeyRequest",
    "POST /key/unblock": "BlockKeyRequest",
}
ANSWERED = {
    "POST /key/generate": "GenerateKeyResponse",
    "POST /key/block": "LiteLLM_VerificationToken",
    "GET /key/list": "KeyListResponseObject",
}

# What an operation on keys can answer beyond 200 and what every operation of its kind can.
OWN_STATUSES = {
    "POST /key/generate": {"409"},
    "POST /key/update": {"404"},
    "POST /key/delete": {"404"},
    "POST /key/block": {"404"},
    "POST /key/unblock": {"404"},
    "GET /key/info": {"404"},
    "GET /key/list": {"400"},
    "GET /models": set(),
    "GET /v1/models": set(),
}
PUBLIC = {"GET /health/liveliness", "GET /health/liveness", "GET /health/readiness"}

EXAMPLES = 8
OF_ONE_KEY = {
    *("/key/update", "/key/verify", "/key/explain", "/key/settle", "/key/release", "/key/extend", "/key/log"),
}


@pytest.fixture(scope="module")
def app(
    migrated_file: Path, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flask]:
    folder = tmp_path_factory.mktemp("openapi")
    services = _services(copy_of(migrated_file, folder), redis_server.url, folder)
    yield create_app(services)
    services.close()


def _services(store_url: str, redis_url: str, folder: Path) -> Services:
    return build(
        Settings.parse(
            {
                "DATABASE_URL": store_url,
                "REDIS_URL": redis_url,
                **ENVIRONMENT,
                "KEYLEDGER_DATA_DIR": str(folder),
            }
        )
    )


@pytest.fixture(scope="module")
def document(app: Flask) -> dict[str, Any]:
    found: dict[str, Any] = app.test_client().get("/openapi.json").get_json()
    return found


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every operation by method and path, with the parameters that its path has for all."""
    return {
        f"{method.upper()} {path}": {
            **operation,
            "parameters": [*item.get("parameters", []), *operation.get("parameters", [])],
        }
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in {"get", "post", "put", "patch", "delete"}
    }


# --- complete against the seed -----------------------------------------------------------------------------


def test_every_operation_of_the_seed_is_there(operations: dict[str, Any]):
    assert SEED.keys() <= operations.keys()


def test_no_two_operations_share_an_id(operations: dict[str, Any]):
    ids = [operation["operationId"] for operation in operations.values()]

    assert sorted(ids) == sorted(set(ids))


@pytest.mark.parametrize("name", SERVED)
def test_an_operation_of_the_seed_keeps_its_id(operations: dict[str, Any], name: str):
    assert operations[name]["operationId"] == SEED[name]["operationId"]


@pytest.mark.parametrize("name", SERVED)
def test_every_body_field_of_the_seed_is_documented(
    document: dict[str, Any], operations: dict[str, Any], name: str
):
    if not SEED[name]["body"]:
        assert "requestBody" not in operations[name]
        return

    schema = _resolved(document, operations[name]["requestBody"]["content"]["application/json"]["schema"])

    assert set(SEED[name]["body"]) <= schema["properties"].keys()


@pytest.mark.parametrize("name", SERVED)
def test_every_parameter_of_the_seed_is_documented(operations: dict[str, Any], name: str):
    places = {parameter["name"]: parameter["in"] for parameter in operations[name].get("parameters", [])}

    in_path = set(re.findall(r"{(\w+)}", name))
    expected = {
        parameter: "path" if parameter in in_path else "header" if "-" in parameter else "query"
        for parameter in SEED[name]["parameters"]
    }
    assert places.items() >= expected.items()


def test_the_components_that_generated_clients_name_are_there(document: dict[str, Any]):
    assert document["components"]["schemas"].keys() >= COMPONENTS


@pytest.mark.parametrize(("name", "component"), TAKEN.items())
def test_a_request_is_the_component_of_the_seed(operations: dict[str, Any], name: str, component: str):
    body = operations[name]["requestBody"]

    assert body["required"] is True
    assert body["content"]["application/json"]["schema"] == _reference(component)


@pytest.mark.parametrize(("name", "component"), ANSWERED.items())
def test_an_answer_is_the_component_of_the_seed(operations: dict[str, Any], name: str, component: str):
    answer = operations[name]["responses"]["200"]

    assert answer["content"]["application/json"]["schema"] == _reference(component)


@pytest.mark.parametrize("component", ["GenerateKeyRequest", "UpdateKeyRequest"])
def test_object_permissions_and_model_budgets_are_documented_entry_by_entry(
    document: dict[str, Any], component: str
):
    properties = document["components"]["schemas"][component]["properties"]

    assert properties["model_max_budget"]["additionalProperties"] == _reference("BudgetConfig")
    assert _reference("LiteLLM_ObjectPermissionBase") in properties["object_permission"]["anyOf"]


# --- how callers are known ---------------------------------------------------------------------------------


def test_the_key_header_is_the_one_security_scheme(document: dict[str, Any]):
    assert document["components"]["securitySchemes"] == {
        "APIKeyHeader": {"type": "apiKey", "in": "header", "name": "x-litellm-api-key"}
    }


def test_every_operation_asks_for_a_key_but_health(operations: dict[str, Any]):
    asking = {
        name for name, operation in operations.items() if operation.get("security") == [{"APIKeyHeader": []}]
    }

    assert operations.keys() - asking == PUBLIC


# --- valid, and nothing left over --------------------------------------------------------------------------


def test_the_document_is_valid_openapi(document: dict[str, Any]):
    faults = [f"{error.instance_path}: {error.message}" for error in OPENAPI_30_VALIDATOR.iter_errors(document)]

    assert document["openapi"].startswith("3.0.")
    assert faults == []


def test_every_schema_of_the_document_is_a_valid_schema(document: dict[str, Any]):
    for schema in document["components"]["schemas"].values():
        OAS30Validator.check_schema(schema)


def test_every_reference_leads_somewhere(document: dict[str, Any]):
    for reference in _references(document):
        assert _resolved(document, {"$ref": reference})


def test_every_component_is_used(document: dict[str, Any]):
    used, found = set(), {*_references(document["paths"])}
    while found:
        used |= found
        found = {inner for name in found for inner in _references(_resolved(document, {"$ref": name}))} - used

    assert used == {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert document["components"].keys() == {"schemas", "securitySchemes"}


# --- every answer is documented ----------------------------------------------------------------------------


def test_every_operation_documents_what_every_one_of_its_kind_can_answer(operations: dict[str, Any]):
    for name, operation in operations.items():
        expected = {"200", "500", "503"}
        if name not in PUBLIC:
            expected |= {"401", "403"}
        if name.startswith("POST"):
            expected |= {"400", "413", "415", "422"}
        if any(parameter["in"] == "query" for parameter in operation.get("parameters", [])):
            expected |= {"422"}
        assert operation["responses"].keys() >= expected, name


@pytest.mark.parametrize(("name", "own"), OWN_STATUSES.items())
def test_an_operation_documents_the_statuses_of_its_own(operations: dict[str, Any], name: str, own: set[str]):
    common = {"200", "401", "403", "422", "500", "503"}
    if name.startswith("POST"):
        common |= {"400", "413", "415"}

    assert set(operations[name]["responses"]) == common | own


def test_an_error_is_documented_under_the_status_that_it_is_answered_with(operations: dict[str, Any]):
    for name, operation in operations.items():
        for status, response in operation["responses"].items():
            for error in re.findall(r"\w+", response["description"]):
                kind = getattr(errors, error, None)
                if isinstance(kind, type) and issubclass(kind, ServiceError):
                    assert (name, status) == (name, str(row_of(kind).status))


def test_every_error_is_an_envelope_but_that_of_a_schema(operations: dict[str, Any]):
    for name, operation in operations.items():
        for status, response in operation["responses"].items():
            if status == "200" or (name in PUBLIC and status == "503"):
                continue
            component = "HTTPValidationError" if status == "422" else "ErrorEnvelope"
            assert response["content"]["application/json"]["schema"] == _reference(component), (name, status)


def test_every_error_has_a_row():
    def kinds(root: type[ServiceError]) -> Iterator[type[ServiceError]]:
        for kind in root.__subclasses__():
            yield kind
            yield from kinds(kind)

    assert {kind for kind in kinds(ServiceError) if not set(kind.__mro__) & TABLE.keys()} == set()


def test_a_reader_is_told_what_each_operation_of_gateways_and_each_field_of_theirs_is(
    document: dict[str, Any], operations: dict[str, dict[str, Any]]
):
    for path in sorted(OF_ONE_KEY - {"/key/update"}):
        operation = operations[f"POST {path}"]
        assert len(operation["description"]) > 40, path
        body = _resolved(document, operation["requestBody"]["content"]["application/json"]["schema"])
        answered = _resolved(document, operation["responses"]["200"]["content"]["application/json"]["schema"])
        for schema in (body, answered):
            silent = [
                name
                for name, field in schema["properties"].items()
                if not (field.get("description") or "$ref" in field or name in PLAIN or "enum" in field)
            ]
            assert silent == [], path


# Fields whose name says it all.
PLAIN = {"key_id", "model", "message", "status", "type", "user", "duplicate", "extended", "allowed", "cost"}


# --- true of what the service answers ----------------------------------------------------------------------


def test_whatever_is_sent_no_answer_breaks_the_document(app: Flask):
    """Requests that fit the document and requests that do not, to every operation, as an administrator."""
    load_all_checks()
    checks = [
        CHECKS.get_one(name)
        for name in (
            "not_a_server_error",
            "status_code_conformance",
            "content_type_conformance",
            "response_schema_conformance",
            "response_headers_conformance",
        )
    ]
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)
    existing = _generated(app)
    called = set()

    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(
            case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE)
            | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)
        )
        def calls(case: Case) -> None:
            if case.path in OF_ONE_KEY and isinstance(case.body, dict):
                case.body["key"] = existing  # by chance it would never be found
            response = case.call(headers={"x-litellm-api-key": MASTER_KEY})
            case.validate_response(response, checks=checks)
            called.add((case.method, case.path))

        calls()

    assert len(called) == len(list(schema.get_all_operations()))


def _generated(app: Flask) -> str:
    answer = app.test_client().post("/key/generate", json={}, headers={"x-litellm-api-key": MASTER_KEY})
    plaintext: str = answer.get_json()["key"]
    return plaintext


# --- reading it --------------------------------------------------------------------------------------------


def _reference(component: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{component}"}


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from _references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _references(inner)


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        found: Any = document
        for name in schema["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        schema = found
    return schema

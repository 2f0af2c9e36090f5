"""Who calls: the ways to present a key, what does not open, and which routes a role and a key reach."""

from typing import Any

import pytest

from app.container import Services
from app.domain import minting
from app.models import audit
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
from tests.factories import (
    add_organization,
    add_person,
    add_team,
    add_user,
    rows,
)

UNKNOWN = "sk-unknown-key-0000"
SIGNED = "AWS4-HMAC-SHA256 Credential={}/20261118/eu-west-1/bedrock/aws4_request, SignedHeaders=host, Signature=0f"


def call(api: Api, path: str = "/models", **headers: str) -> Answer:
    return api.call("GET", path, key=None, headers=headers)


# --- the ways to present a key -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["master", "virtual"])
@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("Authorization", "Bearer {}"),
        ("Authorization", "bearer {}"),
        ("Authorization", "Basic {}"),
        ("Authorization", "Bearer   {}  "),
        ("Authorization", SIGNED),
        ("Authorization", SIGNED.replace("Credential=", "Credential=Bearer ")),
        ("x-litellm-api-key", "{}"),
        ("x-litellm-api-key", "Bearer {}"),
        ("X-LiteLLM-API-Key", "bearer {}"),
        ("API-Key", "{}"),
        ("api-key", "{}"),
        ("x-api-key", "{}"),
        ("x-goog-api-key", "{}"),
        ("Ocp-Apim-Subscription-Key", "{}"),
    ],
)
def test_a_key_is_taken_from_every_usual_header(shared_api: Api, kind: str, header: str, form: str):
    key = MASTER_KEY if kind == "master" else shared_api.generate()["key"]

    assert call(shared_api, **{header: form.format(key)}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"x-litellm-api-key": UNKNOWN, "Authorization": f"Bearer {MASTER_KEY}"},
        {"Authorization": f"Bearer {UNKNOWN}", "API-Key": MASTER_KEY},
        {"Authorization": MASTER_KEY, "x-api-key": MASTER_KEY},
        {"API-Key": UNKNOWN, "x-api-key": MASTER_KEY},
        {"x-api-key": UNKNOWN, "x-goog-api-key": MASTER_KEY},
        {"x-goog-api-key": UNKNOWN, "Ocp-Apim-Subscription-Key": MASTER_KEY},
    ],
)
def test_the_first_header_decides_and_a_wrong_one_does_not_fall_back(shared_api: Api, headers: dict[str, str]):
    assert call(shared_api, **headers).status == 401


def test_an_empty_header_counts_as_absent(shared_api: Api):
    headers = {"x-litellm-api-key": "", "Authorization": " ", "API-Key": "", "x-api-key": MASTER_KEY}

    assert call(shared_api, **headers).status == 200


NO_KEY = "Authentication Error, No api key passed in."
MALFORMED = "Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix."
INVALID = "Authentication Error, Invalid API key provided."


@pytest.mark.parametrize(
    ("headers", "kind", "param", "message"),
    [
        ({}, "auth_error", None, NO_KEY),
        ({"Authorization": ""}, "auth_error", None, NO_KEY),
        ({"Authorization": "Bearer"}, "auth_error", None, NO_KEY),
        ({"Authorization": "Bearer "}, "auth_error", None, NO_KEY),
        ({"Authorization": MASTER_KEY}, "auth_error", None, MALFORMED),
        ({"Authorization": f"Token {MASTER_KEY}"}, "auth_error", None, MALFORMED),
        ({"Authorization": f"Bearer{MASTER_KEY}"}, "auth_error", None, MALFORMED),
        ({"Authorization": "AWS4-HMAC-SHA256 Signature=0f"}, "auth_error", None, MALFORMED),
        (
            {"Authorization": "Bearer not-a-key-at-all"},
            "auth_error",
            None,
            "LiteLLM Virtual Key expected. Received=not-****-all, expected to start with 'sk-'.",
        ),
        (
            {"Authorization": "Bearer short"},
            "auth_error",
            None,
            "LiteLLM Virtual Key expected. Received=****, expected to start with 'sk-'.",
        ),
        ({"Authorization": f"Bearer {UNKNOWN}"}, "token_not_found_in_db", "key", INVALID),
        ({"Authorization": f"Bearer {MASTER_KEY}x"}, "token_not_found_in_db", "key", INVALID),
        ({"Authorization": f"Bearer {MASTER_KEY.upper()}"}, "auth_error", None, None),
        ({"Authorization": "Bearer sk-\xe9\xff"}, "token_not_found_in_db", "key", INVALID),
    ],
)
def test_what_is_no_usable_key_is_401(
    shared_api: Api, headers: dict[str, str], kind: str, param: str | None, message: str | None
):
    answer = call(shared_api, **headers)

    assert answer.summary == (401, kind, param)
    assert message is None or answer.error["message"] == message


def test_a_hash_names_a_key_and_opens_nothing(shared_api: Api):
    made = shared_api.generate()

    for digest in (made["token"], minting.digest(MASTER_KEY), "sk-" + made["token"]):
        assert call(shared_api, Authorization=f"Bearer {digest}").status == 401


def test_the_master_key_is_recorded_under_its_alias_and_never_as_itself(api: Api, services: Services):
    api.generate()

    (row,) = rows(services.database, audit)
    assert (row["actor_user_id"], row["actor_key_id"], row["actor_role"]) == (
        "default_user_id",
        None,
        "proxy_admin",
    )


# --- keys that do not open ---------------------------------------------------------------------------------


def test_an_expired_key_says_so_with_its_last_characters_and_both_times(api: Api, clock: MovableClock):
    key = api.generate(duration="1h")["key"]
    clock.advance(3600)

    answer = call(api, Authorization=f"Bearer {key}")

    assert answer.summary == (401, "expired_key", f"sk-...{key[-4:]}")
    assert answer.error["message"] == (
        "Authentication Error - Expired Key. Key Expiry time 2026-11-18T14:47:33.000000Z "
        "and current time 2026-11-18T14:47:33.000000Z"
    )


def test_a_key_of_a_blocked_team_is_refused_by_the_name_of_the_team(api: Api, services: Services):
    add_team(services.database, "crew", blocked=True)
    key = api.generate(team_id="crew")["key"]

    answer = call(api, Authorization=f"Bearer {key}")

    assert answer.summary == (401, "auth_error", None)
    assert answer.error["message"] == (
        "Authentication Error, Team=crew is blocked. Update via `/team/unblock` if you're an admin."
    )
    assert call(api, Authorization=f"Bearer {MASTER_KEY}").status == 200


def test_blocked_comes_before_expired_and_expired_before_the_team(
    api: Api, services: Services, clock: MovableClock
):
    add_team(services.database, "crew", blocked=True)
    key = api.generate(team_id="crew", duration="1s", blocked=True)["key"]
    clock.advance(1)

    blocked = call(api, Authorization=f"Bearer {key}")
    api.post("/key/unblock", {"key": key})
    expired = call(api, Authorization=f"Bearer {key}")

    assert blocked.error["message"].startswith("Authentication Error, Key is blocked.")
    assert expired.error["type"] == "expired_key"


def test_a_key_of_a_team_without_a_row_opens(shared_api: Api):
    key = shared_api.generate(team_id="no such team")["key"]

    assert call(shared_api, Authorization=f"Bearer {key}").status == 200


# --- roles -------------------------------------------------------------------------------------------------

OK = "ok"
ROLE = (401, "auth_error")
VIEWER = (403, "auth_error")
NOT_FOUND = (404, "not_found_error")
NONE_FOUND = (404, "invalid_request_error")
NO_USER = (403, "bad_request_error")

# Each route with a request that changes nothing where the role lets it through.
REQUESTS: dict[str, tuple[str, dict[str, Any] | None]] = {
    "/key/generate": ("POST", {"duration": "never"}),
    "/key/update": ("POST", {"key": UNKNOWN}),
    "/key/delete": ("POST", {"keys": [UNKNOWN]}),
    "/key/block": ("POST", {"key": UNKNOWN}),
    "/key/unblock": ("POST", {"key": UNKNOWN}),
    "/key/info": ("GET", None),
    "/key/list": ("GET", None),
    "/models": ("GET", None),
    "/v1/models": ("GET", None),
}
BAD_VALUE = (400, "invalid_request_error")
THROUGH = [BAD_VALUE, NOT_FOUND, NONE_FOUND, NOT_FOUND, NOT_FOUND, OK, OK, OK, OK]
READS_ONLY = [ROLE] * 5 + [OK] * 4
NO_LIST = [ROLE] * 5 + [OK, NO_USER, OK, OK]
MATRIX: dict[str, list[Any]] = {
    "master key": [*THROUGH[:5], NOT_FOUND, OK, OK, OK],
    "proxy_admin": THROUGH,
    "internal_user": THROUGH,
    "no role": THROUGH,
    "unknown role": THROUGH,
    "administers an organization": THROUGH,
    "proxy_admin_viewer": [VIEWER] * 5 + [OK] * 4,
    "internal_user_viewer": READS_ONLY,
    "org_admin": READS_ONLY,
    "team": READS_ONLY,
    "customer": READS_ONLY,
    "no owner": NO_LIST,
    "owner without a row": NO_LIST,
    "service account": [BAD_VALUE, NOT_FOUND, ROLE, ROLE, ROLE, OK, NO_USER, OK, OK],
}


@pytest.fixture(scope="module")
def callers(shared_api: Api, shared_services: Services) -> dict[str, str]:
    """A key of each kind of caller."""
    api, database = shared_api, shared_services.database
    roles: dict[str, str | None] = {name: name for name in MATRIX if "_" in name or name in {"team", "customer"}}
    roles |= {"no role": None, "unknown role": "chief"}
    made = {kind: add_person(api, database, f"role {kind}", role) for kind, role in roles.items()}
    add_user(database, "head of acme", "org_admin")
    add_organization(database, "acme", {"head of acme": "org_admin"})
    made["administers an organization"] = api.generate(user_id="head of acme")["key"]
    made["master key"] = MASTER_KEY
    made["no owner"] = api.generate()["key"]
    made["owner without a row"] = api.generate(user_id="nobody at all")["key"]
    add_team(database, "team of robots")
    made["service account"] = api.generate(
        team_id="team of robots", metadata={"service_account_id": "robot"}
    )["key"]  # fmt: skip
    return made


@pytest.mark.parametrize(
    ("kind", "route", "expected"),
    [(kind, route, row[index]) for kind, row in MATRIX.items() for index, route in enumerate(REQUESTS)],
)
def test_a_role_reaches_its_routes_and_no_others(
    shared_api: Api, callers: dict[str, str], kind: str, route: str, expected: Any
):
    method, body = REQUESTS[route]

    answer = shared_api.call(method, route, key=callers[kind], json=body)

    if expected == OK:
        assert answer.status == 200, answer
    else:
        assert (answer.status, answer.error["type"]) == expected, answer


def test_a_refusal_by_role_names_route_and_role_and_masks_the_user(shared_api: Api, callers: dict[str, str]):
    viewer = shared_api.post("/key/generate", {}, key=callers["internal_user_viewer"]).error["message"]
    nobody = shared_api.post("/key/generate", {}, key=callers["no owner"]).error["message"]

    assert "Route=/key/generate. Your role=internal_user_viewer. Your user_id=********" in viewer
    assert "Your role=unknown. Your user_id=None" in nobody


# --- allowed_routes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granted", "reached"),
    [
        (["/key/info"], {"/key/info"}),
        (["/key"], {"/key/info", "/key/list", "/key/generate"}),
        (["/key/"], {"/key/info", "/key/list", "/key/generate"}),
        (["/key/*"], {"/key/info", "/key/list", "/key/generate"}),
        (["/key/in*"], {"/key/info"}),
        (["*"], {"/key/info", "/key/list", "/key/generate", "/models"}),
        (["info_routes"], {"/key/info", "/key/list", "/models"}),
        (["management_routes"], {"/key/info", "/key/list", "/key/generate"}),
        (["key_management_routes"], {"/key/info", "/key/list", "/key/generate"}),
        (["llm_api_routes"], {"/models"}),
        (["openai_routes"], {"/models"}),
        (["/key/inf", "/KEY/INFO", "key/info", "no_such_group"], set()),
        (["/key/list", "llm_api_routes"], {"/key/list", "/models"}),
    ],
)
@pytest.mark.parametrize("role", ["proxy_admin", "internal_user"])
def test_a_key_reaches_the_routes_that_it_lists_and_no_others(
    shared_api: Api, callers: dict[str, str], role: str, granted: list[str], reached: set[str]
):
    key = shared_api.generate(user_id=f"role {role}", allowed_routes=granted)["key"]

    routes = ("/key/info", "/key/list", "/key/generate", "/models")
    answers = {route: shared_api.call(REQUESTS[route][0], route, key=key, json={}) for route in routes}

    assert {route for route, answer in answers.items() if answer.status == 200} == reached
    assert {answers[route].status for route in routes if route not in reached} <= {403}


def test_a_refusal_by_route_has_both_shapes(shared_api: Api):
    key = shared_api.generate(allowed_routes=["llm_api_routes"])["key"]

    answer = shared_api.get("/key/info", key)

    text = (
        "Virtual key is not allowed to call this route. Only allowed to call routes: ['llm_api_routes']. "
        "Tried to call route: /key/info"
    )
    assert answer.summary == (403, "auth_error", None)
    assert answer.error["message"] == answer.body["detail"] == text


def test_a_route_that_an_administrator_listed_is_reached_past_the_role(shared_api: Api, callers: dict[str, str]):
    key = shared_api.generate(user_id="role internal_user_viewer", allowed_routes=["/key/generate"])["key"]

    assert shared_api.post("/key/generate", {}, key=key).status == 200

"""Who calls: the ways to present a key, what each role reaches, and what each caller may do to which key."""

from dataclasses import dataclass
from typing import Any

import pytest

from app.container import Services
from app.domain import minting
from app.models import audit
from tests.api.counting import statements
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
from tests.factories import (
    add_organization,
    add_person,
    add_team,
    add_user,
    change_key,
    rows,
    unchanged,
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


# --- which caller may do what to which key -----------------------------------------------------------------

CHANGES: dict[str, dict[str, Any]] = {
    "settings": {"tags": ["x"], "duration": "1d"},
    "budget": {"max_budget": 1},
    "owner": {"user_id": "somebody else"},
    "no owner": {"user_id": None},
    "routes": {"allowed_routes": []},
    "any route": {"allowed_routes": None},
    "permissions": {"permissions": {}},
    "usable": {"blocked": None},
    "blocked": {"blocked": True},
    "out of team": {"team_id": None},
    "robot": {"metadata": {"service_account_id": "r"}},
    "ceilings off": {"throttle_on_budget_exceeded": None},
    "hidden increase": {"metadata": {"temp_budget_increase": 1, "temp_budget_expiry": "2099-01-01"}},
    "unrestricted": {"object_permission": None},
    "unrestricted stores": {"object_permission": {"vector_stores": []}},
}

MEMBER = (401, "team_member_permission_error")
NO = (403, "auth_error")
BAD = (400, "invalid_request_error")

# Owner and team of each key; "me" is the caller itself.
TARGETS: dict[str, dict[str, str | None]] = {
    "own": {"user_id": "me", "created_by": "me"},
    "given": {"user_id": "me", "created_by": "default_user_id"},
    "foreign": {"user_id": "you", "created_by": "you"},
    "ownerless": {"user_id": None, "created_by": None},
    "team/own": {"user_id": "me", "team_id": "team", "created_by": "me"},
    "team/yours": {"user_id": "you", "team_id": "team", "created_by": "you"},
    "team/robot": {"user_id": None, "team_id": "team", "created_by": "you"},
    "other team": {"user_id": "you", "team_id": "other team", "created_by": "you"},
}


@dataclass(frozen=True)
class Row:
    """What a caller gets for some actions on some targets."""

    caller: str
    targets: str
    actions: str
    expected: Any


RIGHTS = [
    # An internal user: its own keys, and what it made itself.
    Row("user", "own", "settings delete", OK),
    Row("user", "own", "budget owner no_owner routes any_route permissions usable blocked ceilings_off", NO),
    Row("user", "own", "hidden_increase unrestricted unrestricted_stores robot block unblock", NO),
    Row("user", "given", "settings budget owner block", NO),
    Row("user", "given", "delete", OK),
    Row("user", "foreign ownerless team/yours team/robot other_team", "settings budget block unblock delete", 404),
    # A team admin: every key of the team, but not another member's settings.
    Row("lead", "team/own team/robot", "settings budget blocked usable block unblock delete", OK),
    Row("lead", "team/own", "out_of_team robot", OK),
    Row("lead", "team/robot", "out_of_team", NO),
    Row("lead", "team/own team/robot", "owner routes any_route permissions ceilings_off", NO),
    Row("lead", "team/yours", "settings budget", NO),
    Row("lead", "team/yours", "block unblock delete", OK),
    Row("lead", "foreign ownerless other_team", "settings budget block unblock delete", 404),
    # A plain member: its own key of the team, and only as far as the team grants it.
    Row("member", "team/own", "settings", MEMBER),
    Row("member", "team/own", "delete", OK),
    Row("member", "team/own", "block unblock blocked usable owner", NO),
    Row("member", "team/yours team/robot", "settings budget block delete", NO),
    Row("member", "foreign other_team", "settings block delete", 404),
    Row("granted", "team/own", "settings delete out_of_team", OK),
    Row("granted", "team/own", "budget block usable owner routes any_route robot hidden_increase", NO),
    Row("granted", "team/yours team/robot", "settings budget block delete", NO),
    # An administrator of the team's organization is to the team what its admin is.
    Row("chief", "team/own team/robot", "settings budget block unblock delete", OK),
    Row("chief", "team/yours", "block unblock delete", OK),
    Row("chief", "team/yours", "settings", NO),
    Row("chief", "foreign other_team", "settings block delete", 404),
    # A service account: the keys of its team that are nobody's.
    Row("robot", "team/robot", "settings", OK),
    Row("robot", "team/robot", "budget usable out_of_team routes hidden_increase", NO),
    Row("robot", "team/yours", "settings", NO),
    Row("robot", "foreign ownerless other_team", "settings", 404),
    Row("robot", "team/robot", "block delete", ROLE),
    # The rest.
    Row("viewer", "own team/yours foreign", "settings block delete", NO),
    Row("admin", "own foreign ownerless team/yours team/robot other_team", "settings budget block unblock delete", OK),
    Row("admin", "team/robot", "owner routes any_route permissions out_of_team usable robot unrestricted", OK),
]  # fmt: skip
CASES = [
    (row.caller, target.replace("_", " "), action.replace("_", " "), row.expected)
    for row in RIGHTS
    for target in row.targets.split()
    for action in row.actions.split()
]


@pytest.fixture(scope="module")
def company(shared_api: Api, shared_services: Services) -> dict[str, str]:
    """Everybody in one team of one organization, or outside of it; a key of each."""
    database = shared_services.database
    add_organization(database, "company", {"chief": "org_admin"})
    add_team(
        database, "team", {"lead": "admin", "member": "user", "you": "user"}, organization_id="company"
    )  # fmt: skip
    add_team(database, "other team", {"you": "user"})
    add_team(
        database, "granting team", {"granted": "user", "you": "user"},
        grants=["/key/generate", "/key/update", "/key/delete", "/key/block", "/key/unblock"],
    )  # fmt: skip
    roles = {"chief": "org_admin", "viewer": "proxy_admin_viewer", "admin": "proxy_admin"}
    keys = {
        name: add_person(shared_api, database, name, roles.get(name, "internal_user"))
        for name in ("user", "lead", "member", "granted", "chief", "viewer", "admin")
    }
    robot = shared_api.generate(team_id="team", metadata={"service_account_id": "r"})
    return {**keys, "robot": robot["key"]}


def make_target(api: Api, services: Services, caller: str, target: str) -> dict[str, Any]:
    fields = {name: caller if value == "me" else value for name, value in TARGETS[target].items()}
    created_by = fields.pop("created_by")
    if caller == "granted" and fields.get("team_id") == "team":
        fields["team_id"] = "granting team"
    made = api.generate(key_alias=f"{caller} {target}", **fields)
    change_key(services.database, f"{caller} {target}", created_by=created_by, key_alias=None)
    return made


def attempt(api: Api, caller: str, action: str, key: str) -> Answer:
    if action == "delete":
        return api.post("/key/delete", {"keys": [key]}, key=caller)
    if action in {"block", "unblock"}:
        return api.post(f"/key/{action}", {"key": key}, key=caller)
    return api.post("/key/update", {"key": key, **CHANGES[action]}, key=caller)


@pytest.mark.parametrize(("caller", "target", "action", "expected"), CASES)
def test_a_caller_does_to_a_key_what_it_may(
    shared_api: Api,
    shared_services: Services,
    company: dict[str, str],
    caller: str,
    target: str,
    action: str,
    expected: Any,
):
    made = make_target(shared_api, shared_services, caller, target)

    if expected == OK:
        answer = attempt(shared_api, company[caller], action, made["key"])
        assert answer.status == 200, answer
        return
    with unchanged(shared_services.database):
        answer = attempt(shared_api, company[caller], action, made["key"])

    if expected == 404:
        assert answer.status == 404, answer
    else:
        assert (answer.status, answer.error["type"]) == expected, answer


def test_a_refusal_to_block_has_both_shapes(shared_api: Api, shared_services: Services, company: dict[str, str]):
    made = make_target(shared_api, shared_services, "user", "own")

    answer = shared_api.post("/key/block", {"key": made["key"]}, key=company["user"])

    assert answer.body["detail"] == {"error": answer.error["message"]}
    assert answer.error["message"].startswith("Only proxy admins, team admins, or org admins can call /key/block.")


HIDDEN_CALLS: dict[str, tuple[str, str, Any]] = {
    "info": ("GET", "/key/info", lambda key: {"query": {"key": key}}),
    "update": ("POST", "/key/update", lambda key: {"json": {"key": key, "rpm_limit": 1}}),
    "update by alias": ("POST", "/key/update", lambda alias: {"json": {"key_alias": alias, "rpm_limit": 1}}),
    "delete": ("POST", "/key/delete", lambda key: {"json": {"keys": [key]}}),
    "delete by alias": ("POST", "/key/delete", lambda alias: {"json": {"key_aliases": [alias]}}),
    "block": ("POST", "/key/block", lambda key: {"json": {"key": key}}),
    "unblock": ("POST", "/key/unblock", lambda key: {"json": {"key": key}}),
    "list": ("GET", "/key/list", lambda key: {"query": {"key_hash": minting.token_of(key)}}),
}


@pytest.mark.parametrize("hidden", ["foreign", "ownerless", "other team", "team/yours"])
@pytest.mark.parametrize("call_name", HIDDEN_CALLS)
def test_a_key_out_of_sight_answers_and_costs_what_an_unknown_one_does(
    shared_api: Api, shared_services: Services, company: dict[str, str], call_name: str, hidden: str
):
    method, path, arguments = HIDDEN_CALLS[call_name]
    made = make_target(shared_api, shared_services, "user", hidden)
    alias = f"hidden {call_name} {hidden}"
    shared_api.post("/key/update", {"key": made["key"], "key_alias": alias})
    names = (alias, "no such alias") if "alias" in call_name else (made["key"], UNKNOWN)
    shared_api.get("/models", company["user"])  # known to the cache from here on

    seen = []
    for name in names:
        with statements(shared_services.database) as sent:
            answer = shared_api.call(method, path, key=company["user"], **arguments(name))
        seen.append((answer.status, answer.body, len(sent)))

    assert seen[0] == seen[1]
    assert seen[0][0] in {403, 404}


# --- making keys -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "fields", "expected"),
    [
        ("user", {}, OK),
        ("user", {"user_id": "user"}, OK),
        ("user", {"user_id": "you"}, (*NO, "user_id")),
        ("user", {"team_id": "team"}, (*BAD, "team_id")),
        ("user", {"team_id": "no such team"}, (*BAD, "team_id")),
        ("user", {"organization_id": "company"}, (*BAD, "organization_id")),
        ("user", {"organization_id": "no such organization"}, (*BAD, "organization_id")),
        ("user", {"allowed_routes": []}, (*NO, "allowed_routes")),
        ("user", {"permissions": {}}, (*NO, "permissions")),
        ("user", {"key_type": "management"}, (*NO, "key_type")),
        ("user", {"key_type": "llm_api"}, OK),
        ("user", {"key_type": "read_only"}, OK),
        ("user", {"end_user_budget_id": "b"}, (*NO, "end_user_budget_id")),
        ("user", {"throttle_on_budget_exceeded": False}, (*NO, "throttle_on_budget_exceeded")),
        ("user", {"default_estimated_output_tokens": 1}, (*NO, "default_estimated_output_tokens")),
        (
            "user",
            {"default_estimated_output_tokens_per_model": {}},
            (*NO, "default_estimated_output_tokens_per_model"),
        ),
        ("user", {"metadata": {"end_user_budget_id": "b"}}, (*NO, "end_user_budget_id")),
        ("user", {"object_permission": {"vector_stores": ["v"]}}, (*NO, "object_permission")),
        ("user", {"object_permission": {"search_tools": ["v"]}}, (*NO, "object_permission")),
        ("user", {"object_permission": {"mcp_servers": ["v"]}}, (*NO, "object_permission")),
        ("user", {"object_permission": {"models": ["m"], "vector_stores": []}}, OK),
        ("user", {"object_permission": {}}, OK),
        ("user", {"access_group_ids": ["g"]}, (*NO, "access_group_ids")),
        ("user", {"metadata": {"service_account_id": "r"}}, (*BAD, "team_id")),
        ("chief", {"organization_id": "company"}, OK),
        ("chief", {"team_id": "team"}, OK),
        ("chief", {"team_id": "other team"}, (*BAD, "team_id")),
        ("lead", {"team_id": "team"}, OK),
        ("lead", {"team_id": "team", "metadata": {"service_account_id": "r"}}, OK),
        ("lead", {"team_id": "team", "user_id": "you"}, (*NO, "user_id")),
        ("lead", {"team_id": "team", "object_permission": {"vector_stores": ["v"]}}, OK),
        ("lead", {"team_id": "other team"}, (*BAD, "team_id")),
        ("member", {"team_id": "team"}, (*MEMBER, "/key/generate")),
        ("granted", {"team_id": "granting team"}, OK),
        ("granted", {"team_id": "granting team", "user_id": "you"}, (*NO, "user_id")),
        (
            "granted",
            {"team_id": "granting team", "metadata": {"service_account_id": "r"}},
            (*MEMBER, "/key/service-account/generate"),
        ),
        ("robot", {"team_id": "team"}, OK),
        ("robot", {"team_id": "other team"}, (*BAD, "team_id")),
        ("robot", {"team_id": "team", "user_id": "you"}, (*NO, "user_id")),
        ("admin", {"metadata": {"service_account_id": "r"}}, (*BAD, "team_id")),
        ("admin", {"user_id": "you", "team_id": "team", "allowed_routes": [], "permissions": {}}, OK),
    ],
)
def test_a_caller_makes_the_keys_that_it_may(
    shared_api: Api,
    shared_services: Services,
    company: dict[str, str],
    caller: str,
    fields: dict[str, Any],
    expected: Any,
):
    if expected == OK:
        answer = shared_api.post("/key/generate", fields, key=company[caller])
        assert answer.status == 200, answer
        return

    with unchanged(shared_services.database):
        answer = shared_api.post("/key/generate", fields, key=company[caller])

    assert answer.summary == expected


@pytest.mark.parametrize("nobody", [None, ""])
def test_what_a_user_makes_without_naming_an_owner_is_its_own(
    shared_api: Api, company: dict[str, str], nobody: str | None
):
    made = shared_api.generate(caller=company["user"], user_id=nobody)

    assert (made["user_id"], made["created_by"]) == ("user", "user")


@pytest.mark.parametrize("team", [None, ""])
def test_what_a_service_account_makes_belongs_to_its_team(
    shared_api: Api, company: dict[str, str], team: str | None
):
    made = shared_api.generate(caller=company["robot"], team_id=team)

    assert (made["user_id"], made["team_id"]) == (None, "team")


@pytest.fixture
def capped(shared_api: Api, company: dict[str, str]) -> str:
    """A key of `user` that may spend 10 dollars on two models."""
    key: str = shared_api.generate(user_id="user", max_budget=10, models=["a", "b"])["key"]
    return key


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_budget": 10}, OK),
        ({"max_budget": 10.000000001}, (*BAD, "max_budget")),
        ({"models": ["a"]}, OK),
        ({"models": ["a", "c"]}, (*NO, "models")),
        ({"models": ["*"]}, (*NO, "models")),
    ],
)
def test_a_key_makes_no_key_that_may_more_than_itself(
    shared_api: Api, capped: str, fields: dict[str, Any], expected: Any
):
    answer = shared_api.post("/key/generate", fields, key=capped)

    assert answer.status == 200 if expected == OK else answer.summary == expected


@pytest.mark.parametrize("nothing", [{}, {"max_budget": None, "models": None}, {"max_budget": "", "models": []}])
def test_a_key_gives_its_own_caps_to_what_it_makes_without_any(
    shared_api: Api, capped: str, nothing: dict[str, Any]
):
    made = shared_api.generate(caller=capped, **nothing)

    assert (made["max_budget"], made["models"]) == (10, ["a", "b"])


@pytest.mark.parametrize("models", [[], None, ["a", "c"], ["*"]])
def test_a_key_does_not_widen_by_update_what_it_could_not_make(
    shared_api: Api, capped: str, models: list[str] | None
):
    made = shared_api.generate(caller=capped)

    answer = shared_api.post("/key/update", {"key": made["key"], "models": models}, key=capped)

    assert answer.summary == (*NO, "models")


def test_a_temporary_increase_raises_what_a_key_may_give_until_it_ends(
    api: Api, services: Services, clock: MovableClock
):
    caller = add_person(api, services.database, "ann", max_budget=10)
    api.post(
        "/key/update",
        {"key": caller, "temp_budget_increase": 5, "temp_budget_expiry": "2026-11-18T14:00:00Z"},
    )
    during = api.post("/key/generate", {"max_budget": 15}, key=caller)
    above = api.post("/key/generate", {"max_budget": 15.01}, key=caller)

    clock.advance(3600)

    after = api.post("/key/generate", {"max_budget": 15}, key=caller)
    assert [answer.status for answer in (during, above, after)] == [200, 400, 400]


def test_an_administrator_is_bound_by_no_key_of_its_own(api: Api, services: Services):
    caller = add_person(api, services.database, "boss", "proxy_admin", max_budget=1, models=["a"])

    made = api.generate(caller=caller, max_budget=1000, models=["b"])

    assert (made["max_budget"], made["models"]) == (1000, ["b"])

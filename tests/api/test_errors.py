"""Every error that a key endpoint can answer, in one table: status, type, field and shape."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from app.api.errors import TABLE
from app.container import Services
from app.errors import MemberExists, NoWorker, Overloaded
from tests.clients import MASTER_KEY, Answer, Api
from tests.factories import add_organization, add_person, add_team, unchanged

UNKNOWN, UNKNOWN_HASH = "sk-unknown-key-0000", "0" * 64
TAKEN_KEY, TAKEN_ALIAS, PLAIN_KEY = "sk-taken-by-another-key", "taken", "sk-plain-key-0123456"
EXPIRED, BLOCKED, ROUTED = "sk-expired-key-0000", "sk-blocked-key-0000", "sk-routed-key-00000"


@dataclass(frozen=True)
class Row:
    """A request, and the error that it gets: status, type and the field at fault."""

    method: str
    path: str
    expected: tuple[int, str, str | None]
    body: dict[str, Any] | None = None
    query: dict[str, Any] | None = None
    caller: str = "master"
    detail: str | None = None
    message: str = field(default="", kw_only=True)


def post(
    path: str, body: dict[str, Any], expected: tuple[int, str, str | None], caller: str = "master", **more: Any
):
    return Row("POST", f"/key/{path}", expected, body, None, caller, **more)


def get(
    path: str, query: dict[str, Any], expected: tuple[int, str, str | None], caller: str = "master", **more: Any
):
    return Row("GET", f"/key/{path}", expected, None, query, caller, **more)


INVALID, BAD, AUTH = "invalid_request_error", "bad_request_error", "auth_error"
MEMBER, NOT_FOUND = "team_member_permission_error", "not_found_error"

ROWS = [
    # The caller.
    get("info", {}, (401, AUTH, None), "nobody", message="No api key passed in"),
    get("info", {}, (401, AUTH, None), "no prefix", message="Malformed API Key"),
    get("info", {}, (401, AUTH, None), "no sk", message="expected to start with 'sk-'"),
    get("info", {}, (401, "token_not_found_in_db", "key"), "unknown", message="Invalid API key provided"),
    get("info", {}, (401, AUTH, None), "blocked", message="Key is blocked"),
    get("info", {}, (401, "expired_key", "sk-...0000"), "expired", message="Expired Key"),
    get("info", {}, (403, AUTH, None), "routed", detail="text", message="not allowed to call this route"),
    *(
        post(verb, {}, (403, AUTH, None), "viewer", message="user not allowed to access this route")
        for verb in ("generate", "update", "delete", "block", "unblock")
    ),
    *(
        post(verb, {}, (401, AUTH, None), "internal viewer", message="Only proxy admin can be used")
        for verb in ("generate", "update", "delete", "block", "unblock")
    ),
    # generate
    post("generate", {"key_alias": TAKEN_ALIAS}, (400, BAD, "key_alias"), message="'taken' already exists"),
    post("generate", {"key_alias": "a\nb"}, (400, BAD, "key_alias")),
    post("generate", {"key_alias": "a/../b"}, (400, BAD, "key_alias")),
    post("generate", {"key": "pk-0123456789abcdef"}, (400, INVALID, "key"), message="must start with 'sk-'"),
    post("generate", {"key": "sk-short"}, (400, INVALID, "key"), message="16"),
    post("generate", {"key": "sk-with space and more"}, (400, INVALID, "key")),
    post("generate", {"key": MASTER_KEY}, (400, INVALID, "key")),
    post("generate", {"key": TAKEN_KEY}, (409, BAD, "key"), message="already exists"),
    post("generate", {"duration": "30days"}, (400, INVALID, "duration")),
    post("generate", {"duration": "1000000000000d"}, (400, INVALID, "duration")),
    post("generate", {"budget_duration": "0s"}, (400, INVALID, "budget_duration")),
    post("generate", {"rotation_interval": "x", "auto_rotate": True}, (400, INVALID, "rotation_interval")),
    post("generate", {"max_budget": -1}, (400, INVALID, "max_budget")),
    post("generate", {"max_budget": 9_000_001}, (400, INVALID, "max_budget")),
    post("generate", {"soft_budget": -1}, (400, INVALID, "soft_budget")),
    post("generate", {"spend": -1}, (400, INVALID, "spend")),
    post("generate", {"model_max_budget": {"m": 5}}, (400, INVALID, "model_max_budget")),
    post("generate", {"budget_limits": [{"budget_duration": "x", "max_budget": 1}]}, (400, INVALID, "budget_limits")),
    post("generate", {"budget_id": "unknown"}, (400, INVALID, "budget_id")),
    post("generate", {"organization_id": "unknown"}, (400, INVALID, "organization_id")),
    post("generate", {"organization_id": "other"}, (400, INVALID, "organization_id"), "user"),
    post("generate", {"team_id": "unknown"}, (400, INVALID, "team_id"), "user"),
    post("generate", {"team_id": "foreign"}, (400, INVALID, "team_id"), "user"),
    post("generate", {"team_id": "crew"}, (401, MEMBER, "/key/generate"), "member"),
    post("generate", {"user_id": "you"}, (403, AUTH, "user_id"), "user"),
    post("generate", {"allowed_routes": []}, (403, AUTH, "allowed_routes"), "user"),
    post("generate", {"permissions": {}}, (403, AUTH, "permissions"), "user"),
    post("generate", {"key_type": "management"}, (403, AUTH, "key_type"), "user"),
    post("generate", {"end_user_budget_id": "b"}, (403, AUTH, "end_user_budget_id"), "user"),
    post("generate", {"object_permission": {"vector_stores": ["v"]}}, (403, AUTH, "object_permission"), "user"),
    post("generate", {"access_group_ids": ["g"]}, (403, AUTH, "access_group_ids"), "user"),
    post("generate", {"max_budget": 11}, (400, INVALID, "max_budget"), "capped"),
    post("generate", {"models": ["b"]}, (403, AUTH, "models"), "capped"),
    post("generate", {"metadata": {"service_account_id": "r"}}, (400, INVALID, "team_id")),
    # update
    post("update", {"key": UNKNOWN}, (404, NOT_FOUND, "key"), message="not found"),
    post("update", {"key": UNKNOWN_HASH}, (404, NOT_FOUND, "key")),
    post("update", {"key_alias": "unknown"}, (404, NOT_FOUND, "key_alias"), message="not found"),
    post("update", {"key": PLAIN_KEY}, (404, NOT_FOUND, "key"), "user"),
    post("update", {"key": MASTER_KEY}, (400, INVALID, "key")),
    post("update", {"key": PLAIN_KEY, "key_alias": TAKEN_ALIAS}, (400, BAD, "key_alias")),
    post("update", {"key": PLAIN_KEY, "duration": "1h30m"}, (400, INVALID, "duration")),
    post("update", {"key": PLAIN_KEY, "budget_duration": ""}, (400, INVALID, "budget_duration")),
    post("update", {"key": PLAIN_KEY, "max_budget": -1}, (400, INVALID, "max_budget")),
    post("update", {"key": PLAIN_KEY, "soft_budget": -1}, (400, INVALID, "soft_budget")),
    post("update", {"key": PLAIN_KEY, "spend": -1}, (400, INVALID, "spend")),
    post("update", {"key": PLAIN_KEY, "model_max_budget": {"m": 5}}, (400, INVALID, "model_max_budget")),
    post("update", {"key": PLAIN_KEY, "budget_id": "unknown"}, (400, INVALID, "budget_id")),
    post("update", {"key": PLAIN_KEY, "organization_id": "unknown"}, (400, INVALID, "organization_id")),
    post("update", {"key": PLAIN_KEY, "team_id": "small"}, (403, AUTH, "tpm_limit")),
    post("update", {"key": "mine", "user_id": "you"}, (403, AUTH, "user_id"), "user"),
    post("update", {"key": "mine", "max_budget": 1}, (403, AUTH, "max_budget"), "user"),
    post("update", {"key": "mine", "team_id": "foreign"}, (404, NOT_FOUND, "team_id"), "user"),
    post("update", {"key": "mine", "team_id": "unknown"}, (404, NOT_FOUND, "team_id"), "user"),
    post("update", {"key": "given", "tags": []}, (403, AUTH, None), "user"),
    post("update", {"key": "crew key", "tags": []}, (401, MEMBER, "/key/update"), "member"),
    # delete
    post("delete", {"keys": [UNKNOWN, UNKNOWN_HASH]}, (404, INVALID, "keys")),
    post("delete", {"key_aliases": ["unknown"]}, (404, INVALID, "keys")),
    post("delete", {"keys": [PLAIN_KEY]}, (404, INVALID, "keys"), "user"),
    post("delete", {"keys": ["crew key of you"]}, (403, AUTH, None), "member"),
    # block and unblock
    *(
        row
        for verb in ("block", "unblock")
        for row in (
            post(verb, {"key": "an alias"}, (400, BAD, "key"), detail="object", message="Invalid key format."),
            post(verb, {"key": MASTER_KEY}, (400, INVALID, "key"), detail="object"),
            post(verb, {"key": UNKNOWN}, (404, NOT_FOUND, "key"), detail="object", message="Key not found."),
            post(verb, {"key": PLAIN_KEY}, (404, NOT_FOUND, "key"), "user", detail="object"),
            post(verb, {"key": "mine"}, (403, AUTH, None), "user", detail="object", message="team admins"),
        )
    ),
    # info
    get("info", {"key": UNKNOWN}, (404, NOT_FOUND, "key"), message="Key not found in database"),
    get("info", {"key": PLAIN_KEY}, (404, NOT_FOUND, "key"), "user", message="Key not found in database"),
    get("info", {}, (404, NOT_FOUND, "key")),
    # list
    get("list", {"sort_by": "x"}, (400, INVALID, "sort_by"), message="Invalid sort column. Must be one of: spend, "),
    get("list", {"sort_by": "spend", "sort_order": "x"}, (400, INVALID, "sort_order"), message="'asc' or 'desc'"),
    get("list", {"status": "x"}, (400, INVALID, "status"), message="'active', 'expired', 'revoked', 'deleted'."),
    get("list", {"expires": "x"}, (400, INVALID, "expires"), message="'active', 'expired'."),
    get("list", {}, (403, BAD, "user_id"), "routed to list", message="No 'user_id' is associated"),
    get("list", {"user_id": "you"}, (403, BAD, "user_id"), "user", message="another user's keys"),
    get("list", {"team_id": "foreign"}, (403, BAD, "team_id"), "user", message="this team's keys"),
    get("list", {"organization_id": "other"}, (403, BAD, "organization_id"), "user"),
    get("list", {"key_hash": UNKNOWN_HASH}, (403, BAD, "key_hash"), "user", message="Key Hash not found."),
]  # fmt: skip


@pytest.fixture(scope="module")
def callers(shared_api: Api, shared_services: Services) -> dict[str, dict[str, str]]:
    """The headers of each caller; the keys that the rows name exist from here on."""
    api, database = shared_api, shared_services.database
    user = add_person(api, database, "user")
    keys = {
        "master": MASTER_KEY,
        "user": user,
        "member": add_person(api, database, "member"),
        "viewer": add_person(api, database, "viewer", "proxy_admin_viewer"),
        "internal viewer": add_person(api, database, "internal viewer", "internal_user_viewer"),
        "capped": add_person(api, database, "capped", max_budget=10, models=["a"]),
        "unknown": UNKNOWN,
        "no sk": "no-such-prefix",
    }
    add_organization(database, "other")
    add_team(database, "foreign", {"you": "user"})
    add_team(database, "small", tpm_limit=1)
    add_team(database, "crew", {"member": "user", "you": "user"})
    api.generate(key=TAKEN_KEY, key_alias=TAKEN_ALIAS)
    api.generate(key=PLAIN_KEY, tpm_limit=2)
    api.generate(key_alias="mine", caller=user)
    api.generate(key_alias="given", user_id="user")
    api.generate(key_alias="crew key", team_id="crew", user_id="member")
    api.generate(key_alias="crew key of you", team_id="crew", user_id="you")
    keys["expired"] = api.generate(key=EXPIRED, duration="0s")["key"]
    keys["blocked"] = api.generate(key=BLOCKED, blocked=True)["key"]
    keys["routed"] = api.generate(key=ROUTED, allowed_routes=["/key/list"])["key"]
    keys["routed to list"] = keys["routed"]
    headers = {name: {"Authorization": f"Bearer {key}"} for name, key in keys.items()}
    return {**headers, "nobody": {}, "no prefix": {"Authorization": MASTER_KEY}}


def send(api: Api, row: Row, callers: dict[str, dict[str, str]]) -> Answer:
    body = row.body
    for name in ("key", "keys"):
        # A key that a row calls by its alias is sent as its hash.
        if body and (alias := body[name][0] if name == "keys" and name in body else body.get(name)) in ALIASES:
            (token,) = api.call("GET", "/key/list", query={"key_alias": alias}).body["keys"]
            body = {**body, name: [token] if name == "keys" else token}
    return api.call(row.method, row.path, key=None, json=body, query=row.query, headers=callers[row.caller])


ALIASES = {"mine", "given", "crew key", "crew key of you"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.caller} {row.path} {row.body or row.query}"[:70])
def test_an_error_has_its_status_type_and_field_and_changes_nothing(
    shared_api: Api, shared_services: Services, callers: dict[str, dict[str, str]], row: Row
):
    with unchanged(shared_services.database):
        answer = send(shared_api, row, callers)

    assert answer.summary == row.expected
    assert row.message in answer.error["message"]
    assert answer.error["code"] == str(answer.status)
    shapes = {None: None, "text": answer.error["message"], "object": {"error": answer.error["message"]}}
    assert answer.body.get("detail") == shapes[row.detail]


def test_messages_are_plain_text_without_keys_of_others_and_without_queries(
    shared_api: Api, callers: dict[str, dict[str, str]]
):
    for row in ROWS:
        message = send(shared_api, row, callers).error["message"]

        assert not any(text in message for text in ("{'", "SELECT", "INSERT", "Traceback"))
        assert not any(secret in message for secret in (MASTER_KEY, TAKEN_KEY, PLAIN_KEY, UNKNOWN))


def test_the_table_of_errors_is_exercised_whole():
    # Those of a wait for the workers are exercised with /key/health.
    elsewhere = {MemberExists, NoWorker, Overloaded}
    statuses = {(row.status, row.type) for error, row in TABLE.items() if error not in elsewhere}
    seen = {row.expected[:2] for row in ROWS} | {(503, "no_db_connection")}

    assert statuses <= seen

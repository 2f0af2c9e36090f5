"""Every error that a key endpoint can answer, and what an outage of SQL or Redis looks like on each of them."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from app.api.errors import TABLE
from app.config import Settings
from app.container import Services, build
from app.errors import MemberExists
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
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
            post(verb, {"key": "an alias"}, (400, BAD, "key"), message="Invalid key format."),
            post(verb, {"key": MASTER_KEY}, (400, INVALID, "key")),
            post(verb, {"key": UNKNOWN}, (404, NOT_FOUND, "key"), message="Key not found."),
            post(verb, {"key": PLAIN_KEY}, (404, NOT_FOUND, "key"), "user"),
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
    statuses = {(row.status, row.type) for error, row in TABLE.items() if error is not MemberExists}
    seen = {row.expected[:2] for row in ROWS} | {(503, "no_db_connection")}

    assert statuses <= seen


# --- outages -----------------------------------------------------------------------------------------------

CALLS: dict[str, tuple[str, dict[str, Any] | None]] = {
    "/key/generate": ("POST", {}),
    "/key/update": ("POST", {"key": UNKNOWN, "rpm_limit": 1}),
    "/key/delete": ("POST", {"keys": [UNKNOWN]}),
    "/key/block": ("POST", {"key": UNKNOWN}),
    "/key/unblock": ("POST", {"key": UNKNOWN}),
    "/key/info": ("GET", None),
    "/key/list": ("GET", None),
}


def away(answer: Answer) -> bool:
    assert answer.summary == (503, "no_db_connection", None), answer
    return int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize("store", ["postgresql", "sqlite"])
@pytest.mark.parametrize("key", [MASTER_KEY, UNKNOWN], ids=["master", "virtual"])
def test_without_sql_every_endpoint_says_try_again(sql_away: dict[str, Api], path: str, store: str, key: str):
    method, body = CALLS[path]
    query = {"key": UNKNOWN} if path == "/key/info" else None

    answer = sql_away[store].call(method, path, key=key, json=body, query=query)

    assert away(answer)


def test_without_sql_a_list_of_models_needs_it_for_virtual_keys_only(sql_away: dict[str, Api]):
    api = sql_away["postgresql"]

    assert api.get("/models").status == 200
    assert away(api.get("/models", UNKNOWN))


def test_without_sql_what_is_wrong_in_the_request_is_still_said(sql_away: dict[str, Api]):
    api = sql_away["postgresql"]

    assert api.call("POST", "/key/generate", data=b"{").status == 422
    assert api.call("POST", "/key/generate", data=b"[]").status == 400
    assert api.post("/key/generate", {"duration": "never"}).status == 400
    assert api.call("GET", "/key/list", key=None).status == 401


@pytest.fixture(scope="module")
def sql_away(shared_services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Api]]:
    """The application over a PostgreSQL that nobody listens for and over a file that is no database."""
    broken = tmp_path_factory.mktemp("broken") / "broken.db"
    broken.write_bytes(b"no database at all " * 1000)
    urls = {"postgresql": "postgresql+psycopg://nobody@127.0.0.1:1/nothing", "sqlite": f"sqlite:///{broken}"}
    built = {
        name: build(replace(shared_services.settings, database_url=url), shared_services.clock)
        for name, url in urls.items()
    }
    yield {name: Api(create_app(services)) for name, services in built.items()}
    for services in built.values():
        services.close()


def test_while_another_writer_holds_the_store_reads_go_on_and_writes_say_try_again(
    settings_of_sqlite: Settings, clock: MovableClock
):
    services = build(replace(settings_of_sqlite, busy_seconds=0.05), clock)
    api = Api(create_app(services))
    made = api.generate()
    other = sqlite3.connect(settings_of_sqlite.database_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    bodies = {**CALLS, "/key/update": ("POST", {"key": made["key"], "rpm_limit": 1})}
    bodies |= {f"/key/{verb}": ("POST", {"key": made["key"]}) for verb in ("block", "unblock")}
    bodies |= {"/key/delete": ("POST", {"keys": [made["key"]]})}
    answers = {path: api.call(method, path, json=body) for path, (method, body) in bodies.items()}
    own = api.get("/key/info", made["key"])
    other.execute("ROLLBACK")
    other.close()

    assert own.status == answers["/key/list"].status == 200
    assert all(
        away(answers[path])
        for path in ("/key/generate", "/key/update", "/key/delete", "/key/block", "/key/unblock")
    )
    assert api.info(made["key"]) == own.body["info"]
    services.close()


@pytest.fixture
def settings_of_sqlite(sqlite_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return Settings.parse(
        {
            "DATABASE_URL": sqlite_url,
            "REDIS_URL": redis_url,
            "KEYLEDGER_MASTER_KEY": MASTER_KEY,
            "KEYLEDGER_SALT_KEY": "salt-of-the-tests-0123456789",
            "KEYLEDGER_DATA_DIR": str(tmp_path),
        }
    )


@pytest.fixture
def without_redis(settings: Settings, clock: MovableClock) -> Iterator[Services]:
    """The services over the same store, with a Redis that nobody listens for."""
    services = build(replace(settings, hot_redis_url="redis://127.0.0.1:1/0"), clock)
    yield services
    services.close()


def test_without_redis_keys_are_made_and_read_by_every_kind_of_caller(
    api: Api, services: Services, without_redis: Services
):
    ann = add_person(api, services.database, "ann")
    adrift = Api(create_app(without_redis))

    for caller in (MASTER_KEY, ann):
        made = adrift.generate(caller=caller)
        chosen = adrift.generate(caller=caller, key=f"sk-chosen-by-{caller[-8:]}-0000")
        assert adrift.info(made["key"], caller=caller)["key_id"] == made["key_id"]
        assert adrift.get("/key/list", caller).status == 200
        assert adrift.get("/models", made["key"]).status == 200
        assert adrift.get("/models", chosen["key"]).status == 200


def test_without_redis_a_change_of_a_verdict_is_refused_and_changes_nothing(
    api: Api, services: Services, without_redis: Services
):
    ann = add_person(api, services.database, "ann")
    mine, blocked = api.generate(caller=ann), api.generate(blocked=True)
    adrift = Api(create_app(without_redis))

    with unchanged(services.database):
        answers = [
            adrift.post("/key/update", {"key": mine["key"], "rpm_limit": 1}),
            adrift.post("/key/update", {"key": mine["key"], "tags": ["x"]}, key=ann),
            adrift.post("/key/block", {"key": mine["key"]}),
            adrift.post("/key/unblock", {"key": blocked["key"]}),
            adrift.post("/key/delete", {"keys": [mine["key"]]}),
            adrift.post("/key/delete", {"keys": [mine["key"]]}, key=ann),
        ]

    assert all(away(answer) for answer in answers)


def test_without_redis_what_does_not_exist_is_still_not_found(without_redis: Services):
    adrift = Api(create_app(without_redis))

    assert adrift.post("/key/update", {"key": UNKNOWN}).status == 404
    assert adrift.post("/key/block", {"key": UNKNOWN}).status == 404
    assert adrift.post("/key/delete", {"keys": [UNKNOWN]}).status == 404
    assert adrift.get("/models", UNKNOWN).status == 401


def test_a_key_that_is_revoked_elsewhere_is_refused_without_redis_too(
    api: Api, services: Services, without_redis: Services
):
    key = api.generate()["key"]
    adrift = Api(create_app(without_redis))
    assert adrift.get("/models", key).status == 200

    api.post("/key/block", {"key": key})

    assert adrift.get("/models", key).status == 401

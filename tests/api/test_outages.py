"""SQL or Redis away: each endpoint goes on or says when to try again, and never passes a verdict."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from app.config import Settings
from app.container import Services, build
from tests.apps import app_over
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
from tests.factories import add_person, on_one_store, unchanged

UNKNOWN = "sk-unknown-key-0000"

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


def logged() -> Any:
    """What is logged of requests."""
    return capture_logs(processors=[merge_contextvars])


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize("store", ["postgresql", "sqlite"])
@pytest.mark.parametrize("key", [MASTER_KEY, UNKNOWN], ids=["master", "virtual"])
def test_without_sql_every_endpoint_says_try_again(sql_away: dict[str, Api], path: str, store: str, key: str):
    method, body = CALLS[path]
    query = {"key": UNKNOWN} if path == "/key/info" else None

    with logged() as lines:
        answer = sql_away[store].call(method, path, key=key, json=body, query=query)

    assert away(answer)
    assert answer.body["error"]["message"] == "The SQL store is away or too busy at the moment. Try again."
    (line,) = lines
    error, reason = {
        "postgresql": ("OperationalError", "connection failed: "),
        "sqlite": ("DatabaseError", "file is not a database"),
    }[store]
    assert line.pop("reason").startswith(reason)
    assert line == {
        "event": "unavailable",
        "log_level": "warning",
        "request_id": answer.headers["x-request-id"],
        "method": method,
        "route": path,
        "store": "SQL",
        "error": error,
    }


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
    yield {name: Api(app_over(services)) for name, services in built.items()}
    for services in built.values():
        services.close()


@on_one_store
def test_while_another_writer_holds_the_store_reads_go_on_and_writes_say_try_again(
    settings: Settings, clock: MovableClock
):
    services = build(replace(settings, busy_seconds=0.05), clock)
    api = Api(app_over(services))
    made = api.generate()
    other = sqlite3.connect(settings.database_url.removeprefix("sqlite:///"), isolation_level=None)
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
def without_redis(settings: Settings, clock: MovableClock) -> Iterator[Services]:
    """The services over the same store, with a Redis that nobody listens for."""
    services = build(replace(settings, hot_redis_url="redis://127.0.0.1:1/0"), clock)
    yield services
    services.close()


def test_without_redis_keys_are_made_and_read_by_every_kind_of_caller(
    api: Api, services: Services, without_redis: Services
):
    ann = add_person(api, services.database, "ann")
    adrift = Api(app_over(without_redis))

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
    adrift = Api(app_over(without_redis))

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


@on_one_store
def test_without_redis_each_refusal_is_logged_once_by_its_request_and_says_that_it_is_redis(
    api: Api, without_redis: Services
):
    key = api.generate()["key"]
    adrift = Api(app_over(without_redis))

    with logged() as lines:
        answers = [adrift.post("/key/block", {"key": key}), adrift.post(f"/key/{key}/regenerate", {})]

    assert [away(answer) for answer in answers] == [True, True]
    assert {answer.body["error"]["message"] for answer in answers} == {
        "Redis is away or too busy at the moment. Try again."
    }
    assert [(line["event"], line["request_id"], line["route"]) for line in lines] == [
        ("unavailable", answers[0].headers["x-request-id"], "/key/block"),
        ("unavailable", answers[1].headers["x-request-id"], "/key/{key}/regenerate"),
    ]
    assert {(line["store"], line["error"]) for line in lines} == {("Redis", "ConnectionError")}
    assert all(line["reason"].endswith("Connection refused") for line in lines)
    assert key not in str(lines)


def test_without_redis_what_does_not_exist_is_still_not_found(without_redis: Services):
    adrift = Api(app_over(without_redis))

    assert adrift.post("/key/update", {"key": UNKNOWN}).status == 404
    assert adrift.post("/key/block", {"key": UNKNOWN}).status == 404
    assert adrift.post("/key/delete", {"keys": [UNKNOWN]}).status == 404
    assert adrift.get("/models", UNKNOWN).status == 401


def test_a_key_that_is_revoked_elsewhere_is_refused_without_redis_too(
    api: Api, services: Services, without_redis: Services
):
    key = api.generate()["key"]
    adrift = Api(app_over(without_redis))
    assert adrift.get("/models", key).status == 200

    api.post("/key/block", {"key": key})

    assert adrift.get("/models", key).status == 401

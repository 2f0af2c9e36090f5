"""A store that hangs, dies or comes back: every request ends in time, and no process has to be restarted.

A paused server is the worst kind of outage: it takes connections and says nothing.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest

from app.config import Settings
from app.container import Services, build
from app.db import Database
from app.migrate import upgrade
from app.store import policies
from tests.apps import app_over
from tests.clients import Answer, Api
from tests.clocks import MovableClock
from tests.environment import ENVIRONMENT
from tests.faults.proxy import RedisProxy, runs
from tests.servers import PostgresServer, RedisServer, eventually
from tests.stores import count, opened

# How long the hot path waits for a Redis that says nothing; a request asks it twice at the most. What Redis must
# answer on a machine that is busy with other things is asked with the patience of the other tests.
REDIS_WAIT_SECONDS = 0.25
# So long where one process meets both.
REDIS_WAIT_OR_ANSWER_SECONDS = 1.0
# What the rest of a request may take on such a machine; one that hangs takes for ever.
SLACK_SECONDS = 15.0
BUSY_SECONDS = 0.3
# Twice that for a statement, by the server's clock, and a second more for a server that has no clock any more.
PATIENCE_SECONDS = 2 * BUSY_SECONDS + 1

CHANGES: dict[str, Callable[[Api, str], Answer]] = {
    "block": lambda api, key: api.post("/key/block", {"key": key}),
    "unblock": lambda api, key: api.post("/key/unblock", {"key": key}),
    "update": lambda api, key: api.post("/key/update", {"key": key, "rpm_limit": 7}),
    "delete": lambda api, key: api.post("/key/delete", {"keys": [key]}),
}


def timed(work: Callable[[], Answer]) -> tuple[Answer, float]:
    began = time.monotonic()
    return work(), time.monotonic() - began


def is_away(answer: Answer) -> bool:
    """Whether it says, as an error of the store and not of the caller, when to come again."""
    return answer.summary == (503, "no_db_connection", None) and int(answer.headers["retry-after"]) >= 1


@contextmanager
def running(settings: Settings, clock: MovableClock) -> Iterator[tuple[Api, Services]]:
    services = build(settings, clock)
    yield Api(app_over(services)), services
    services.close()


# --- Redis hangs ---------------------------------------------------------------------------------------------------


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def api(settings: Settings, clock: MovableClock, redis: RedisServer) -> Iterator[Api]:
    """The application on a Redis of its own."""
    with running(replace(settings, redis_url=redis.url, hot_redis_url=redis.url), clock) as (api, _):
        yield api


@pytest.fixture
def impatient(settings: Settings, clock: MovableClock, redis: RedisServer) -> Iterator[Api]:
    """Another process of it, which does not wait long for Redis."""
    on_redis = replace(settings, redis_url=redis.url, hot_redis_url=redis.url)
    with running(replace(on_redis, hot_redis_seconds=REDIS_WAIT_SECONDS), clock) as (api, _):
        yield api


@pytest.mark.parametrize("verb", CHANGES)
def test_a_change_waits_for_a_paused_redis_no_longer_than_said_and_writes_nothing(
    api: Api, impatient: Api, redis: RedisServer, database: Database, verb: str
) -> None:
    key = api.generate()["key"]
    before, rows = api.info(key), count(database)
    impatient.post("/key/update", {"key": "sk-nobody-has-this-key"})  # connections are open

    redis.pause()
    answer, seconds = timed(lambda: CHANGES[verb](impatient, key))
    redis.resume()

    assert is_away(answer)
    assert REDIS_WAIT_SECONDS * 0.9 <= seconds <= REDIS_WAIT_SECONDS + SLACK_SECONDS
    assert api.info(key) == before
    assert count(database) == rows


def test_with_redis_paused_sql_says_who_calls(api: Api, impatient: Api, redis: RedisServer) -> None:
    warm, cold, blocked = (api.generate()["key"] for _ in range(3))
    impatient.get("/models", warm)
    api.post("/key/block", {"key": blocked})

    redis.pause()
    answers = [timed(partial(impatient.get, "/models", key)) for key in (warm, warm, cold, blocked)]
    redis.resume()

    assert [answer.status for answer, _ in answers] == [200, 200, 200, 401]
    assert max(seconds for _, seconds in answers) <= 2 * REDIS_WAIT_SECONDS + SLACK_SECONDS


def test_with_redis_paused_keys_are_made_and_read(impatient: Api, redis: RedisServer) -> None:
    redis.pause()
    made, seconds = timed(lambda: impatient.post("/key/generate", {"key": "sk-chosen-while-redis-hangs"}))
    read = impatient.info("sk-chosen-while-redis-hangs")
    redis.resume()

    assert made.status == 200
    assert seconds <= REDIS_WAIT_SECONDS + SLACK_SECONDS
    assert read["key_name"] == made.body["key_name"]


def test_with_redis_paused_readiness_says_so_in_time_and_keeps_the_process_in_service(
    impatient: Api, redis: RedisServer
) -> None:
    redis.pause()
    answer, seconds = timed(lambda: impatient.get("/health/readiness", None))
    redis.resume()

    assert (answer.status, answer.body["status"]) == (200, "degraded")
    assert answer.body["redis"]["state"] == "disconnected"
    # The heartbeats are with the broker, which is given a second.
    assert seconds <= REDIS_WAIT_SECONDS + 1 + SLACK_SECONDS


def test_once_redis_goes_on_changes_do_too_and_are_seen_at_once(
    api: Api, impatient: Api, redis: RedisServer
) -> None:
    key = api.generate()["key"]
    impatient.get("/models", key)
    redis.pause()
    assert is_away(CHANGES["block"](impatient, key))
    assert impatient.get("/models", key).status == 200
    redis.resume()

    assert eventually(lambda: CHANGES["block"](impatient, key).status == 200)
    assert impatient.get("/models", key).status == 401


def test_a_redis_that_dies_and_comes_back_is_used_again_by_itself(api: Api, redis: RedisServer) -> None:
    key = api.generate()["key"]
    redis.kill()
    assert is_away(CHANGES["block"](api, key))
    assert api.get("/models", key).status == 200
    redis.start()

    assert CHANGES["block"](api, key).status == 200
    assert api.get("/models", key).status == 401


@pytest.mark.parametrize("verb", ["block", "update", "delete"])
def test_a_change_whose_publication_redis_swallows_stands_under_its_mark_and_is_called_no_success(
    settings: Settings, clock: MovableClock, redis: RedisServer, verb: str
) -> None:
    """Redis hangs between mark and publication: the mark stands, so nobody decides from a copy."""
    with (
        RedisProxy(redis.port) as proxy,
        running(replace(settings, hot_redis_url=redis.url), clock) as (reader, _),
        running(
            replace(settings, hot_redis_url=proxy.url, hot_redis_seconds=REDIS_WAIT_OR_ANSWER_SECONDS), clock
        ) as (writer, _),
    ):
        key = reader.generate()["key"]
        assert reader.get("/models", key).status == 200
        with proxy.holding(lambda command: runs(command, policies._PUBLISH)):
            change = {"update": {"key": key, "blocked": True}, "delete": {"keys": [key]}}.get(verb, {"key": key})
            answer, seconds = timed(lambda: writer.post(f"/key/{verb}", change))
            seen = reader.get("/models", key)

    assert answer.status == 503
    assert "The change is stored" in answer.body["error"]["message"]
    assert seconds <= REDIS_WAIT_OR_ANSWER_SECONDS + SLACK_SECONDS
    assert seen.status == 401


# --- PostgreSQL dies and hangs -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A server that these tests may harm."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="module")
def harmed_url(postgres: PostgresServer) -> str:
    url = postgres.create_database("harmed")
    with opened(url) as database:
        upgrade(database)
    return url


@pytest.fixture
def harmed(postgres: PostgresServer, harmed_url: str, redis_url: str, clock: MovableClock) -> Iterator[Api]:
    """The application on that server, which is as it was when the test is over."""
    settings = Settings.parse(
        {
            "DATABASE_URL": harmed_url,
            "REDIS_URL": redis_url,
            **ENVIRONMENT,
            "KEYLEDGER_BUSY_SECONDS": str(BUSY_SECONDS),
        }
    )
    with running(settings, clock) as (api, _):
        yield api
    postgres.resume()
    if not postgres.pids():
        postgres.start()


def requests(api: Api, key: str) -> dict[str, Callable[[], Answer]]:
    """One of each kind: by the master key and by a virtual key, reading and writing."""
    return {
        "info": lambda: api.call("GET", "/key/info", query={"key": key}),
        "models": lambda: api.get("/models", key),
        "generate": lambda: api.post("/key/generate"),
        **{verb: partial(change, api, key) for verb, change in CHANGES.items()},
    }


@pytest.mark.parametrize("outage", ["kill", "pause"])
def test_without_postgresql_every_request_ends_in_time_and_works_again_once_it_is_back(
    harmed: Api, postgres: PostgresServer, redis_server: RedisServer, outage: str
) -> None:
    key = harmed.generate()["key"]
    redis_server.clear()  # nobody knows the key by heart
    asked = requests(harmed, key)
    if outage == "pause":  # each of them waits
        asked = {name: asked[name] for name in ("models", "generate", "block")}

    getattr(postgres, outage)()
    during = {name: timed(request) for name, request in asked.items()}
    postgres.start() if outage == "kill" else postgres.resume()
    eventually(lambda: harmed.call("GET", "/key/info", query={"key": key}).status == 200)
    after = {name: request().status for name, request in asked.items()}

    assert {name: is_away(answer) for name, (answer, _) in during.items()} == dict.fromkeys(asked, True)
    assert max(seconds for _, seconds in during.values()) <= PATIENCE_SECONDS + SLACK_SECONDS
    assert after == dict.fromkeys(asked, 200)


def test_readiness_ends_in_time_and_tells_that_sql_hangs(harmed: Api, postgres: PostgresServer) -> None:
    assert harmed.get("/health/readiness", None).body["db"] == "connected"

    postgres.pause()
    answer, seconds = timed(lambda: harmed.get("/health/readiness", None))
    postgres.resume()

    assert (answer.status, answer.body["db"]) == (503, "disconnected")
    assert seconds <= PATIENCE_SECONDS + SLACK_SECONDS
    assert eventually(lambda: harmed.get("/health/readiness", None).body["db"] == "connected")


def test_a_key_that_is_known_by_heart_still_opens_while_postgresql_is_away(
    harmed: Api, postgres: PostgresServer
) -> None:
    key = harmed.generate()["key"]
    assert harmed.get("/models", key).status == 200

    postgres.kill()
    known = harmed.get("/models", key)
    unknown = harmed.get("/models", "sk-nobody-has-this-key")
    read = harmed.get("/key/info", key)
    postgres.start()

    assert known.status == 200
    assert is_away(unknown)
    assert is_away(read)


# --- SQLite is busy ------------------------------------------------------------------------------------------------


def test_a_busy_sqlite_is_a_503_within_the_deadline_and_nothing_is_written(
    sqlite_url: str, redis_url: str, clock: MovableClock
) -> None:
    settings = Settings.parse(
        {
            "DATABASE_URL": sqlite_url,
            "REDIS_URL": redis_url,
            **ENVIRONMENT,
            "KEYLEDGER_BUSY_SECONDS": str(BUSY_SECONDS),
        }
    )
    with running(settings, clock) as (api, services):
        key = api.generate()["key"]
        rows = count(services.database)
        writes = {name: request for name, request in requests(api, key).items() if name not in {"info", "models"}}
        other = sqlite3.connect(services.database.url.database or "", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        during = {name: timed(write) for name, write in writes.items()}
        reading = api.get("/models", key).status

        other.execute("ROLLBACK")
        other.close()
        assert {name: is_away(answer) for name, (answer, _) in during.items()} == dict.fromkeys(writes, True)
        assert all(BUSY_SECONDS * 0.9 <= seconds <= BUSY_SECONDS + SLACK_SECONDS for _, seconds in during.values())
        assert reading == 200
        assert count(services.database) == rows
        assert CHANGES["block"](api, key).status == 200

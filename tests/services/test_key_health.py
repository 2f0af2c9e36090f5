"""The web's side of /key/health: what needs no worker, what is sent to one, and how long is waited for it."""

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from threading import Thread
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import select, update

from app.broker import LONGEST_QUEUE, PREFIX
from app.config import Settings
from app.container import Services, build
from app.db import Database
from app.dispatch import QueueName, TaskName
from app.domain.callbacks import MOST_CALLBACKS
from app.errors import StoreUnavailable
from app.models import keys, users
from app.store.replies import Replies
from tests.apps import app_over
from tests.clients import Api
from tests.clocks import START, MovableClock
from tests.servers import RedisServer, eventually

HEALTHY_WITHOUT = {"key": "healthy", "logging_callbacks": None}
SECRET = "distinctive-secret"
WEBHOOK = {
    "callback_name": "generic_api",
    "callback_vars": {"generic_api_endpoint": "http://127.0.0.1:1/", "generic_api_headers": f"a={SECRET}"},
}
QUEUE = PREFIX + QueueName.DELIVERIES


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Nobody answers here, so nobody waits long."""
    return replace(settings, key_health_seconds=0.4, outbound_seconds=0.2)


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


def waiting(redis: Redis) -> list[dict[str, Any]]:
    """The messages that wait for a worker, oldest first."""
    return [json.loads(message) for message in reversed(redis.lrange(QUEUE, 0, -1))]  # type: ignore[arg-type]


def body_of(message: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(message["body"]))


# --- no worker is needed ------------------------------------------------------------------------------------------


def test_the_master_key_and_a_key_without_logging_are_healthy(api: Api):
    made = api.generate(metadata={"a": 1})

    assert api.post("/key/health").body == HEALTHY_WITHOUT
    assert api.post("/key/health", key=made["key"]).body == HEALTHY_WITHOUT


def test_no_body_is_needed(api: Api):
    assert api.call("POST", "/key/health").body == HEALTHY_WITHOUT


def test_a_key_with_no_callbacks_in_its_list_is_healthy(api: Api):
    made = api.generate(metadata={"logging": []})

    assert api.post("/key/health", key=made["key"]).body == {
        "key": "healthy",
        "logging_callbacks": {
            "callbacks": [],
            "status": "healthy",
            "details": "No logger exceptions triggered, system is healthy. Manually check if logs were sent to [] ",
            "results": [],
        },
    }


def test_callbacks_that_are_not_spoken_here_are_unhealthy_and_nobody_is_asked(api: Api, redis: Redis):
    made = api.generate(
        metadata={"logging": [{"callback_name": "newrelic"}, {"callback_name": "posthog", "callback_vars": {}}]}
    )

    body = api.post("/key/health", key=made["key"]).body

    assert body["key"] == "unhealthy"
    assert body["logging_callbacks"]["callbacks"] == ["newrelic", "posthog"]
    assert body["logging_callbacks"]["details"] == (
        "Logger exceptions triggered, system is unhealthy: "
        "newrelic: not supported here; posthog: not supported here"
    )
    assert body["logging_callbacks"]["results"][0] == {
        "callback_name": "newrelic",
        "status": "unhealthy",
        "http_status": None,
        "milliseconds": None,
        "reason": "not supported here",
    }
    assert redis.llen(QUEUE) == 0


@pytest.mark.parametrize(
    ("logging", "expected"),
    [
        ("langfuse", None),
        ({"callback_name": "langfuse"}, None),
        (None, None),
        ([{}], "callback_name is required in key_logging"),
        ([5], "callback_name is required in key_logging"),
        ([{"callback_name": None}], "callback_name is required in key_logging"),
        ([{"callback_name": ["x"]}], "callback_name is required in key_logging"),
    ],
)
def test_whatever_a_row_of_old_holds_is_answered(api: Api, database: Database, logging: Any, expected: str | None):
    made = api.generate()
    with database.transaction() as transaction:
        transaction.execute(update(keys).values(metadata={"logging": logging}))

    body = api.post("/key/health", key=made["key"]).body

    if expected is None:
        assert body == HEALTHY_WITHOUT
    else:
        assert body["key"] == "unhealthy"
        assert body["logging_callbacks"]["callbacks"] == [""]
        assert body["logging_callbacks"]["details"].endswith(expected)


def test_a_team_of_the_key_does_not_matter(api: Api):
    made = api.generate(team_id="a-team")

    assert api.post("/key/health", key=made["key"]).body == HEALTHY_WITHOUT


@pytest.mark.parametrize(
    "role", ["proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer", "team", "customer"]
)
def test_every_role_may_ask_for_its_own_key(api: Api, database: Database, role: str):
    with database.transaction() as transaction:
        transaction.execute(
            users.insert().values(user_id="bob", user_role=role, created_at=START, updated_at=START)
        )
    made = api.generate(user_id="bob")

    assert api.post("/key/health", key=made["key"]).body == HEALTHY_WITHOUT


def test_without_a_key_it_is_a_401(api: Api):
    assert api.post("/key/health", key=None).status == 401


# --- what is sent --------------------------------------------------------------------------------------------------


def test_a_message_holds_the_keys_id_and_the_place_of_the_callback_and_no_secret(
    api: Api, database: Database, redis: Redis
):
    made = api.generate(metadata={"logging": [WEBHOOK, {"callback_name": "newrelic"}, WEBHOOK]})

    api.post("/key/health", key=made["key"])

    messages = waiting(redis)
    with database.read() as connection:
        key_id = connection.execute(select(keys.c.key_id)).scalar_one()
    assert [body_of(message)[0] for message in messages] == [[key_id, 0], [key_id, 2]]
    assert {message["headers"]["task"] for message in messages} == {TaskName.TEST_CALLBACK.value}
    assert all(message["headers"]["expires"] for message in messages)
    assert SECRET not in str([redis.dump(name) for name in redis.scan_iter()])
    assert made["key"] not in str(messages)


def test_only_so_many_callbacks_are_tested(api: Api, database: Database, redis: Redis):
    made = api.generate()
    with database.transaction() as transaction:
        transaction.execute(update(keys).values(metadata={"logging": [WEBHOOK] * (MOST_CALLBACKS + 5)}))

    api.post("/key/health", key=made["key"])

    assert redis.llen(QUEUE) == MOST_CALLBACKS


# --- the wait ------------------------------------------------------------------------------------------------------


def test_no_worker_within_the_limit_is_a_503_that_says_when_to_come_again(api: Api):
    made = api.generate(metadata={"logging": [WEBHOOK]})
    began = time.monotonic()

    refused = api.post("/key/health", key=made["key"])

    assert refused.summary == (503, "internal_server_error", None)
    assert refused.error["message"] == "No worker has answered within 0.4 s. Is one running?"
    assert int(refused.headers["retry-after"]) >= 1
    assert 0.4 <= time.monotonic() - began < 30


def test_a_callback_without_a_reply_in_time_is_told_beside_those_with_one(
    services: Services, api: Api, redis: Redis
):
    made = api.generate(metadata={"logging": [WEBHOOK, WEBHOOK]})
    replies = Replies(redis)

    def answer_the_first() -> None:
        (first, _) = eventually(lambda: waiting(redis) if redis.llen(QUEUE) == 2 else [], 5)
        reply = {"callback_name": "generic_api", "ok": True, "http_status": 200, "milliseconds": 7}
        replies.send(first["headers"]["id"], {**reply, "reason": None})

    worker = Thread(target=answer_the_first)
    worker.start()
    body = api.post("/key/health", key=made["key"]).body
    worker.join()

    results = body["logging_callbacks"]["results"]
    assert [result["status"] for result in results] == ["healthy", "unhealthy"]
    assert results[0]["milliseconds"] == 7
    assert results[1]["reason"] == "no result within 0.4 s: the workers are busy"


def test_a_reply_about_another_callback_is_no_verdict_on_this_one(api: Api, redis: Redis):
    made = api.generate(metadata={"logging": [WEBHOOK]})
    reply = {"callback_name": "langfuse", "ok": True, "http_status": 200, "milliseconds": 7, "reason": None}

    def answer() -> None:
        (first,) = eventually(lambda: waiting(redis), 5)
        Replies(redis).send(first["headers"]["id"], reply)

    worker = Thread(target=answer)
    worker.start()
    body = api.post("/key/health", key=made["key"]).body
    worker.join()

    (result,) = body["logging_callbacks"]["results"]
    assert (result["status"], result["reason"]) == ("unhealthy", "the callbacks were changed during the test")


def test_no_more_than_a_set_number_of_requests_wait_at_once(
    settings: Settings, services: Services, api: Api, redis: Redis
):
    made = api.generate(metadata={"logging": [WEBHOOK]})
    patient = build(replace(settings, key_health_seconds=30, key_health_waiting=2), MovableClock())
    app = app_over(patient)
    answers: list[int] = []

    def ask() -> None:
        answers.append(Api(app).post("/key/health", key=made["key"]).status)

    threads = [Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    eventually(lambda: redis.llen(QUEUE) == 2)
    began = time.monotonic()
    refused = Api(app).post("/key/health", key=made["key"])
    took = time.monotonic() - began
    other = Api(app).get("/key/info", made["key"])
    for message in waiting(redis):
        reply = {"callback_name": "generic_api", "ok": True, "http_status": 200, "milliseconds": 1, "reason": None}
        Replies(redis).send(message["headers"]["id"], reply)
    for thread in threads:
        thread.join()
    patient.close()

    assert refused.summary == (503, "internal_server_error", None)
    assert "Too many key health checks are under way" in refused.error["message"]
    assert "retry-after" in refused.headers
    assert took < 5
    assert other.status == 200
    assert answers == [200, 200]
    assert redis.llen(QUEUE) == 2


def test_a_place_is_free_again_after_a_wait_without_end(api: Api, settings: Settings):
    made = api.generate(metadata={"logging": [WEBHOOK]})

    answers = [api.post("/key/health", key=made["key"]) for _ in range(settings.key_health_waiting + 1)]

    assert ["No worker" in answer.error["message"] for answer in answers] == [True] * len(answers)


def test_a_queue_that_nobody_empties_is_not_filled_for_ever(api: Api, redis: Redis):
    made = api.generate(metadata={"logging": [WEBHOOK]})
    redis.lpush(QUEUE, *["{}"] * LONGEST_QUEUE)

    refused = api.post("/key/health", key=made["key"])

    assert refused.summary == (503, "internal_server_error", None)
    assert "Too much is waiting for the workers" in refused.error["message"]
    assert redis.llen(QUEUE) == LONGEST_QUEUE


@pytest.mark.parametrize("harm", ["kill", "pause"])
def test_redis_being_away_is_a_503_within_the_limit_and_not_a_verdict(
    sqlite_url: str, settings: Settings, harm: str
):
    with RedisServer() as server:
        services = build(replace(settings, database_url=sqlite_url, redis_url=server.url), MovableClock())
        api = Api(app_over(services))
        made = api.generate(metadata={"logging": [WEBHOOK]})
        getattr(server, harm)()
        began = time.monotonic()

        refused = api.post("/key/health", key=made["key"])

        took = time.monotonic() - began
        services.close()

    assert refused.summary == (503, "no_db_connection", None)
    assert "retry-after" in refused.headers
    assert took < 30


def test_redis_dying_during_the_wait_is_a_503(sqlite_url: str, settings: Settings):
    with RedisServer() as server:
        services = build(
            replace(settings, database_url=sqlite_url, redis_url=server.url, key_health_seconds=20), MovableClock()
        )
        api = Api(app_over(services))
        made = api.generate(metadata={"logging": [WEBHOOK]})

        def kill() -> None:
            with Redis.from_url(server.url) as client:
                eventually(lambda: client.llen(QUEUE), 10)
            server.kill()

        killer = Thread(target=kill)
        killer.start()
        refused = api.post("/key/health", key=made["key"])
        killer.join()
        services.close()

    assert refused.summary == (503, "no_db_connection", None)


def test_a_reply_that_redis_does_not_take_is_an_outage(redis_url: str):
    with (
        Redis.from_url("redis://127.0.0.1:1", retry=Retry(NoBackoff(), 0)) as nobody,
        pytest.raises(StoreUnavailable),
    ):
        Replies(nobody).send("message", {})


def test_replies_are_kept_for_a_short_time_only(redis: Redis):
    Replies(redis).send("message", {"ok": True})

    assert 0 < redis.ttl("keyledger:reply:message") <= 120
    assert Replies(redis).collect(["message"], 1) == {"message": {"ok": True}}
    assert redis.exists("keyledger:reply:message") == 0

"""/key/health from end to end: the web asks, a true worker sends to true receivers, the caller reads the verdict."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import select, update

from app.config import Settings
from app.container import Services, build
from app.domain.minting import Secret
from app.models import keys
from app.services.sealing.sealing import Sealer
from tests.apps import app_over
from tests.clients import Answer, Api
from tests.environment import ENVIRONMENT
from tests.integrations.ends import (
    BUCKET,
    NAMES,
    PUBLIC,
    SECRET,
    Storage,
    collector,
    datadog,
    langfuse,
    langsmith,
    pem_of,
    pointed_at,
    rsa_key,
    service_account,
    storage,
    token_endpoint,
)
from tests.integrations.moto_s3 import object_store
from tests.integrations.receivers import Receiver, answer, closed_port, cut, endless, silence
from tests.servers import RedisServer
from tests.stores import copy_of
from tests.workers.worker import Worker

pytestmark = pytest.mark.processes

# What a delivery may take, and what a request waits: far enough apart for a busy machine.
OUTBOUND_SECONDS, WAIT_SECONDS = 3.0, 25.0
# What a delivery may take to an end that says nothing whatever the time.
SILENT_SECONDS = 0.5
PRIVATE = "http://10.20.30.40"
REFUSED = "refused: the address is not public and not allowed here"


class Installation:
    """A web in this process, a worker in another, and the ends that they talk to."""

    def __init__(self, environment: dict[str, str], google: Storage, worker: Worker, redis: RedisServer) -> None:
        self.settings = Settings.parse(environment)
        self.google = google
        self.worker = worker
        self.redis = redis
        self.services = build(self.settings)
        self.api = Api(app_over(self.services))

    def key_with(self, *callbacks: tuple[str, dict[str, str]]) -> str:
        logging = [{"callback_name": name, "callback_vars": variables} for name, variables in callbacks]
        key: str = self.api.generate(metadata={"logging": logging})["key"]
        return key

    def health(self, key: str) -> dict[str, Any]:
        reply = self.api.post("/key/health", key=key)
        assert reply.status == 200, reply
        body: dict[str, Any] = reply.body
        return body

    def result(self, name: str, variables: dict[str, str]) -> dict[str, Any]:
        """The one result of a key with this one callback; key, status and result must agree."""
        body = self.health(self.key_with((name, variables)))
        (result,) = body["logging_callbacks"]["results"]
        assert result["callback_name"] == name
        assert body["key"] == body["logging_callbacks"]["status"] == result["status"]
        found: dict[str, Any] = result
        return found


@contextmanager
def installed(migrated_file: Path, folder: Path, outbound_seconds: float) -> Iterator[Installation]:
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        google = stack.enter_context(storage())
        environment = {
            "DATABASE_URL": copy_of(migrated_file, folder),
            "REDIS_URL": redis.url,
            **ENVIRONMENT,
            "KEYLEDGER_OUTBOUND_ALLOW": "127.0.0.1",
            "KEYLEDGER_OUTBOUND_SECONDS": str(outbound_seconds),
            "KEYLEDGER_KEY_HEALTH_SECONDS": str(WAIT_SECONDS),
            "KEYLEDGER_GCS_ENDPOINT": google.url,
        }
        worker = stack.enter_context(Worker(environment, folder))
        installation = Installation(environment, google, worker, redis)
        stack.callback(installation.services.close)
        yield installation


@pytest.fixture(scope="module")
def here(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(migrated_file, tmp_path_factory.mktemp("key-health"), OUTBOUND_SECONDS) as here:
        yield here


@pytest.fixture(scope="module")
def impatient_worker(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One whose deliveries may not take long; for ends that answer nothing in any case."""
    with installed(migrated_file, tmp_path_factory.mktemp("impatient"), SILENT_SECONDS) as impatient:
        yield impatient


# --- the two bodies of LiteLLM's document -----------------------------------------------------------------------


def without_results(body: dict[str, Any]) -> dict[str, Any]:
    callbacks = dict(body["logging_callbacks"])
    assert callbacks.pop("results")
    callbacks["details"] = callbacks["details"].strip()
    return {**body, "logging_callbacks": callbacks}


def test_a_bucket_that_takes_the_log_answers_as_the_document_says(here: Installation) -> None:
    with token_endpoint() as tokens:
        account = service_account(f"{tokens.url}/token")
        key = here.key_with(("gcs_bucket", {"gcs_bucket_name": BUCKET, "gcs_path_service_account": account}))
        before = here.google.names()
        body = here.health(key)

    assert without_results(body) == {
        "key": "healthy",
        "logging_callbacks": {
            "callbacks": ["gcs_bucket"],
            "status": "healthy",
            "details": "No logger exceptions triggered, system is healthy. "
            "Manually check if logs were sent to ['gcs_bucket']",
        },
    }
    assert body["logging_callbacks"]["details"].endswith("['gcs_bucket'] ")
    (result,) = body["logging_callbacks"]["results"]
    assert 0 <= result.pop("milliseconds") < 1000 * OUTBOUND_SECONDS
    assert result == {"callback_name": "gcs_bucket", "status": "healthy", "http_status": 200, "reason": None}
    assert len(here.google.names()) == len(before) + 1


def test_a_bucket_without_usable_credentials_answers_as_the_document_says(here: Installation) -> None:
    account = '{"type": "service_account", "client_email": "a@b"}'
    key = here.key_with(("gcs_bucket", {"gcs_bucket_name": BUCKET, "gcs_path_service_account": account}))

    body = here.health(key)

    assert without_results(body) == {
        "key": "unhealthy",
        "logging_callbacks": {
            "callbacks": ["gcs_bucket"],
            "status": "unhealthy",
            "details": "Logger exceptions triggered, system is unhealthy: Failed to load vertex credentials. "
            "Check to see if credentials containing partial/invalid information.",
        },
    }


# --- each destination: right, wrong, away, forbidden ---------------------------------------------------------------


@contextmanager
def a_bucket() -> Iterator[dict[str, str]]:
    with token_endpoint() as tokens:
        yield {
            "gcs_bucket_name": BUCKET,
            "gcs_path_service_account": service_account(f"{tokens.url}/token"),
        }


@contextmanager
def a_langfuse() -> Iterator[dict[str, str]]:
    with langfuse() as server:
        yield {
            "langfuse_public_key": PUBLIC,
            "langfuse_secret_key": SECRET,
            "langfuse_host": server.url,
        }


@contextmanager
def an_older_langfuse() -> Iterator[dict[str, str]]:
    with langfuse(traces=answer(404)) as server:
        yield {"langfuse_public_key": PUBLIC, "langfuse_secret": SECRET, "langfuse_host": server.url}


@contextmanager
def a_webhook() -> Iterator[dict[str, str]]:
    def check(request: Any) -> bytes:
        return answer(200 if request.headers.get("authorization") == "Bearer right" else 401)

    with Receiver(routes={"/logs": check}) as receiver:
        yield {
            "generic_api_endpoint": f"{receiver.url}/logs",
            "generic_api_headers": "Authorization=Bearer right",
        }


@contextmanager
def a_bucket_of_s3() -> Iterator[dict[str, str]]:
    with object_store() as store:
        yield store.variables


@contextmanager
def at(name: str, server: Callable[[], Any]) -> Iterator[dict[str, str]]:
    with server() as receiver:
        yield pointed_at(name, receiver.url)


ENDS: list[Any] = [
    pytest.param("datadog", partial(at, "datadog", datadog), id="datadog"),
    pytest.param("langsmith", partial(at, "langsmith", langsmith), id="langsmith"),
    pytest.param("otel", partial(at, "otel", collector), id="otel"),
    pytest.param("s3", a_bucket_of_s3, id="s3"),
    pytest.param("s3_v2", a_bucket_of_s3, id="s3_v2"),
    pytest.param("gcs_bucket", a_bucket, id="gcs_bucket"),
    pytest.param("langfuse", a_langfuse, id="langfuse"),
    pytest.param("langfuse", an_older_langfuse, id="older langfuse"),
    pytest.param("generic_api", a_webhook, id="generic_api"),
]
WRONG = {
    "gcs_bucket": lambda variables: {
        **variables,
        "gcs_path_service_account": service_account(
            _token_uri(variables), private_key=pem_of(rsa_key("somebody else"))
        ),
    },
    "datadog": lambda variables: {**variables, "dd_api_key": "wrong"},
    "langfuse": lambda variables: {**variables, "langfuse_secret": "wrong", "langfuse_secret_key": "wrong"},
    "langsmith": lambda variables: {**variables, "langsmith_api_key": "wrong"},
    "otel": lambda variables: {**variables, "otel_headers": "Authorization=wrong"},
    "s3": lambda variables: {**variables, "s3_secret_access_key": "wrong"},
    "s3_v2": lambda variables: {**variables, "s3_access_key_id": "wrong"},
    "generic_api": lambda variables: {**variables, "generic_api_headers": "Authorization=Bearer wrong"},
}
REASON_OF_WRONG = {
    "gcs_bucket": (400, "the token endpoint gave no access token: HTTP 400 (invalid_grant)"),
    "datadog": (403, "the credentials were refused: HTTP 403"),
    "langfuse": (401, "the credentials were refused: HTTP 401"),
    "langsmith": (401, "the credentials were refused: HTTP 401"),
    "otel": (401, "the credentials were refused: HTTP 401"),
    "s3": (403, "the credentials were refused: HTTP 403 (SignatureDoesNotMatch)"),
    "s3_v2": (403, "the credentials were refused: HTTP 403 (InvalidAccessKeyId)"),
    "generic_api": (401, "the credentials were refused: HTTP 401"),
}


def _token_uri(variables: dict[str, str]) -> str:
    uri: str = json.loads(variables["gcs_path_service_account"])["token_uri"]
    return uri


@pytest.mark.parametrize(("name", "end"), ENDS)
def test_right_credentials_are_healthy(here: Installation, name: str, end: Callable[[], Any]) -> None:
    with end() as variables:
        result = here.result(name, variables)

    assert (result["status"], result["reason"]) == ("healthy", None)


@pytest.mark.parametrize(("name", "end"), ENDS)
def test_wrong_credentials_are_unhealthy_with_the_reason(
    here: Installation, name: str, end: Callable[[], Any]
) -> None:
    with end() as variables:
        result = here.result(name, WRONG[name](variables))

    assert result["status"] == "unhealthy"
    assert (result["http_status"], result["reason"]) == REASON_OF_WRONG[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_private_address_is_refused(here: Installation, name: str) -> None:
    result = here.result(name, pointed_at(name, PRIVATE))

    assert (result["status"], result["http_status"]) == ("unhealthy", None)
    assert result["reason"].endswith(REFUSED)


@pytest.mark.parametrize("name", NAMES)
def test_a_destination_that_is_away_is_unhealthy(here: Installation, name: str) -> None:
    result = here.result(name, pointed_at(name, f"http://127.0.0.1:{closed_port()}"))

    assert result["status"] == "unhealthy"
    assert result["reason"].endswith("the connection was refused by the other end")


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (cut, "the connection was cut, or the answer is not HTTP"),
        (endless, "the answer is longer than 256 kB"),
        (answer(500), "HTTP 500"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_a_destination_that_misbehaves_is_unhealthy_within_the_limit(
    here: Installation, name: str, end: Any, reason: str
) -> None:
    assert_unhealthy_within_the_limit(here, name, end, reason)


@pytest.mark.parametrize("name", NAMES)
def test_a_destination_that_says_nothing_is_unhealthy_within_the_limit(
    impatient_worker: Installation, name: str
) -> None:
    assert_unhealthy_within_the_limit(impatient_worker, name, silence, f"no answer within {SILENT_SECONDS:g} s")


def assert_unhealthy_within_the_limit(here: Installation, name: str, end: Any, reason: str) -> None:
    began = time.monotonic()
    with Receiver(end) as receiver:
        result = here.result(name, pointed_at(name, receiver.url))

    assert result["status"] == "unhealthy"
    assert reason in result["reason"]
    assert time.monotonic() - began < WAIT_SECONDS


@pytest.mark.parametrize("name", NAMES)
def test_a_redirect_is_not_followed(here: Installation, name: str) -> None:
    with Receiver() as target, Receiver(answer(307, Location=target.url)) as receiver:
        result = here.result(name, pointed_at(name, receiver.url))

    assert (result["status"], result["http_status"]) == ("unhealthy", 307)
    assert target.connections == 0


# --- several, and stranger ones ------------------------------------------------------------------------------------


def test_each_destination_is_judged_by_itself(here: Installation) -> None:
    with Receiver() as good, Receiver(answer(500)) as bad:
        body = here.health(
            here.key_with(
                ("generic_api", {"generic_api_endpoint": good.url}),
                ("generic_api", {"generic_api_endpoint": bad.url}),
                ("newrelic", {"newrelic_api_key": "k"}),
            )
        )

    callbacks = body["logging_callbacks"]
    assert body["key"] == callbacks["status"] == "unhealthy"
    assert callbacks["callbacks"] == ["generic_api", "generic_api", "newrelic"]
    assert [result["status"] for result in callbacks["results"]] == ["healthy", "unhealthy", "unhealthy"]
    assert callbacks["details"] == (
        "Logger exceptions triggered, system is unhealthy: generic_api: HTTP 500; newrelic: not supported here"
    )
    assert (len(good.received), len(bad.received)) == (1, 1)


def test_the_destination_gets_the_facts_of_the_key_and_nothing_secret(here: Installation) -> None:
    with Receiver() as receiver:
        made = here.api.generate(
            key_alias="told",
            max_budget=5,
            metadata={
                "logging": [
                    {
                        "callback_name": "generic_api",
                        "callback_vars": {"generic_api_endpoint": receiver.url, "langfuse_secret_key": SECRET},
                    }
                ]
            },
        )
        here.health(made["key"])

    (request,) = receiver.received
    (payload,) = request.json
    assert payload["metadata"]["user_api_key_hash"] == made["token"]
    assert payload["metadata"]["user_api_key_alias"] == "told"
    assert payload["metadata"]["user_api_key_max_budget"] == 5
    assert made["key"].encode() not in request.body
    assert SECRET.encode() not in request.body


def test_a_secret_that_the_salt_key_does_not_open_is_told_and_not_sent(here: Installation) -> None:
    with Receiver() as receiver:
        key = here.key_with(("generic_api", {"generic_api_endpoint": receiver.url, "generic_api_headers": "a=b"}))
        lost = Sealer(Secret("another")).seal("generic_api_headers", "a=b")
        with here.services.database.transaction() as transaction:
            rows = transaction.execute(select(keys.c.key_id, keys.c.metadata)).all()
            for row in rows:
                (entry,) = row.metadata["logging"][:1]
                if entry["callback_vars"].get("generic_api_endpoint") == receiver.url:
                    changed = {**entry, "callback_vars": {**entry["callback_vars"], "generic_api_headers": lost}}
                    transaction.execute(
                        update(keys).where(keys.c.key_id == row.key_id).values(metadata={"logging": [changed]})
                    )
        body = here.health(key)

    (result,) = body["logging_callbacks"]["results"]
    assert result["reason"] == "a stored secret cannot be opened: it was sealed with another salt key"
    assert receiver.connections == 0


def test_it_works_again_after_redis_has_lost_everything(here: Installation) -> None:
    with Receiver() as receiver:
        key = here.key_with(("generic_api", {"generic_api_endpoint": receiver.url}))
        here.health(key)
        here.redis.clear()
        body = here.health(key)

    assert body["key"] == "healthy"


def test_no_secret_is_in_the_workers_log_or_in_redis(here: Installation) -> None:
    with a_langfuse() as variables, a_bucket() as bucket:
        here.result("langfuse", variables)
        here.result("langfuse", WRONG["langfuse"](variables))
        here.result("gcs_bucket", bucket)

    log = here.worker.log()
    with Redis.from_url(here.redis.url) as client:
        kept = [str(client.dump(name)) for name in client.scan_iter()]
    assert "callback_tested" in log
    for secret in (SECRET, PUBLIC, "PRIVATE KEY", "ya29."):
        assert secret not in log
        assert not any(secret in value for value in kept)


# --- without a worker -------------------------------------------------------------------------------------------------


@contextmanager
def impatient(here: Installation, seconds: float = 1.0) -> Iterator[Services]:
    """Another web process, which waits less."""
    services = build(replace(here.settings, key_health_seconds=seconds, outbound_seconds=seconds / 2))
    try:
        yield services
    finally:
        services.close()


def test_with_the_worker_stopped_it_is_a_503_within_the_limit_and_nothing_is_sent_later(
    here: Installation,
) -> None:
    here.worker.stop()
    with Receiver() as receiver, impatient(here) as services:
        key = here.key_with(("generic_api", {"generic_api_endpoint": receiver.url}))
        began = time.monotonic()
        refused: Answer = Api(app_over(services)).post("/key/health", key=key)
        took = time.monotonic() - began
        here.worker.start()
        after = here.health(key)

    assert refused.status == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert "No worker has answered within 1 s" in refused.error["message"]
    assert took < 30
    assert after["key"] == "healthy"
    assert len(receiver.received) == 1

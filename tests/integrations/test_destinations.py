"""What every destination does alike: what goes wrong is told and sorted, nothing secret is, and the fence holds."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.domain.standard_payload import Log
from app.integrations.destinations import SUPPORTED, DeliveryResult, Destinations
from app.integrations.outbound import Outbound
from tests.integrations.ends import NAMES, PUBLIC, TOKEN, outbound, pointed_at, service_account, token_endpoint
from tests.integrations.probes import a_log, a_probe
from tests.integrations.receivers import (
    Received,
    Receiver,
    answer,
    closed_port,
    cut,
    dripping,
    endless,
    reset,
    silence,
)

SHORT_SECONDS = 0.5
NOT_PUBLIC = "refused: the address is not public and not allowed here"
LOGS = {"a test": [a_probe()], "real logs": [a_log("call-1"), a_log("call-2")]}

every_destination = pytest.mark.parametrize("name", NAMES)
every_kind_of_logs = pytest.mark.parametrize("logs", LOGS.values(), ids=LOGS)


def send(
    name: str, variables: dict[str, str], logs: Sequence[Log], way: Outbound, storage: str = ""
) -> DeliveryResult:
    destination = Destinations(gcs_endpoint=storage or "http://127.0.0.1:1").named(name)
    assert destination is not None
    return destination.send(variables, logs, way)


@contextmanager
def end_that(name: str, reply: Any) -> Iterator[tuple[Receiver, dict[str, str], str]]:
    """A destination that answers its logs so, the variables for it, and where Google's storage is."""
    with ExitStack() as stack:
        receiver = stack.enter_context(Receiver(reply))
        variables = pointed_at(name, receiver.url)
        if name == "gcs_bucket":
            tokens = stack.enter_context(token_endpoint())
            variables["gcs_path_service_account"] = service_account(f"{tokens.url}/token")
        yield receiver, variables, receiver.url


def test_every_destination_is_here():
    assert {*NAMES, "s3_v2"} == SUPPORTED


@every_destination
@every_kind_of_logs
@pytest.mark.parametrize(
    ("reply", "status", "reason", "retryable"),
    [
        (answer(500), 500, "HTTP 500", True),
        (answer(502), 502, "HTTP 502", True),
        (answer(408), 408, "HTTP 408", True),
        (answer(429), 429, "HTTP 429", True),
        (answer(400), 400, "HTTP 400", False),
        (answer(401), 401, "the credentials were refused: HTTP 401", False),
        (answer(413), 413, "HTTP 413", False),
        (answer(307, Location="http://127.0.0.1:1"), 307, "HTTP 307: redirects are not followed", False),
        (cut, None, "the connection was cut, or the answer is not HTTP", True),
        (reset, None, "the connection was cut", True),
        (endless, 200, "the answer is longer than 256 kB", False),
        (silence, None, "no answer within 0.5 s", True),
        (dripping, None, "no answer within 0.5 s", True),
    ],
)
def test_what_goes_wrong_is_told_and_sorted_into_what_may_pass_and_what_will_not(
    name: str, logs: Sequence[Log], reply: Any, status: int | None, reason: str, retryable: bool
):
    seconds = SHORT_SECONDS if reply in {silence, dripping} else 10
    with end_that(name, reply) as (_, variables, storage):
        result = send(name, variables, logs, outbound(seconds), storage)

    # On a busy machine the short time may be up while Google's token is still on its way.
    told = str(result.reason).removeprefix("the token endpoint: " if seconds == SHORT_SECONDS else "")
    assert (result.ok, result.http_status, told) == (False, status, reason)
    assert (result.retryable, result.retry_after_seconds) == (retryable, None)


@every_destination
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("wait", "seconds"), [("17", 17.0), ("Wed, 18 Nov 2026 13:48:33 GMT", 60.0), ("soon", None)]
)
def test_the_wait_that_a_destination_asks_for_is_handed_on(
    name: str, status: int, wait: str, seconds: float | None
):
    told = answer(status, Retry_After=wait, Date="Wed, 18 Nov 2026 13:47:33 GMT")
    with end_that(name, told) as (_, variables, storage):
        result = send(name, variables, [a_log()], outbound(), storage)

    assert (result.retryable, result.retry_after_seconds) == (True, seconds)


@every_destination
@every_kind_of_logs
def test_a_destination_that_is_away_may_be_back_later(name: str, logs: Sequence[Log]):
    result = send(name, pointed_at(name, f"http://127.0.0.1:{closed_port()}"), logs, outbound())

    assert (result.ok, result.http_status, result.retryable) == (False, None, True)
    assert str(result.reason).endswith("the connection was refused by the other end")


@every_destination
@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254", "http://10.20.30.40", "http://127.0.0.1:9", "http://[::1]:9", "http://0.0.0.0"],
)
def test_no_destination_is_reached_at_an_address_that_is_not_public(name: str, url: str):
    result = send(name, pointed_at(name, url), [a_log()], outbound(allow=""))

    assert (result.ok, result.http_status, result.retryable) == (False, None, False)
    # An agent's host is no URL: what is no plain name is refused before there is one.
    assert str(result.reason).endswith((NOT_PUBLIC, "name no agent"))


@every_destination
def test_a_name_that_leads_inside_is_not_followed(name: str):
    with Receiver() as receiver:
        url = f"http://rebound.test:{receiver.port}"
        inside = outbound(allow="", resolve=lambda *_: ["127.0.0.1"])
        result = send(name, pointed_at(name, url), [a_log()], inside)

    assert str(result.reason).endswith(NOT_PUBLIC)
    assert receiver.connections == 0


URLS = {
    "generic_api": "generic_api_endpoint",
    "langfuse": "langfuse_host",
    "langsmith": "langsmith_base_url",
    "otel": "otel_endpoint",
    "s3": "s3_endpoint_url",
}


@pytest.mark.parametrize(("name", "variable"), URLS.items())
@pytest.mark.parametrize(
    "url",
    [
        *("http://user:pw@logs.example", "http://logs.example\\@evil.com", "http://logs.example:99999"),
        *("http://2130706433", "http://0x7f.1", "http://logs example", "http://logs.example\r\nX: y", "http://"),
    ],
)
def test_a_url_that_cannot_be_read_in_one_way_only_is_never_called(name: str, variable: str, url: str):
    asked: list[str] = []
    way = outbound(allow="", resolve=lambda host, _: asked.append(host) or ["93.184.216.34"])
    result = send(name, {**pointed_at(name, "http://logs.example"), variable: url}, [a_log()], way)

    assert str(result.reason).startswith("refused: ")
    assert (asked, result.retryable) == ([], False)


# A part of each secret that `pointed_at` sets, and of what is made of them.
SECRETS = ("distinctive", "DISTINCTIVE", "PRIVATE KEY", TOKEN, PUBLIC, b64encode(PUBLIC.encode()).decode()[:16])


ENVIRONMENT = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "DD_API_KEY", "DD_SITE", "GOOGLE_APPLICATION_CREDENTIALS"),
    *("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY", "LANGSMITH_API_KEY", "LANGSMITH_BASE_URL"),
    *("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "GENERIC_LOGGER_ENDPOINT"),
)


@every_destination
def test_nothing_of_the_servers_own_environment_stands_in_for_a_variable(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    for variable in ENVIRONMENT:
        monkeypatch.setenv(variable, "http://of.the.server")
    asked: list[str] = []
    way = outbound(resolve=lambda host, _: asked.append(host) or [])

    result = send(name, {}, [a_log()], way)

    assert (result.ok, result.retryable, asked) == (False, False, [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
PAYLOADS = st.dictionaries(st.sampled_from(sorted(a_log().payload)), JSON, max_size=8)


@every_destination
@given(log_id=st.text(max_size=40), payload=PAYLOADS, is_test=st.booleans(), data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_the_variables_and_the_payload_hold_nothing_is_raised(
    name: str, log_id: str, payload: dict[str, Any], is_test: bool, data: st.DataObject
):
    variables = pointed_at(name, "http://logs.example")
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(variables)), st.text(max_size=30), max_size=1))
    logs = [replace(a_log(log_id, **payload), is_test=is_test), replace(a_log(), payload=payload)]

    result = send(name, variables | changed, logs, outbound(resolve=lambda *_: []))

    assert not result.ok
    assert result.reason


def echo(request: Received) -> bytes:
    """An error that holds all that was sent, as careless servers have it."""
    told = " ".join([*request.headers.values(), request.body.decode("latin-1")])
    return answer(403, f"<Error><Code>{told}</Code></Error>{told}".encode("latin-1", "replace"))


@every_destination
@every_kind_of_logs
@pytest.mark.parametrize("reply", [echo, cut, answer(500)])
def test_no_reason_no_log_line_and_no_picture_of_a_result_holds_a_secret(
    name: str, logs: Sequence[Log], reply: Any, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(0)
    with end_that(name, reply) as (_, variables, storage), capture_logs() as lines:
        result = send(name, variables, logs, outbound(), storage)

    told = f"{result!r} {lines} {caplog.text}"
    assert not result.ok
    assert [secret for secret in SECRETS if secret in told] == []


@every_destination
def test_a_repeat_is_the_same_to_the_letter_but_for_what_proves_who_sends_it(name: str):
    logs = [a_log("call-1"), a_log("call-2")]
    with end_that(name, answer(200, {})) as (receiver, variables, storage):
        for _ in range(2):
            assert send(name, variables, logs, outbound(), storage).ok

    first, second = receiver.received
    assert (first.method, first.path, first.body) == (second.method, second.path, second.body)
    assert b"call-1" in first.body or name in {"datadog", "langfuse", "langsmith", "otel"}


@every_destination
@pytest.mark.parametrize("count", [1, 40])
def test_logs_that_fit_into_one_request_make_one_request(name: str, count: int):
    with end_that(name, answer(200, {})) as (receiver, variables, storage):
        assert send(name, variables, [a_log(f"call-{number}") for number in range(count)], outbound(), storage).ok

    assert receiver.connections == 1


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"gcs_bucket", "s3"}])
def test_a_batch_that_is_called_too_large_is_halved(name: str):
    sizes: list[int] = []

    def strict(request: Received) -> bytes:
        sizes.append(len(request.body))
        return answer(413 if len(sizes) <= 1 else 200, {})

    with Receiver() as receiver:
        receiver.routes = dict.fromkeys(PATHS, strict)
        result = send(
            name, pointed_at(name, receiver.url), [a_log(f"call-{number}") for number in range(4)], outbound()
        )

    assert result.ok
    assert len(sizes) == 3


PATHS = ("/", "/api/v2/logs", "/api/public/otel/v1/traces", "/api/v1/runs/batch", "/v1/traces")

"""Langfuse: credentials first, then a trace by OpenTelemetry, or in the older batch where the server has no more."""

import base64
import json
from collections.abc import Sequence

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from app.domain.standard_payload import TEST_MODEL, Log
from app.integrations.destinations import DeliveryResult
from app.integrations.langfuse import Langfuse
from tests.integrations.ends import PUBLIC, SECRET, langfuse, outbound
from tests.integrations.probes import LOG_ID, NOW, a_failed_log, a_log, a_probe
from tests.integrations.receivers import Receiver, answer, closed_port, silence

LOG_HEX = LOG_ID.replace("-", "")
PROTOBUF = "application/x-protobuf"
REJECTED = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(rejected_spans=1))


def send(host: str, seconds: float = 5, logs: Sequence[Log] = (a_probe(),), **variables: str) -> DeliveryResult:
    given = {"langfuse_public_key": PUBLIC, "langfuse_secret_key": SECRET, "langfuse_host": host} | variables
    return Langfuse().send(given, logs, outbound(seconds))


def test_right_credentials_leave_a_generation_with_the_otlp_endpoint():
    with langfuse() as server:
        result = send(server.url + "/", langfuse_environment="staging")

    assert (result.ok, result.http_status, result.reason) == (True, 200, None)
    assert server.paths() == ["GET /api/public/projects", "POST /api/public/otel/v1/traces"]
    request = server.received[1]
    assert request.headers["content-type"] == PROTOBUF
    assert request.headers["x-langfuse-ingestion-version"] == "4"
    assert request.headers["x-langfuse-public-key"] == PUBLIC
    (resource,) = ExportTraceServiceRequest.FromString(request.body).resource_spans
    (span,) = resource.scope_spans[0].spans
    attributes = {item.key: item.value.string_value for item in span.attributes}
    assert (len(span.trace_id), len(span.span_id)) == (16, 8)
    assert span.start_time_unix_nano == span.end_time_unix_nano == 1_795_009_653_123_456_000
    assert attributes["langfuse.observation.type"] == "generation"
    assert attributes["langfuse.observation.model.name"] == attributes["gen_ai.request.model"] == TEST_MODEL
    assert attributes["langfuse.environment"] == "staging"
    assert json.loads(attributes["langfuse.observation.input"])[0]["role"] == "user"
    assert json.loads(attributes["langfuse.observation.metadata"])["user_api_key_alias"] == "ci"


def test_an_older_server_gets_its_own_batch():
    with langfuse(traces=answer(404)) as server:
        result = send(server.url)

    assert (result.ok, result.http_status, result.reason) == (True, 207, None)
    assert server.paths()[-1] == "POST /api/public/ingestion"
    trace, generation = server.received[-1].json["batch"]
    assert (trace["type"], generation["type"]) == ("trace-create", "generation-create")
    assert trace["timestamp"] == NOW.isoformat().replace("+00:00", "Z")
    assert generation["body"]["traceId"] == trace["body"]["id"]
    assert generation["body"]["model"] == TEST_MODEL
    assert len({trace["id"], generation["id"]}) == 2


def test_real_logs_go_in_one_request_as_generations_with_all_that_is_known_of_them():
    with langfuse() as server:
        result = send(server.url, logs=[a_log(), a_failed_log(log_id="call-2")])

    assert (result.ok, result.http_status) == (True, 200)
    assert server.paths() == ["POST /api/public/otel/v1/traces"]
    (resource,) = ExportTraceServiceRequest.FromString(server.received[0].body).resource_spans
    span, failed = resource.scope_spans[0].spans
    attributes = {item.key: item.value for item in span.attributes}
    assert (span.trace_id.hex(), span.span_id.hex()) == (LOG_HEX, LOG_HEX[16:])
    assert attributes["langfuse.trace.name"].string_value == "acompletion gpt-4o"
    assert attributes["langfuse.observation.model.name"].string_value == "gpt-4o"
    assert json.loads(attributes["langfuse.observation.output"].string_value) == a_log().payload["response"]
    assert attributes["gen_ai.usage.input_tokens"].int_value == 1200
    assert attributes["gen_ai.usage.cost"].double_value == 0.0125
    assert attributes["session.id"].string_value == "session-1"
    tags = attributes["langfuse.trace.tags"].array_value.values
    assert [tag.string_value for tag in tags] == ["ci", "nightly"]
    assert "langfuse.observation.level" not in attributes
    of_failed = {item.key: item.value.string_value for item in failed.attributes}
    assert of_failed["langfuse.observation.level"] == "ERROR"
    assert of_failed["langfuse.observation.status_message"] == "RateLimitError: slow down"
    assert "langfuse.observation.output" not in of_failed


def test_an_older_server_gets_real_logs_under_the_identities_that_a_newer_one_would_get():
    with langfuse(traces=answer(404)) as server:
        results = [send(server.url, logs=[a_log(), a_failed_log(log_id="call-2")]) for _ in range(2)]

    assert [result.ok for result in results] == [True, True]
    first, second = (request.json["batch"] for request in server.received if request.path.endswith("ingestion"))
    assert first == second
    assert len({event["id"] for event in first}) == 4
    trace, generation, _, failed = (event["body"] for event in first)
    assert (trace["id"], generation["id"], generation["traceId"]) == (LOG_HEX, LOG_HEX[16:], LOG_HEX)
    assert (trace["sessionId"], trace["userId"], trace["tags"]) == ("session-1", "carol", ["ci", "nightly"])
    assert (generation["startTime"], generation["endTime"]) == (
        "2026-11-18T13:47:31.623456Z",
        "2026-11-18T13:47:33.123456Z",
    )
    assert generation["usage"] == {
        "input": 1200,
        "output": 800,
        "total": 2000,
        "totalCost": 0.0125,
        "unit": "TOKENS",
    }
    assert (failed["level"], failed["statusMessage"]) == ("ERROR", "RateLimitError: slow down")


def test_real_logs_with_wrong_credentials_are_refused_by_the_endpoint_itself():
    with langfuse() as server:
        result = send(server.url, logs=[a_log()], langfuse_secret_key="sk-lf-wrong")

    assert (result.ok, result.reason) == (False, "the credentials were refused: HTTP 401")
    assert server.paths() == ["POST /api/public/otel/v1/traces"]


def test_refused_credentials_are_told_and_no_trace_is_sent():
    with langfuse() as server:
        result = send(server.url, langfuse_secret_key="sk-lf-wrong")

    assert (result.ok, result.http_status) == (False, 401)
    assert result.reason == "the credentials were refused: HTTP 401"
    assert server.paths() == ["GET /api/public/projects"]


def test_the_older_name_of_the_secret_is_understood_and_the_newer_one_wins():
    with langfuse() as server:
        older = send(server.url, langfuse_secret=SECRET, langfuse_secret_key="")
        both = send(server.url, langfuse_secret="sk-lf-wrong")

    assert (older.ok, both.ok) == (True, True)


def test_a_host_without_a_scheme_is_http():
    with langfuse() as server:
        result = send(server.url.removeprefix("http://"))

    assert result.ok


@pytest.mark.parametrize(
    ("traces", "status", "reason"),
    [
        (answer(500), 500, "HTTP 500"),
        (answer(307, Location="http://127.0.0.1:1"), 307, "HTTP 307: redirects are not followed"),
        (
            answer(200, REJECTED.SerializeToString(), Content_Type=PROTOBUF),
            200,
            "the destination rejected the trace",
        ),
        (answer(200, {"partialSuccess": {"rejectedSpans": "1"}}), 200, "the destination rejected the trace"),
        (answer(200, {"partialSuccess": {}}), 200, None),
        (answer(200, {"partialSuccess": []}), 200, None),
        (answer(200, b"\xff\xff", Content_Type=PROTOBUF), 200, None),
        (answer(200, b"OK"), 200, None),
    ],
)
def test_the_servers_own_answer_decides(traces: bytes, status: int, reason: str | None):
    with langfuse(traces=traces) as server:
        result = send(server.url)

    assert (result.ok, result.http_status, result.reason) == (reason is None, status, reason)


def test_a_batch_whose_events_were_not_taken_is_told():
    batch = answer(207, {"successes": [], "errors": [{"id": "a", "status": 400, "message": SECRET}]})
    with langfuse(traces=answer(404), batch=batch) as server:
        result = send(server.url)

    assert (result.ok, result.http_status, result.reason) == (False, 207, "the destination rejected the trace")


@pytest.mark.parametrize("status", [404, 500, 302])
def test_a_server_that_is_no_langfuse_is_unhealthy(status: int):
    with Receiver(answer(status)) as server:
        result = send(server.url)

    assert (result.ok, result.http_status) == (False, status)


def test_a_dead_host_is_unhealthy():
    result = send(f"http://127.0.0.1:{closed_port()}")

    assert (result.ok, result.reason) == (False, "the connection was refused by the other end")


def test_a_silent_host_is_unhealthy_within_the_limit():
    with Receiver(silence) as server:
        result = send(server.url, seconds=0.5)

    assert (result.ok, result.reason) == (False, "no answer within 0.5 s")
    assert result.milliseconds < 4000


@pytest.mark.parametrize("missing", ["langfuse_public_key", "langfuse_secret_key"])
def test_missing_credentials_are_told(missing: str):
    with langfuse() as server:
        result = send(server.url, **{missing: ""})

    assert result.reason == "langfuse_public_key and langfuse_secret_key are needed"
    assert server.connections == 0


def test_credentials_with_unusual_characters_arrive_whole():
    with langfuse() as server:
        send(server.url, langfuse_secret_key="pä:ss wörd")

    sent = server.received[0].headers["authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent).decode() == f"{PUBLIC}:pä:ss wörd"

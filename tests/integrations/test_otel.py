"""OpenTelemetry: a span a log, decoded by the protocol's own messages."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from app.domain.standard_payload import Log
from app.integrations.destinations import DeliveryResult
from app.integrations.otel import Otel
from tests.integrations.ends import BEARER, collector, outbound, pointed_at
from tests.integrations.probes import LOG_ID, NOW, PROBE_ID, a_failed_log, a_log, a_probe
from tests.integrations.receivers import Received, Receiver, answer

PROTOBUF = "application/x-protobuf"
REJECTED = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(rejected_spans=1))
NANOSECONDS = 1_795_009_653_123_456_000


def send(url: str, logs: Sequence[Log], **variables: str) -> DeliveryResult:
    return Otel().send({**pointed_at("otel", url), **variables}, logs, outbound())


def spans(request: Received) -> list[Span]:
    (resource,) = ExportTraceServiceRequest.FromString(request.body).resource_spans
    assert {item.key: item.value.string_value for item in resource.resource.attributes} == {
        "service.name": "keyledger"
    }
    (scope,) = resource.scope_spans
    return list(scope.spans)


def plain(value: AnyValue) -> Any:
    if value.WhichOneof("value") == "array_value":
        return [plain(item) for item in value.array_value.values]
    return getattr(value, str(value.WhichOneof("value")))


def attributes(span: Span) -> dict[str, Any]:
    return {item.key: plain(item.value) for item in span.attributes}


def test_right_credentials_leave_a_span_a_log():
    with collector() as server:
        result = send(f"{server.url}/", [a_log(), a_probe()])

    assert (result.ok, result.http_status, result.reason) == (True, 200, None)
    (request,) = server.received
    assert (request.method, request.path) == ("POST", "/v1/traces")
    assert request.headers["content-type"] == PROTOBUF
    span, test = spans(request)
    assert span.trace_id.hex() == LOG_ID.replace("-", "")
    assert span.span_id.hex() == LOG_ID.replace("-", "")[16:]
    assert (span.name, span.kind) == ("acompletion gpt-4o", Span.SpanKind.SPAN_KIND_CLIENT)
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (NANOSECONDS - 1_500_000_000, NANOSECONDS)
    assert span.status.code == Status.StatusCode.STATUS_CODE_UNSET
    found = attributes(span)
    assert json.loads(found.pop("gen_ai.input.messages")) == a_log().payload["messages"]
    assert json.loads(found.pop("gen_ai.output.messages")) == a_log().payload["response"]
    assert found == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 1200,
        "gen_ai.usage.output_tokens": 800,
        "gen_ai.usage.cost": 0.0125,
        "session.id": "session-1",
        "user.id": "carol",
        "metadata.tags": ["ci", "nightly"],
        "metadata.user_api_key_hash": "ab" * 32,
        "metadata.user_api_key_alias": "ci",
        "metadata.user_api_key_spend": 0.25,
        "metadata.user_api_key_max_budget": 10.0,
        "metadata.user_api_key_team_id": "search",
        "metadata.user_api_key_user_id": "bob",
        "metadata.user_api_key_request_route": "/key/health",
    }
    assert test.trace_id.hex() == PROBE_ID.replace("-", "")
    assert test.name == "keyledger-key-health"


def test_a_call_that_failed_is_a_span_with_an_error():
    with collector() as server:
        send(server.url, [a_failed_log()])

    (span,) = spans(server.received[0])
    assert span.status == Status(code=Status.StatusCode.STATUS_CODE_ERROR, message="RateLimitError: slow down")
    assert "gen_ai.output.messages" not in attributes(span)


def test_a_repeat_has_the_same_identities_and_another_log_has_others():
    with collector() as server:
        for _ in range(2):
            send(server.url, [a_log("chatcmpl-1"), a_log("chatcmpl-2"), a_log()])

    first, second = ([(span.trace_id, span.span_id) for span in spans(request)] for request in server.received)
    assert first == second
    assert len(set(first)) == 3
    assert all(len(trace) == 16 and len(span) == 8 and any(span) for trace, span in first)


def test_what_was_said_stays_out_where_the_owner_wants_no_content():
    with collector() as server:
        send(server.url, [a_log()], capture_message_content="no_content")

    assert not {"gen_ai.input.messages", "gen_ai.output.messages"} & set(attributes(spans(server.received[0])[0]))
    assert "Säntis".encode() not in server.received[0].body


@pytest.mark.parametrize("path", ["", "/", "/v1/traces", "/v1/traces/"])
def test_the_endpoint_may_be_given_with_or_without_its_path(path: str):
    with collector() as server:
        assert send(server.url + path, [a_probe()]).ok


def test_headers_are_the_owners_as_the_protocol_writes_them():
    with Receiver() as server:
        send(server.url, [a_probe()], otel_headers="api-key=a%2Cb%3D, Content-Type=text/plain,X-Two=2")

    headers = server.received[0].headers
    assert (headers["api-key"], headers["x-two"], headers["content-type"]) == ("a,b=", "2", PROTOBUF)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        *(
            (headers, "otel_headers cannot be read: name=value,name=value")
            for headers in ("Authorization", "a b=c", "=value", "Host=other", "content-length=3")
        ),
        ("X-A=1%0d%0aX-B: 2", "a header cannot be sent as it is"),
        ("X-A=%E2%82%AC", "a header cannot be sent as it is"),
    ],
)
def test_headers_that_are_none_or_not_the_owners_to_set_send_nothing(headers: str, reason: str):
    with Receiver() as server:
        result = send(server.url, [a_probe()], otel_headers=headers)

    assert (result.ok, result.reason, result.retryable) == (False, reason, False)
    assert server.received == []


def test_wrong_credentials_are_told():
    with collector() as server:
        result = send(server.url, [a_probe()], otel_headers=f"Authorization={BEARER}x")

    assert (result.ok, result.reason) == (False, "the credentials were refused: HTTP 401")


@pytest.mark.parametrize(
    ("taken", "reason"),
    [
        (answer(200, REJECTED.SerializeToString(), Content_Type=PROTOBUF), "the destination rejected the trace"),
        (answer(200, {"partialSuccess": {"rejectedSpans": "1"}}), "the destination rejected the trace"),
        (answer(200, {"partialSuccess": {}}), None),
        (answer(202, b"OK"), None),
    ],
)
def test_a_span_that_the_collector_rejects_is_told_and_not_sent_again(taken: bytes, reason: str | None):
    with collector(taken) as server:
        result = send(server.url, [a_log()])

    assert (result.ok, result.reason, result.retryable) == (reason is None, reason, False)


def test_without_an_endpoint_nothing_is_sent():
    assert Otel().send({}, [a_probe()], outbound()).reason == "otel_endpoint is missing"


@pytest.mark.parametrize(
    "payload",
    [
        {"startTime": -1e9, "endTime": 1e18},
        {"startTime": float("nan"), "endTime": float("inf")},
        {"startTime": 253402300799, "endTime": 253402300799},
        {"startTime": "2026-11-18T13:47:33Z", "endTime": None},
        {"prompt_tokens": 2**70, "completion_tokens": "many", "response_cost": None},
        {"model": None, "call_type": None, "messages": None, "response": "plain", "metadata": None},
        {"model": ["a"], "call_type": {"a": 1}, "request_tags": "one", "end_user": 5, "error_str": 7},
        {"request_tags": [["deep"], {"a": 1}, None], "messages": "half \ud800", "status": "failure"},
    ],
)
def test_whatever_a_payload_holds_a_span_is_made_of_it(payload: dict[str, Any]):
    with collector() as server:
        result = send(server.url, [a_log(**payload)])

    assert result.ok
    (span,) = spans(server.received[0])
    assert span.end_time_unix_nano >= span.start_time_unix_nano


def test_a_call_that_ends_before_it_begins_ends_when_it_begins():
    with collector() as server:
        send(server.url, [a_log(startTime=NOW.timestamp(), endTime=NOW.timestamp() - 5)])

    (span,) = spans(server.received[0])
    assert span.start_time_unix_nano == span.end_time_unix_nano == NANOSECONDS

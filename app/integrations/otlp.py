"""Logs as OpenTelemetry spans, in the protobuf form of OTLP over HTTP.

A log is one trace of one span, both with identities made of the log's own, so that a repeat is known as one.
Names are those of the semantic conventions for generative AI; what these lack goes by the payload's own names.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from app.clock import iso
from app.domain.standard_payload import Log
from app.integrations.batches import dumped
from app.integrations.outbound import Reply

PROTOBUF = "application/x-protobuf"
REJECTED = "the destination rejected the trace"
_INT64 = range(-(2**63), 2**63)
_LATEST = 2**64 - 1
_OPERATIONS = {
    **dict.fromkeys(("completion", "acompletion"), "chat"),
    **dict.fromkeys(("text_completion", "atext_completion"), "text_completion"),
    **dict.fromkeys(("embedding", "aembedding"), "embeddings"),
}


def span(log: Log, more: Mapping[str, Any]) -> Span:
    """The span of a log; `more` are attributes of the destination's own. An attribute of None is left out."""
    return Span(
        trace_id=log.uuid.bytes,
        span_id=log.uuid.bytes[8:],
        name=_text(log.name),
        kind=Span.SpanKind.SPAN_KIND_CLIENT,
        start_time_unix_nano=_nanoseconds(log.started_at),
        end_time_unix_nano=_nanoseconds(log.ended_at),
        status=_status(log),
        attributes=_attributes({**_common(log), **more}),
    )


def export(spans: Sequence[Span]) -> bytes:
    """The request that hands over these spans."""
    scope = ScopeSpans(scope=InstrumentationScope(name="keyledger"), spans=spans)
    resource = Resource(attributes=_attributes({"service.name": "keyledger"}))
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=resource, scope_spans=[scope])]
    ).SerializeToString()


def rejection(reply: Reply) -> str | None:
    """What a successful answer says of spans that it did not take."""
    try:
        if PROTOBUF in reply.content_type:
            rejected = ExportTraceServiceResponse.FromString(reply.body).partial_success.rejected_spans
        else:
            rejected = int(reply.fields.get("partialSuccess", {}).get("rejectedSpans", 0))
    except (DecodeError, AttributeError, TypeError, ValueError):
        return None  # its status says that it was taken; what follows is of no standard
    return REJECTED if rejected else None


def json_text(value: Any) -> str | None:
    """The value as JSON, text as it is; None for none."""
    return None if value is None else _text(value)


def _common(log: Log) -> dict[str, Any]:
    fields = log.payload
    return {
        "gen_ai.operation.name": _OPERATIONS.get(str(fields.get("call_type")), fields.get("call_type")),
        "gen_ai.provider.name": fields.get("custom_llm_provider") or None,
        "gen_ai.request.model": fields.get("model"),
        "gen_ai.usage.input_tokens": fields.get("prompt_tokens"),
        "gen_ai.usage.output_tokens": fields.get("completion_tokens"),
        "gen_ai.usage.cost": fields.get("response_cost"),
        "session.id": fields.get("session_id"),
        "user.id": fields.get("end_user") or None,
    }


def _status(log: Log) -> Status | None:
    if not log.failed:
        return None
    return Status(code=Status.StatusCode.STATUS_CODE_ERROR, message=_text(log.payload.get("error_str") or ""))


def _attributes(values: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=_text(name), value=_value(value)) for name, value in values.items() if value is not None]


def _value(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int) and value in _INT64:
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        return AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=_text(item)) for item in value]))
    return AnyValue(string_value=iso(value) if isinstance(value, datetime) else _text(value))


def _text(value: Any) -> str:
    """Text that protobuf takes: half characters are replaced."""
    plain = value if isinstance(value, str) else dumped(value).decode()
    return plain.encode(errors="replace").decode()


def _nanoseconds(at: datetime) -> int:
    return min(max(round(at.timestamp() * 1_000_000), 0) * 1000, _LATEST)

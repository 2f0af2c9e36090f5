"""Langfuse: the credentials are checked first, then a trace goes to the endpoint that the server has.

Servers from 3.63 on take OpenTelemetry; an older one answers 404 there and gets its own batch format.
"""

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from app.clock import iso
from app.domain.standard_payload import TEST_MODEL, Probe
from app.integrations.destinations import DeliveryResult
from app.integrations.outbound import Outbound, Reply

_CLOUD = "https://cloud.langfuse.com"
_NOT_FOUND = 404
_REFUSED = frozenset({401, 403})
_NAME = "keyledger-key-health"
_PROTOBUF = "application/x-protobuf"


class Langfuse:
    """Variables: langfuse_public_key, langfuse_secret_key (or langfuse_secret), langfuse_host, _environment."""

    def send_test(self, variables: Mapping[str, str], probe: Probe, outbound: Outbound) -> DeliveryResult:
        public = variables.get("langfuse_public_key")
        secret = variables.get("langfuse_secret_key") or variables.get("langfuse_secret")
        if not public or not secret:
            return DeliveryResult.failed("langfuse_public_key and langfuse_secret_key are needed", outbound)
        host = _host(variables.get("langfuse_host") or _CLOUD)
        headers = _credentials(public, secret)
        reply = outbound.get(f"{host}/api/public/projects", headers)
        if reply.status in _REFUSED and reply.reason is None:
            return DeliveryResult.failed(f"the credentials were refused: HTTP {reply.status}", outbound, reply)
        if reply.fault is not None:
            return DeliveryResult.of(reply, outbound)
        environment = variables.get("langfuse_environment") or "default"
        reply = outbound.post(
            f"{host}/api/public/otel/v1/traces",
            {**headers, "Content-Type": _PROTOBUF, "x-langfuse-ingestion-version": "4"},
            _otlp(probe, environment),
        )
        if reply.status != _NOT_FOUND:
            return DeliveryResult.of(reply, outbound, _rejected(reply))
        reply = outbound.post(
            f"{host}/api/public/ingestion",
            {**headers, "Content-Type": "application/json"},
            _batch(probe, environment),
        )
        return DeliveryResult.of(reply, outbound, _not_taken(reply))


def _host(given: str) -> str:
    """The base of all URLs; LiteLLM takes a host without a scheme for http."""
    base = given.strip().rstrip("/")
    return base if base.lower().startswith(("http://", "https://")) else f"http://{base}"


def _credentials(public: str, secret: str) -> dict[str, str]:
    basic = base64.b64encode(f"{public}:{secret}".encode()).decode()
    return {
        "Authorization": f"Basic {basic}",
        "x-langfuse-public-key": public,
        "x-langfuse-sdk-name": "keyledger",
        "x-langfuse-sdk-version": "1",
    }


# --- OpenTelemetry -----------------------------------------------------------------------------------------------


def _otlp(probe: Probe, environment: str) -> bytes:
    nanoseconds = _nanoseconds(probe.at)
    payload = probe.payload
    span = Span(
        trace_id=_identity(probe, 16),
        span_id=_identity(probe, 8),
        name=_NAME,
        kind=Span.SpanKind.SPAN_KIND_CLIENT,
        start_time_unix_nano=nanoseconds,
        end_time_unix_nano=nanoseconds,
        attributes=_attributes(
            {
                "langfuse.trace.name": _NAME,
                "langfuse.environment": environment,
                "langfuse.observation.type": "generation",
                "langfuse.observation.model.name": TEST_MODEL,
                "langfuse.observation.input": _json(payload["messages"]),
                "langfuse.observation.output": _json(payload["response"]),
                "langfuse.observation.metadata": _json(probe.key_facts),
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": TEST_MODEL,
            }
        ),
    )
    request = ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(
                resource=Resource(attributes=_attributes({"service.name": "keyledger"})),
                scope_spans=[ScopeSpans(scope=InstrumentationScope(name="keyledger"), spans=[span])],
            )
        ]
    )
    return request.SerializeToString()


def _attributes(values: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=name, value=AnyValue(string_value=value)) for name, value in values.items()]


def _identity(probe: Probe, length: int) -> bytes:
    """The first bytes of the probe's id, which is a random UUID in hexadecimal."""
    return bytes.fromhex(probe.id.replace("-", ""))[:length]


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000


def _rejected(reply: Reply) -> str | None:
    """What a successful answer says of spans that it did not take."""
    try:
        if _PROTOBUF in reply.content_type:
            rejected = ExportTraceServiceResponse.FromString(reply.body).partial_success.rejected_spans
        else:
            rejected = int(reply.fields.get("partialSuccess", {}).get("rejectedSpans", 0))
    except (DecodeError, AttributeError, TypeError, ValueError):
        return None  # its status says that it was taken; what follows is of no standard
    return "the destination rejected the trace" if rejected else None


# --- the older batch format --------------------------------------------------------------------------------------


def _batch(probe: Probe, environment: str) -> bytes:
    at = iso(probe.at)
    trace = {"id": probe.id, "timestamp": at, "name": _NAME, "environment": environment}
    generation = {
        "id": f"{probe.id}-generation",
        "traceId": probe.id,
        "name": _NAME,
        "environment": environment,
        "startTime": at,
        "endTime": at,
        "model": TEST_MODEL,
        "input": probe.payload["messages"],
        "output": probe.payload["response"],
        "metadata": probe.key_facts,
    }
    events = (("trace-create", trace), ("generation-create", generation))
    return orjson.dumps(
        {
            "batch": [
                {"id": f"{probe.id}-{kind}", "type": kind, "timestamp": at, "body": body} for kind, body in events
            ]
        }
    )


def _not_taken(reply: Reply) -> str | None:
    """A batch is answered with 207, and what went wrong stands in its content."""
    return "the destination rejected the trace" if reply.fields.get("errors") else None


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()

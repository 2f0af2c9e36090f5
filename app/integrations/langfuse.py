"""Langfuse: traces go to the endpoint that the server has; a test's credentials are checked first.

Servers from 3.63 on take OpenTelemetry; an older one answers 404 there and gets its own batch format.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from app.clock import iso
from app.domain.standard_payload import Log
from app.integrations.batches import Limits, dumped, in_parts
from app.integrations.destinations import DeliveryResult
from app.integrations.otlp import PROTOBUF, REJECTED, export, json_text, rejection, span
from app.integrations.outbound import Outbound, Reply

_CLOUD = "https://cloud.langfuse.com"
_NOT_FOUND = 404
# Langfuse's API page: a batch may have 3.5 MB in total.
_LIMITS = Limits(items=512, bytes=3_500_000)


class Langfuse:
    """Variables: langfuse_public_key, langfuse_secret_key (or langfuse_secret), langfuse_host, _environment."""

    def send(self, variables: Mapping[str, str], logs: Sequence[Log], outbound: Outbound) -> DeliveryResult:
        public = variables.get("langfuse_public_key")
        secret = variables.get("langfuse_secret_key") or variables.get("langfuse_secret")
        if not public or not secret:
            return DeliveryResult.failed("langfuse_public_key and langfuse_secret_key are needed", outbound)
        host = _host(variables.get("langfuse_host") or _CLOUD)
        headers = _credentials(public, secret)
        if logs[0].is_test:
            reply = outbound.get(f"{host}/api/public/projects", headers)
            if reply.fault is not None:
                return DeliveryResult.of(reply, outbound)
        environment = variables.get("langfuse_environment") or "default"

        def post(part: Sequence[tuple[Log, Span]]) -> DeliveryResult:
            reply = outbound.post(
                f"{host}/api/public/otel/v1/traces",
                {**headers, "Content-Type": PROTOBUF, "x-langfuse-ingestion-version": "4"},
                export([span for _, span in part]),
            )
            if reply.status != _NOT_FOUND:
                return DeliveryResult.of(reply, outbound, rejection(reply))
            reply = outbound.post(
                f"{host}/api/public/ingestion",
                {**headers, "Content-Type": "application/json"},
                _batch([log for log, _ in part], environment),
            )
            return DeliveryResult.of(reply, outbound, _not_taken(reply))

        spans = [(log, span(log, _attributes(log, environment))) for log in logs]
        return in_parts(spans, lambda pair: pair[1].ByteSize(), _LIMITS, post)


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


def _attributes(log: Log, environment: str) -> dict[str, Any]:
    payload = log.payload
    return {
        "langfuse.trace.name": log.name,
        "langfuse.trace.tags": log.tags or None,
        "langfuse.environment": environment,
        "langfuse.observation.type": "generation",
        "langfuse.observation.level": "ERROR" if log.failed else None,
        "langfuse.observation.status_message": payload.get("error_str") if log.failed else None,
        "langfuse.observation.model.name": payload.get("model"),
        "langfuse.observation.input": json_text(payload.get("messages")),
        "langfuse.observation.output": json_text(payload.get("response")),
        "langfuse.observation.metadata": json_text(log.key_facts),
    }


# --- the older batch format --------------------------------------------------------------------------------------


def _batch(logs: Sequence[Log], environment: str) -> bytes:
    return dumped({"batch": [event for log in logs for event in _events(log, environment)]})


def _events(log: Log, environment: str) -> list[dict[str, Any]]:
    """The two events of a log; their identities are those of its trace and its span."""
    payload, started_at, identity = log.payload, iso(log.started_at), log.uuid.hex
    common = {"name": log.name, "environment": environment}
    trace = {
        **common,
        "id": identity,
        "timestamp": started_at,
        "userId": payload.get("end_user") or None,
        "sessionId": payload.get("session_id"),
        "tags": log.tags or None,
    }
    generation = {
        **common,
        "id": identity[16:],
        "traceId": identity,
        "startTime": started_at,
        "endTime": iso(log.ended_at),
        "level": "ERROR" if log.failed else "DEFAULT",
        "statusMessage": payload.get("error_str") if log.failed else None,
        "model": payload.get("model"),
        "input": payload.get("messages"),
        "output": payload.get("response"),
        "usage": {
            "input": payload.get("prompt_tokens"),
            "output": payload.get("completion_tokens"),
            "total": payload.get("total_tokens"),
            "totalCost": payload.get("response_cost"),
            "unit": "TOKENS",
        },
        "metadata": log.key_facts,
    }
    events = (("trace-create", trace), ("generation-create", generation))
    return [
        {"id": f"{identity}-{kind}", "type": kind, "timestamp": started_at, "body": body} for kind, body in events
    ]


def _not_taken(reply: Reply) -> str | None:
    """A batch is answered with 207, and what went wrong stands in its content."""
    return REJECTED if reply.fields.get("errors") else None

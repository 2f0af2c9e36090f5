"""Any OpenTelemetry collector: traces by OTLP over HTTP."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from app.domain.standard_payload import Log
from app.integrations.batches import Limits, in_parts
from app.integrations.destinations import DeliveryResult
from app.integrations.header_list import header_list
from app.integrations.otlp import PROTOBUF, export, json_text, rejection, span
from app.integrations.outbound import Outbound

_PATH = "/v1/traces"
# A batch of OpenTelemetry's own exporter, and what collectors usually take.
_LIMITS = Limits(items=512, bytes=4_000_000)


class Otel:
    """Variables: otel_endpoint, otel_headers (`name=value,…`, percent-encoded), capture_message_content."""

    def send(self, variables: Mapping[str, str], logs: Sequence[Log], outbound: Outbound) -> DeliveryResult:
        endpoint = variables.get("otel_endpoint", "").strip().rstrip("/")
        if not endpoint:
            return DeliveryResult.failed("otel_endpoint is missing", outbound)
        given = header_list(variables.get("otel_headers", ""))
        if given is None:
            return DeliveryResult.failed("otel_headers cannot be read: name=value,name=value", outbound)
        headers = {name: unquote(value) for name, value in given.items()} | {"Content-Type": PROTOBUF}
        url = endpoint if endpoint.endswith(_PATH) else endpoint + _PATH

        def post(spans: Sequence[Span]) -> DeliveryResult:
            reply = outbound.post(url, headers, export(spans))
            return DeliveryResult.of(reply, outbound, rejection(reply))

        with_content = variables.get("capture_message_content") != "no_content"
        return in_parts([span(log, _attributes(log, with_content)) for log in logs], Span.ByteSize, _LIMITS, post)


def _attributes(log: Log, with_content: bool) -> dict[str, Any]:
    facts = {f"metadata.{name}": value for name, value in log.key_facts.items()}
    tags = {"metadata.tags": log.tags or None}
    if not with_content:
        return facts | tags
    return (
        facts
        | tags
        | {
            "gen_ai.input.messages": json_text(log.payload.get("messages")),
            "gen_ai.output.messages": json_text(log.payload.get("response")),
        }
    )

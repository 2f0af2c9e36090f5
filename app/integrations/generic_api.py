"""A webhook: the standard payloads as one JSON array, with headers of the owner's choice."""

from collections.abc import Mapping, Sequence

from app.domain.standard_payload import Log
from app.integrations.batches import Limits, dumped, in_parts
from app.integrations.destinations import DeliveryResult
from app.integrations.header_list import header_list
from app.integrations.outbound import Outbound

# A webhook names no limits: LiteLLM's own number of logs, and what web servers usually take.
_LIMITS = Limits(items=512, bytes=4_000_000)


class GenericApi:
    """Variables: generic_api_endpoint, generic_api_headers (`name=value,name=value`)."""

    def send(self, variables: Mapping[str, str], logs: Sequence[Log], outbound: Outbound) -> DeliveryResult:
        endpoint = variables.get("generic_api_endpoint")
        if not endpoint:
            return DeliveryResult.failed("generic_api_endpoint is missing", outbound)
        headers = header_list(variables.get("generic_api_headers", ""))
        if headers is None:
            return DeliveryResult.failed("generic_api_headers cannot be read: name=value,name=value", outbound)
        headers = {"Content-Type": "application/json", **headers}

        def post(payloads: Sequence[bytes]) -> DeliveryResult:
            return DeliveryResult.of(outbound.post(endpoint, headers, b"[%b]" % b",".join(payloads)), outbound)

        return in_parts([dumped(log.payload) for log in logs], len, _LIMITS, post)

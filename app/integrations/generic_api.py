"""A webhook: the standard payloads as one JSON array, with headers of the owner's choice."""

import re
from collections.abc import Mapping, Sequence

from app.domain.standard_payload import Log
from app.integrations.batches import Limits, dumped, in_parts
from app.integrations.destinations import DeliveryResult
from app.integrations.outbound import OUR_HEADERS, Outbound

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x20-\x7e\xa1-\xff]*")
# A webhook names no limits: LiteLLM's own number of logs, and what web servers usually take.
_LIMITS = Limits(items=512, bytes=4_000_000)


class GenericApi:
    """Variables: generic_api_endpoint, generic_api_headers (`name=value,name=value`)."""

    def send(self, variables: Mapping[str, str], logs: Sequence[Log], outbound: Outbound) -> DeliveryResult:
        endpoint = variables.get("generic_api_endpoint")
        if not endpoint:
            return DeliveryResult.failed("generic_api_endpoint is missing", outbound)
        headers = _headers(variables.get("generic_api_headers", ""))
        if headers is None:
            return DeliveryResult.failed("generic_api_headers cannot be read: name=value,name=value", outbound)
        headers = {"Content-Type": "application/json", **headers}

        def post(payloads: Sequence[bytes]) -> DeliveryResult:
            return DeliveryResult.of(outbound.post(endpoint, headers, b"[%b]" % b",".join(payloads)), outbound)

        return in_parts([dumped(log.payload) for log in logs], len, _LIMITS, post)


def _headers(text: str) -> dict[str, str] | None:
    """The headers of a list, None where one of them cannot be one or is not the owner's to choose."""
    headers = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, separator, value = entry.partition("=")
        name, value = name.strip(), value.strip()
        if not separator or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            return None
        if name.lower() in OUR_HEADERS:
            return None
        headers["Content-Type" if name.lower() == "content-type" else name] = value
    return headers

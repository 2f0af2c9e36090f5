"""A webhook: the standard payloads as one JSON array, with headers of the owner's choice."""

import re
from collections.abc import Mapping

import orjson

from app.domain.standard_payload import Probe
from app.integrations.destinations import DeliveryResult
from app.integrations.outbound import OUR_HEADERS, Outbound

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x20-\x7e\xa1-\xff]*")


class GenericApi:
    """Variables: generic_api_endpoint, generic_api_headers (`name=value,name=value`)."""

    def send_test(self, variables: Mapping[str, str], probe: Probe, outbound: Outbound) -> DeliveryResult:
        endpoint = variables.get("generic_api_endpoint")
        if not endpoint:
            return DeliveryResult.failed("generic_api_endpoint is missing", outbound)
        headers = _headers(variables.get("generic_api_headers", ""))
        if headers is None:
            return DeliveryResult.failed("generic_api_headers cannot be read: name=value,name=value", outbound)
        headers = {"Content-Type": "application/json", **headers}
        reply = outbound.post(endpoint, headers, orjson.dumps([probe.payload]))
        return DeliveryResult.of(reply, outbound)


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

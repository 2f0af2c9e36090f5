"""Datadog: the standard payloads as log messages, for the intake of a site or for an agent of the owner's.

A site is one of Datadog's own: it becomes a part of the host that gets the API key.
"""

import gzip
import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.standard_payload import Log
from app.integrations.batches import Limits, dumped, in_parts
from app.integrations.destinations import DeliveryResult
from app.integrations.outbound import Outbound

_USUAL_SITE = "datadoghq.com"
_SITE = re.compile(r"(?:[a-z0-9]{1,16}\.)?(?:datadoghq\.com|datadoghq\.eu|ddog-gov\.com)")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
_USUAL_PORT = "10518"
_PORT = re.compile(r"[0-9]{1,5}")
# zlib's own middle way: more takes a worker's time and saves little.
_COMPRESSION = 6
_NOT_IN_TAGS = re.compile(r"[\s,]+")
# LiteLLM's own bounds, within those of Datadog's intake (1,000 logs and 5 MB before compression).
_LIMITS = Limits(items=1000, bytes=4_000_000)


class Datadog:
    """Variables: dd_api_key, dd_site; or dd_agent_host and dd_agent_port."""

    def send(self, variables: Mapping[str, str], logs: Sequence[Log], outbound: Outbound) -> DeliveryResult:
        agent, key = variables.get("dd_agent_host"), variables.get("dd_api_key")
        if not agent and not key:
            return DeliveryResult.failed("dd_api_key is missing", outbound)
        url = _agents(agent, variables.get("dd_agent_port")) if agent else _sites(variables.get("dd_site"))
        if url is None:
            fault = "dd_agent_host and dd_agent_port name no agent" if agent else "dd_site is no site of Datadog's"
            return DeliveryResult.failed(fault, outbound)
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        if key:
            headers["DD-API-KEY"] = key

        def post(messages: Sequence[bytes]) -> DeliveryResult:
            body = gzip.compress(b"[%b]" % b",".join(messages), _COMPRESSION, mtime=0)
            return DeliveryResult.of(outbound.post(url, headers, body), outbound)

        return in_parts([dumped(_message(log)) for log in logs], len, _LIMITS, post)


def _sites(site: str | None) -> str | None:
    name = (site or _USUAL_SITE).lower()
    return f"https://http-intake.logs.{name}/api/v2/logs" if _SITE.fullmatch(name) else None


def _agents(host: str, port: str | None) -> str | None:
    number = port or _USUAL_PORT
    if not _HOST.fullmatch(host) or not _PORT.fullmatch(number):
        return None
    return f"http://{host}:{number}/api/v2/logs"


def _message(log: Log) -> dict[str, Any]:
    """One log; its identity stands beside the message, for whoever removes what came twice."""
    return {
        "ddsource": "litellm",  # whose pipeline reads the standard payload
        "ddtags": _tags(log),
        "hostname": "",
        "service": "keyledger",
        "status": "error" if log.failed else "info",
        "message": dumped(log.payload).decode(),
        "log_id": log.id,
    }


def _tags(log: Log) -> str:
    named = [("team", log.key_facts.get("user_api_key_team_id")), ("model", log.payload.get("model"))]
    named += [("request_tag", tag) for tag in log.tags]
    return ",".join(f"{name}:{_NOT_IN_TAGS.sub('_', str(value))}" for name, value in named if value)

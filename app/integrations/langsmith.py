"""LangSmith: each log is a run of a project, under the log's own identity."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

from app.clock import iso
from app.domain.standard_payload import Log
from app.integrations.batches import Limits, dumped, in_parts
from app.integrations.destinations import DeliveryResult
from app.integrations.outbound import Outbound

_CLOUD = "https://api.smith.langchain.com"
_API = "/api/v1"
_USUAL_PROJECT = "litellm-completion"
_RATE = re.compile(r"(?:0|1)(?:\.[0-9]{0,18})?|\.[0-9]{1,18}")
_CONFLICT = 409
# The defaults of LangSmith's own client.
_LIMITS = Limits(items=100, bytes=20 * 1024 * 1024)


class Langsmith:
    """Variables: langsmith_api_key, _project, _base_url, _tenant_id, _sampling_rate (0 to 1; tests always go)."""

    def send(self, variables: Mapping[str, str], logs: Sequence[Log], outbound: Outbound) -> DeliveryResult:
        key = variables.get("langsmith_api_key")
        if not key:
            return DeliveryResult.failed("langsmith_api_key is missing", outbound)
        rate = variables.get("langsmith_sampling_rate") or "1"
        if not _RATE.fullmatch(rate) or float(rate) > 1:
            return DeliveryResult.failed("langsmith_sampling_rate must be a number from 0 to 1", outbound)
        headers = {"Content-Type": "application/json", "x-api-key": key}
        if tenant := variables.get("langsmith_tenant_id"):
            headers["x-tenant-id"] = tenant
        url = f"{_base(variables.get('langsmith_base_url') or _CLOUD)}/runs/batch"
        project = variables.get("langsmith_project") or _USUAL_PROJECT

        def post(runs: Sequence[bytes]) -> DeliveryResult:
            reply = outbound.post(url, headers, b'{"post":[%b]}' % b",".join(runs))
            if reply.status == _CONFLICT:  # they are there already, from an attempt whose answer was lost
                return DeliveryResult.taken(outbound, reply)
            return DeliveryResult.of(reply, outbound)

        chosen = [log for log in logs if log.is_test or _is_sampled(log, float(rate))]
        if not chosen:
            return DeliveryResult.taken(outbound)
        return in_parts([dumped(_run(log, project)) for log in chosen], len, _LIMITS, post)


def _base(given: str) -> str:
    base = given.strip().rstrip("/")
    return base if base.endswith(_API) else base + _API


def _is_sampled(log: Log, rate: float) -> bool:
    """Whether a log is of the part that is sent: by its identity, so that a repeat is decided alike."""
    return int.from_bytes(hashlib.sha256(log.uuid.bytes).digest()[:6]) < rate * 2**48


def _run(log: Log, project: str) -> dict[str, Any]:
    payload, identity = log.payload, str(log.uuid)
    response = payload.get("response")
    return {
        "id": identity,
        "trace_id": identity,
        "dotted_order": f"{log.started_at.astimezone(UTC):%Y%m%dT%H%M%S%fZ}{identity}",
        "name": log.name,
        "run_type": "llm",
        "session_name": project,
        "start_time": iso(log.started_at),
        "end_time": iso(log.ended_at),
        "inputs": {"messages": payload.get("messages")},
        "outputs": response if isinstance(response, dict) else {"output": response},
        "error": (payload.get("error_str") or "the call failed") if log.failed else None,
        "tags": log.tags,
        "extra": {"metadata": _metadata(log), "invocation_params": payload.get("model_parameters") or {}},
    }


def _metadata(log: Log) -> dict[str, Any]:
    """The key's facts, and what LangSmith looks for by names of its own."""
    payload = log.payload
    return {
        **log.key_facts,
        "ls_provider": payload.get("custom_llm_provider"),
        "ls_model_name": payload.get("model"),
        "ls_model_type": "chat",
        "usage_metadata": {
            "input_tokens": payload.get("prompt_tokens"),
            "output_tokens": payload.get("completion_tokens"),
            "total_tokens": payload.get("total_tokens"),
            "total_cost": payload.get("response_cost"),
        },
    }

"""The body of /key/health: LiteLLM's shape and texts, and beside them the result of each callback."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from app.services.call_logs.callback_probes import CallbackHealth


def key_health(results: Sequence[CallbackHealth] | None) -> dict[str, Any]:
    if results is None:
        return {"key": "healthy", "logging_callbacks": None}
    status = "healthy" if all(result.ok for result in results) else "unhealthy"
    callbacks = {
        "callbacks": [result.callback_name for result in results],
        "status": status,
        "details": _details(results),
        "results": [_result(result) for result in results],
    }
    return {"key": status, "logging_callbacks": callbacks}


def _result(result: CallbackHealth) -> dict[str, Any]:
    fields = asdict(result)
    return {"status": "healthy" if fields.pop("ok") else "unhealthy", **fields}


def _details(results: Sequence[CallbackHealth]) -> str:
    """LiteLLM's sentence; the trailing space and the quotes of Python's own list are part of it."""
    faults = [result for result in results if not result.ok]
    if not faults:
        names = [result.callback_name for result in results]
        return f"No logger exceptions triggered, system is healthy. Manually check if logs were sent to {names} "
    reasons = [
        str(fault.reason) if len(results) == 1 else f"{fault.callback_name}: {fault.reason}" for fault in faults
    ]
    return f"Logger exceptions triggered, system is unhealthy: {'; '.join(reasons)}"

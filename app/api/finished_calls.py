"""What requests say of a call that is over, read into the terms of the use cases."""

from typing import Any

from app.domain import money
from app.domain.finished_calls import FinishedCall
from app.errors import InvalidRequest
from app.services.access.refusals import rules
from app.services.decisions.reservations import Subject

# Fields that are told of a call as they are sent.
_AS_SENT = (
    *("call_type", "route", "model", "model_group", "model_id", "custom_llm_provider", "api_base", "end_user"),
    *("session_id", "trace_id", "cache_hit", "messages", "response", "error_str", "error_information"),
    *("model_parameters", "metadata"),
)


def finished_call(sent: dict[str, Any]) -> FinishedCall:
    """The call that a gateway tells of; raises InvalidRequest."""
    if sent.get("status") is None:
        raise InvalidRequest("status is needed: success or failure.", "status")
    used = sent.get("usage") or {}
    with rules():
        return FinishedCall(
            status=sent["status"],
            started_at=sent.get("start_time"),
            ended_at=sent.get("end_time"),
            cost_nanos=nanos(sent, "response_cost"),
            input_tokens=used.get("input_tokens"),
            output_tokens=used.get("output_tokens"),
            total_tokens=used.get("total_tokens"),
            tags=tuple(sent.get("request_tags") or ()),
            **{name: sent.get(name) for name in _AS_SENT},
        )


def batch_of(sent: dict[str, Any], name: str) -> list[dict[str, Any]] | None:
    """The calls that stand in the place of one; raises InvalidRequest where one stands beside them."""
    batch: list[dict[str, Any]] | None = sent.get(name)
    beside = sorted(field for field, value in sent.items() if field != name and value is not None)
    if batch is not None and beside:
        raise InvalidRequest(f"Send either {name} or one call, not both: {', '.join(beside)}.", name)
    return batch


def subject(sent: dict[str, Any]) -> Subject:
    """Which call is meant."""
    return Subject(sent.get("reservation_id"), sent.get("request_id"), sent.get("key"))


def nanos(sent: dict[str, Any], name: str) -> int | None:
    """An amount of dollars; raises InvalidValue."""
    return None if sent.get(name) is None else money.nanos(sent[name], name)

"""The endpoints of gateways: from HTTP to one use case each, and back."""

from typing import Any

from flask import Response, g, request

from app import metrics
from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer
from app.api.errors import error_body
from app.api.finished_calls import batch_of, finished_call, nanos, subject
from app.api.responses import decisions as responses
from app.api.schemas.decisions import (
    ExplainRequestSchema,
    ExplanationSchema,
    ExtendedSchema,
    ExtendRequestSchema,
    ReleasedSchema,
    SettledSchema,
    SettleRequestSchema,
    SubjectSchema,
    VerdictSchema,
    VerifyRequestSchema,
)
from app.domain.estimates import Estimate
from app.domain.verdicts import Call
from app.errors import InvalidRequest, KeyNotFound, ServiceError
from app.services.access.refusals import rules
from app.services.decisions.charges import Usage
from app.services.decisions.judging import Asked, request_id

decisions = Blueprint("decisions", deferred=True)
settlements = Blueprint("settlements")


@decisions.operation(
    "/key/verify",
    "POST",
    "verify_key_verify_post",
    VerdictSchema(),
    summary="Verify",
    raises=(InvalidRequest,),
)
@decisions.takes(VerifyRequestSchema())
def verify(sent: dict[str, Any]) -> Response:
    """May this key make this call?

    Judges the call by its key and everything around it, checks every limit, and holds what the call may cost, or
    nothing at all. A refusal is an answer like any other (200), with its stable code and what LiteLLM would have
    answered. Settle, release or extend what was held before its lease ends; time gives back what nobody settles.
    """
    asked = _asked(sent)
    verdict = services().decisions.verify(g.credential, asked, request.path)
    metrics.DECISIONS.labels("allowed" if verdict.refused is None else verdict.refused.code.value).inc()
    return answer(responses.verdict(asked, verdict))


@settlements.operation(
    "/key/settle",
    "POST",
    "settle_key_settle_post",
    SettledSchema(),
    summary="Settle",
    raises=(InvalidRequest, KeyNotFound),
)
@settlements.takes(SettleRequestSchema())
def settle(sent: dict[str, Any]) -> Response:
    """Charge a call.

    Charge one call, or each of `charges`, answered on its own. A charge counts exactly once by its key and request
    id: sent again, it says what was charged first. Tokens are priced where no cost is given; what is above the
    estimate is charged in full.
    """
    batch = batch_of(sent, "charges")
    if batch is None:
        (charged,) = services().settlements.settle(act(), [_usage(sent)])
        if isinstance(charged, ServiceError):
            raise charged
        return answer(responses.settled(charged))
    read = [_read(charge) for charge in batch]
    settled = iter(services().settlements.settle(act(), [usage for usage in read if isinstance(usage, Usage)]))
    results = [next(settled) if isinstance(found, Usage) else found for found in read]
    shown = [
        {"error": error_body(result)} if isinstance(result, ServiceError) else responses.settled(result)
        for result in results
    ]
    return answer({"results": shown})


@settlements.operation(
    "/key/release",
    "POST",
    "release_key_release_post",
    ReleasedSchema(),
    summary="Release",
    raises=(InvalidRequest, KeyNotFound),
)
@settlements.takes(SubjectSchema())
def release(sent: dict[str, Any]) -> Response:
    """Give back what is held.

    Give back what is held for a call that has cost nothing. Doing it again changes nothing, and what was charged
    stays charged.
    """
    reservation, state = services().settlements.release(act(), subject(sent))
    return answer({"key_id": reservation.key_id, "request_id": reservation.request_id, "state": state})


@settlements.operation(
    "/key/extend",
    "POST",
    "extend_key_extend_post",
    ExtendedSchema(),
    summary="Extend",
    raises=(InvalidRequest, KeyNotFound),
)
@settlements.takes(ExtendRequestSchema())
def extend(sent: dict[str, Any]) -> Response:
    """Hold for longer.

    Let what is held for a call stand for longer, counted from now. Only what is still open can be extended.
    """
    lease_seconds = _lease(sent)
    reservation, found = services().settlements.extend(act(), subject(sent), lease_seconds)
    return answer(responses.extended(reservation, found))


@settlements.operation(
    "/key/explain",
    "POST",
    "explain_key_explain_post",
    ExplanationSchema(),
    summary="Explain",
    raises=(InvalidRequest,),
)
@settlements.takes(ExplainRequestSchema())
def explain(sent: dict[str, Any]) -> Response:
    """Why a call would be allowed or refused.

    What verify would answer, now or `at` another time, and every rule behind it; nothing is held.
    """
    asked = _asked(sent)
    return answer(responses.explanation(asked, services().explaining.explain(act(), asked, sent.get("at"))))


def _asked(sent: dict[str, Any]) -> Asked:
    with rules():
        call = Call(
            model=sent.get("model"),
            fallbacks=tuple(sent.get("fallbacks") or ()),
            route=sent.get("route"),
            params=frozenset(sent.get("params") or ()),
            cache=sent.get("cache") or (),
            guardrails=sent.get("guardrails"),
            tools=sent.get("tools") or (),
            vector_stores=sent.get("vector_stores") or (),
            mcp_servers=sent.get("mcp_servers") or (),
            tags=tuple(sent.get("tags") or ()),
            user=sent.get("user"),
        )
        said = sent.get("estimate") or {}
        estimate = Estimate(
            cost_nanos=nanos(said, "cost"),
            input_tokens=said.get("input_tokens"),
            output_tokens=said.get("output_tokens"),
            required=bool(sent.get("require_estimate")),
        )
    return Asked(sent["key"], call, estimate, sent.get("request_id") or request_id(), _lease(sent))


def _read(sent: dict[str, Any]) -> Usage | ServiceError:
    """A charge among others, or what is wrong with it: the others are charged all the same."""
    try:
        return _usage(sent)
    except ServiceError as error:
        return error


def _usage(sent: dict[str, Any]) -> Usage:
    used = sent.get("usage") or {}
    with rules():
        cost = nanos(sent, "cost")
    return Usage(
        subject=subject(sent),
        cost_nanos=cost,
        input_tokens=used.get("input_tokens"),
        output_tokens=used.get("output_tokens"),
        model=sent.get("model"),
        user=sent.get("user"),
        tags=tuple(sent.get("tags") or ()),
        occurred_at=sent.get("occurred_at"),
        log=None if sent.get("log") is None else finished_call(sent["log"]),
    )


def _lease(sent: dict[str, Any]) -> float | None:
    seconds = sent.get("lease_seconds")
    if seconds is None:
        return None
    if not seconds.is_finite() or seconds <= 0:
        raise InvalidRequest("lease_seconds must be a number above 0.", "lease_seconds")
    return float(seconds)

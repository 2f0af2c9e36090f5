"""Verdicts, charges and holds as a gateway reads them."""

from datetime import datetime
from typing import Any

from app.clock import iso
from app.domain.limit_states import LimitKind, LimitState
from app.domain.money import dollars, shown
from app.domain.reservations import Reservation
from app.domain.snapshots import Snapshot
from app.services.decisions.charges import Settled
from app.services.decisions.decisions import Verdict, states_of
from app.services.decisions.explaining import Explanation
from app.services.decisions.judging import Asked, Dismissed


def verdict(asked: Asked, found: Verdict) -> dict[str, Any]:
    refused = found.refused
    case = found.case
    return {
        "allowed": found.allowed,
        "code": "allowed" if refused is None else refused.code,
        "message": "" if refused is None else refused.message,
        "status": 200 if refused is None else refused.status,
        "type": None if refused is None else refused.type,
        "param": None if refused is None else refused.param,
        "request_id": asked.request_id,
        "reservation_id": found.reservation_id,
        "lease_ends_at": iso(found.lease_ends_at),
        "replayed": found.replayed,
        "key": None if case.snapshot is None else _key(case.snapshot),
        "model": case.model,
        "limits": _limits(found),
        "retry_after": found.retry_after,
    }


def _limits(found: Verdict) -> list[dict[str, Any]]:
    """Each limit with what is used and held of it; nothing where nobody has counted."""
    if isinstance(found.case, Dismissed) or found.numbers is None:
        return []
    return [_limit(state) for state in states_of(found.case, found.numbers)]


def explanation(asked: Asked, found: Explanation) -> dict[str, Any]:
    """The verdict of a call that was only looked at, with every rule behind it."""
    verdict_fields = verdict(asked, found.verdict)
    for name in ("request_id", "reservation_id", "lease_ends_at", "replayed"):
        del verdict_fields[name]
    return {
        **verdict_fields,
        "at": iso(found.verdict.case.at),
        "rules": [
            {
                "rule": rule.name,
                "inputs": rule.inputs,
                "outcome": "passed" if rule.refused is None else "refused",
                "code": None if rule.refused is None else rule.refused.code,
                "message": None if rule.refused is None else rule.refused.message,
            }
            for rule in found.rules
        ],
    }


def _limit(state: LimitState) -> dict[str, Any]:
    def shown_as(amount: int) -> float:
        return dollars(amount) if state.kind is LimitKind.BUDGET else amount

    return {
        "scope": state.scope.kind,
        "id": state.scope.id,
        "sub": state.scope.sub or None,
        "kind": state.kind,
        "limit": shown_as(state.limit),
        "used": shown_as(state.used),
        "held": shown_as(state.held),
        "remaining": shown_as(state.remaining),
        "resets_at": iso(state.resets_at),
    }


def _key(snapshot: Snapshot) -> dict[str, Any]:
    key = snapshot.key
    metadata = {name: value for name, value in key["metadata"].items() if name != "logging"}
    return {
        "key_id": key["key_id"],
        "key_alias": key["key_alias"],
        "user_id": key["user_id"],
        "team_id": key["team_id"],
        "organization_id": snapshot.organization_id,
        "metadata": metadata,
        "tags": _list(metadata, "tags"),
        "permissions": key["permissions"],
        "config": key["config"],
        "aliases": key["aliases"],
        "guardrails": _list(metadata, "guardrails"),
        "object_permission": snapshot.object_permission,
        "allowed_cache_controls": key["allowed_cache_controls"],
    }


def _list(metadata: dict[str, Any], name: str) -> list[Any]:
    found = metadata.get(name)
    return found if isinstance(found, list) else []


def settled(found: Settled) -> dict[str, Any]:
    held, logged = found.held_nanos, found.logged
    told = {} if logged is None else {"log": {"callbacks": logged.callbacks, "duplicate": logged.duplicate}}
    return {
        "key_id": found.key_id,
        "request_id": found.request_id,
        "model": found.model,
        "cost": dollars(found.amount_nanos),
        "estimate": shown(held),
        "overrun": dollars(0 if held is None else max(0, found.amount_nanos - held)),
        "duplicate": found.duplicate,
        **told,
    }


def extended(reservation: Reservation, found: datetime | str) -> dict[str, Any]:
    ends_at = found if isinstance(found, datetime) else None
    return {
        "key_id": reservation.key_id,
        "request_id": reservation.request_id,
        "extended": ends_at is not None,
        "state": "open" if isinstance(found, datetime) else found,
        "lease_ends_at": iso(ends_at),
    }

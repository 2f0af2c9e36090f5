"""Verdicts, charges and holds as a gateway reads them."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from app.clock import iso
from app.domain.limits import Numbers, Plan
from app.domain.money import dollars, shown
from app.domain.reservations import Reservation
from app.domain.scopes import Scope
from app.domain.snapshots import Snapshot
from app.services.decisions import Verdict
from app.services.judging import Asked, Case
from app.services.settlements import Settled


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
        "limits": list(limits(case.plan, found.numbers, case.at)) if isinstance(case, Case) else [],
        "retry_after": found.retry_after,
    }


def limits(plan: Plan, numbers: Numbers | None, now: datetime) -> Iterator[dict[str, Any]]:
    """Each limit of a plan with what is used and held of it; nothing where nobody has counted."""
    if numbers is None:
        return
    for budget, used, held in zip(plan.budgets, numbers.used, numbers.held, strict=True):
        window = budget.account.window
        yield {
            **_scope(budget.account.scope),
            "kind": "budget",
            "limit": dollars(budget.cap_nanos),
            "used": dollars(used),
            "held": dollars(held),
            "remaining": dollars(max(0, budget.cap_nanos - used - held)),
            "resets_at": None if window is None else iso(window.end),
        }
    minute_end = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    for rate, count in zip(plan.rates, numbers.rates, strict=True):
        yield _counted(rate.scope, rate.unit.value, rate.limit, count, 0, iso(minute_end))
    for slots, count in zip(plan.slots, numbers.slots, strict=True):
        yield _counted(slots.scope, "parallel_requests", slots.limit, 0, count, None)


def _counted(scope: Scope, kind: str, limit: int, used: int, held: int, resets_at: str | None) -> dict[str, Any]:
    return {
        **_scope(scope),
        "kind": kind,
        "limit": limit,
        "used": used,
        "held": held,
        "remaining": max(0, limit - used - held),
        "resets_at": resets_at,
    }


def _scope(scope: Scope) -> dict[str, Any]:
    return {"scope": scope.kind.value, "id": scope.id, "sub": scope.sub or None}


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
    held = found.held_nanos
    return {
        "key_id": found.key_id,
        "request_id": found.request_id,
        "model": found.model,
        "cost": dollars(found.amount_nanos),
        "estimate": shown(held),
        "overrun": dollars(0 if held is None else max(0, found.amount_nanos - held)),
        "duplicate": found.duplicate,
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

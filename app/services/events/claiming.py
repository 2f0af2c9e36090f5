"""Taking deliveries in hand: a target is leased to one sender at a time, whichever machine that is on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, select, union_all, update

from app.domain.deliveries import Claimed, Subject
from app.models import deliveries, events, targets
from app.services.events.event_routing import TOLD, told

# So many targets are sent to side by side.
MOST_TARGETS = 8

WAITING = and_(deliveries.c.delivered_at.is_(None), deliveries.c.parked_at.is_(None))
_HELD = ("delivery_id", "subject", "subject_id", "recipient", "sealed", "created_at", "last_error")


@dataclass(frozen=True, slots=True)
class Claim:
    """A target, the end of the lease by which its holder is known, and what is to be sent to it."""

    target: str
    lease: datetime
    claimed: Sequence[Claimed]


def claim(transaction: Connection, most: Callable[[str], int], now: datetime, lease: datetime) -> list[Claim]:
    """Lease up to MOST_TARGETS that are due, and load what waits for each: four statements at the most.

    `most` is how many deliveries its sender takes at a time. A target that has failed is tried with one alone.
    """
    due = transaction.execute(
        select(targets.c.target, targets.c.failures)
        .where(targets.c.next_attempt_at <= now)
        .order_by(targets.c.next_attempt_at, targets.c.target)
        .limit(MOST_TARGETS)
        .with_for_update(skip_locked=True)
    ).all()
    if not due:
        return []
    transaction.execute(
        update(targets).where(targets.c.target.in_([row.target for row in due])).values(next_attempt_at=lease)
    )
    waiting = _waiting(transaction, {row.target: 1 if row.failures else most(row.target) for row in due})
    named = [row.subject_id for rows in waiting.values() for row in rows if row.subject == Subject.EVENT]
    happened = {}
    if named:
        found = transaction.execute(select(*TOLD).where(events.c.event_id.in_(named)))
        happened = {row.event_id: told(row) for row in found}
    return [
        Claim(
            target,
            lease,
            [
                Claimed(
                    row.delivery_id,
                    Subject(row.subject),
                    row.subject_id,
                    row.recipient,
                    row.sealed,
                    row.created_at,
                    happened.get(row.subject_id) if row.subject == Subject.EVENT else None,
                    row.last_error,
                )
                for row in rows
            ],
        )
        for target, rows in waiting.items()
    ]


def _waiting(transaction: Connection, most: dict[str, int]) -> dict[str, list[Any]]:
    """The first deliveries of each target, in one statement: each part of it walks the index as far as it goes."""
    parts = [
        select(deliveries.c.target, *(deliveries.c[name] for name in _HELD))
        .where(deliveries.c.target == target, WAITING)
        .order_by(deliveries.c.attempts, deliveries.c.delivery_id)
        .limit(number)
        .subquery()
        for target, number in most.items()
    ]
    found: dict[str, list[Any]] = {target: [] for target in most}
    for row in transaction.execute(union_all(*(select(part) for part in parts))):
        found[row.target].append(row)
    return found

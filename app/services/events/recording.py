"""Writing down what became of a claim: of each delivery, and of the target as a whole."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, case, exists, literal, select, update

from app.domain.deliveries import Subject, backoff_seconds
from app.integrations.destinations import DeliveryResult
from app.models import deliveries, targets
from app.services.events.claiming import WAITING, Claim

LONGEST_ERROR = 300

# What else goes when a subject was delivered somewhere, in the same transaction.
Delivered = Callable[[Connection, Sequence[str]], None]


@dataclass(frozen=True, slots=True)
class Recorded:
    """How many deliveries a claim has brought to an end, and how many of these were parked."""

    ended: int
    parked: int


def record(
    transaction: Connection,
    claim: Claim,
    results: Mapping[int, DeliveryResult],
    on_delivered: Mapping[Subject, Delivered],
    now: datetime,
    chance: float,
) -> Recorded:
    """Record the results of a claim; what has none stays as it is. Four statements, and those of `on_delivered`.

    The target is locked first, so that what is routed meanwhile is either seen here or makes it due again. Where
    the lease has passed to somebody else, the target's next attempt is theirs to set.
    """
    target = transaction.execute(
        select(targets.c.next_attempt_at, targets.c.failures)
        .where(targets.c.target == claim.target)
        .with_for_update()
    ).one()
    taken = {delivery_id for delivery_id, result in results.items() if result.ok}
    failed = {delivery_id: result for delivery_id, result in results.items() if not result.ok}
    if taken:
        transaction.execute(
            update(deliveries)
            .where(deliveries.c.delivery_id.in_(taken))
            .values(
                attempts=deliveries.c.attempts + 1,
                delivered_at=now,
                parked_at=None,
                last_error=None,
                sealed=None,
            )
        )
        told = [each for each in claim.claimed if each.delivery_id in taken]
        for subject, settle in on_delivered.items():
            if ids := [each.subject_id for each in told if each.subject is subject]:
                settle(transaction, ids)
    if failed:
        _record_failures(transaction, failed, now)
    holds = target.next_attempt_at == claim.lease
    state = _state_of_target(results.values(), target.failures, now, chance, holds=holds)
    if state:
        transaction.execute(update(targets).where(targets.c.target == claim.target).values(state))
    parked = sum(not result.retryable for result in failed.values())
    return Recorded(len(taken) + parked, parked)


def _record_failures(transaction: Connection, failed: Mapping[int, DeliveryResult], now: datetime) -> None:
    """What may pass waits on; what will not is parked. What somebody else has delivered meanwhile stays so."""
    transaction.execute(
        update(deliveries)
        .where(deliveries.c.delivery_id == bindparam("failed"), deliveries.c.delivered_at.is_(None))
        .values(
            attempts=deliveries.c.attempts + 1, last_error=bindparam("error"), parked_at=bindparam("parked_at")
        ),
        [
            {"failed": delivery_id, "error": _error(result), "parked_at": None if result.retryable else now}
            for delivery_id, result in sorted(failed.items())
        ],
    )


def _state_of_target(results: Any, failures: int, now: datetime, chance: float, *, holds: bool) -> dict[str, Any]:
    """The columns of the target that change; a single success shows that it is there."""
    passing = [result for result in results if not result.ok and result.retryable]
    refused = [result for result in results if not result.ok and not result.retryable]
    state: dict[str, Any] = {}
    if any(result.ok for result in results):
        failures = 0
        state |= {"last_delivered_at": now, "last_error": None}
    if wrong := [*passing, *refused]:
        state["last_error"] = _error(wrong[0])
    if not holds:
        return state
    if passing:
        failures += 1
        asked = max((result.retry_after_seconds or 0.0 for result in passing), default=0.0)
        rest = backoff_seconds(failures, asked, chance)
        return {**state, "failures": failures, "next_attempt_at": now + timedelta(seconds=rest)}
    waits = exists().where(deliveries.c.target == targets.c.target, WAITING)
    # Something that could not even be tried says nothing of the target.
    return {
        **state,
        "failures": 0 if results else failures,
        "next_attempt_at": case((waits, literal(now, targets.c.next_attempt_at.type)), else_=None),
    }


def _error(result: DeliveryResult) -> str:
    return (result.reason or "it was not delivered")[:LONGEST_ERROR]

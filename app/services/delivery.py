"""What must reach the outside is a row of the transaction that made it true, and so is whom it goes to."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func

from app.db import insertion
from app.domain.deliveries import Route
from app.models import deliveries, events, targets

# The name under which a plaintext is sealed that a mail shall hold.
SEALED = "event.sealed"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing to tell; `fact` makes it unique where the same fact could be told twice.

    `sealed` is a plaintext that a mail shall hold, sealed; it is erased when that is sent, or after a day.
    """

    kind: str
    entity: str
    entity_id: str
    payload: Mapping[str, Any]
    fact: str | None = None
    sealed: str | None = field(default=None, repr=False)


def enqueue(transaction: Connection, happened: Sequence[Event], now: datetime) -> None:
    """Write the events down in one statement; a fact that was told before is left alone."""
    if not happened:
        return
    transaction.execute(
        insertion(transaction, events).on_conflict_do_nothing(index_elements=["fact"]),
        [
            {
                "event_id": str(uuid.uuid4()),
                "kind": event.kind,
                "entity": event.entity,
                "entity_id": event.entity_id,
                "fact": event.fact,
                "payload": dict(event.payload),
                "sealed": event.sealed,
                "created_at": now,
            }
            for event in happened
        ],
    )


def address(transaction: Connection, routes: Sequence[Route], now: datetime) -> None:
    """Write a delivery for each route, once however often it is routed; two statements.

    The targets come first: whoever records what was sent has their lock when it looks for what still waits. Nobody
    but the holder of a target's lease moves the time of its next attempt, where there is one.
    """
    if not routes:
        return
    wake(transaction, {route.target for route in routes}, now)
    transaction.execute(
        insertion(transaction, deliveries).on_conflict_do_nothing(),
        [
            {
                "target": route.target,
                "subject": route.subject.value,
                "subject_id": route.subject_id,
                "recipient": route.recipient,
                "sealed": route.sealed,
                "happened_at": route.happened_at,
                "created_at": now,
            }
            for route in routes
        ],
    )


def wake(transaction: Connection, names: set[str], now: datetime) -> None:
    """Make the targets due for which nothing has waited, and lock them all, in one order everywhere."""
    if not names:
        return
    statement = insertion(transaction, targets)
    due = func.coalesce(targets.c.next_attempt_at, statement.excluded.next_attempt_at)
    transaction.execute(
        statement.on_conflict_do_update(index_elements=["target"], set_={"next_attempt_at": due}),
        [{"target": name, "next_attempt_at": now} for name in sorted(names)],
    )

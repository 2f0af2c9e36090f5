"""What must reach the outside is a row of the transaction that made it true, and so is whom it goes to."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert

from app.db import insertion
from app.domain.deliveries import Route, Subject
from app.models import deliveries, events, targets

# The name under which a plaintext is sealed that a mail or a webhook shall hold.
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


@dataclass(frozen=True, slots=True)
class Handover:
    """An event that goes to one receiver and nobody else, with the sealed text that it is about.

    The id is given here: it is written down elsewhere as well.
    """

    event_id: str
    event: Event
    target: str
    recipient: str
    sealed: str = field(repr=False)


def enqueue(transaction: Connection, happened: Sequence[Event], now: datetime) -> None:
    """Write the events down in one statement; a fact that was told before is left alone."""
    if not happened:
        return
    transaction.execute(
        insertion(transaction, events).on_conflict_do_nothing(index_elements=["fact"]),
        [_row(str(uuid.uuid4()), event, now) for event in happened],
    )


def hand_over(transaction: Connection, handovers: Sequence[Handover], now: datetime) -> None:
    """Write the events down as routed already, each with its one delivery; three statements."""
    if not handovers:
        return
    transaction.execute(
        insert(events), [{**_row(each.event_id, each.event, now), "routed_at": now} for each in handovers]
    )
    routes = [
        Route(each.target, Subject.EVENT, each.event_id, each.recipient, each.sealed, now) for each in handovers
    ]
    address(transaction, routes, now)


def withdraw(
    transaction: Connection, event_ids: Sequence[str] | Select[Any], target: str | None = None
) -> Sequence[str]:
    """Drop of these events the deliveries that have not arrived, and what is sealed of them; one statement.

    With a `target`, those to others are left alone.
    Answers those of which something was dropped. They go to nobody any more, and nobody has to look after them.
    What somebody is sending at this moment may arrive all the same, and is not recorded.
    """
    conditions: list[ColumnElement[bool]] = [
        deliveries.c.subject_id.in_(event_ids),
        deliveries.c.delivered_at.is_(None),
    ]
    if target is not None:
        conditions.append(deliveries.c.target == target)
    withdrawn = transaction.execute(
        delete(deliveries)
        .where(deliveries.c.subject == Subject.EVENT, *conditions)
        .returning(deliveries.c.subject_id)
    )
    return withdrawn.scalars().all()


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


def confirm(transaction: Connection, names: Sequence[str], now: datetime) -> None:
    """Note that these targets have taken something; one statement."""
    statement = insertion(transaction, targets)
    transaction.execute(
        statement.on_conflict_do_update(index_elements=["target"], set_={"last_delivered_at": now}),
        [{"target": name, "last_delivered_at": now} for name in sorted(names)],
    )


def _row(event_id: str, event: Event, now: datetime) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "kind": event.kind,
        "entity": event.entity,
        "entity_id": event.entity_id,
        "fact": event.fact,
        "payload": dict(event.payload),
        "sealed": event.sealed,
        "created_at": now,
    }

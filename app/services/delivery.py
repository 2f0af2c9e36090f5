"""The outbox: what must reach the outside is a row of the transaction that made it true."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from app.models import outbox


@dataclass(frozen=True, slots=True)
class Event:
    """One thing to tell; `fact` makes it unique where the same fact could be told twice."""

    kind: str
    entity: str
    entity_id: str
    payload: Mapping[str, Any]
    fact: str | None = None


def enqueue(transaction: Connection, events: Sequence[Event], now: datetime) -> None:
    """Put the events into the outbox in one statement; a fact that was told before is left alone."""
    if not events:
        return
    dialect = sqlite if transaction.dialect.name == "sqlite" else postgresql
    transaction.execute(
        dialect.insert(outbox).on_conflict_do_nothing(index_elements=["fact"]),
        [
            {
                "event_id": str(uuid.uuid4()),
                "kind": event.kind,
                "entity": event.entity,
                "entity_id": event.entity_id,
                "fact": event.fact,
                "payload": dict(event.payload),
                "created_at": now,
                "next_attempt_at": now,
            }
            for event in events
        ],
    )

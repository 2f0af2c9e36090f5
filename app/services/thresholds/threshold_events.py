"""The events of thresholds that were crossed: one for each, in the transaction that found it."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection

from app.domain import payloads
from app.domain.thresholds import Crossing
from app.services.accounts.capped import Capped
from app.services.events import delivery
from app.services.events.delivery import Event


def enqueue(transaction: Connection, found: Iterable[tuple[Capped, Crossing]], now: datetime) -> None:
    """Leave an event for each crossing in one statement; what was told before is not told again.

    In one order for everybody: two that find the same facts wait for each other and never in a circle.
    """
    events = [
        Event(
            crossing.threshold.kind.value,
            crossing.scope.kind.value,
            crossing.scope.id,
            payloads.of_crossing(crossing, capped.whose, capped.caps),
            crossing.fact,
        )
        for capped, crossing in found
    ]
    delivery.enqueue(transaction, sorted(events, key=lambda event: event.fact or ""), now)

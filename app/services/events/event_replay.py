"""Sending events again, by an operator's word: what was given up, else what was delivered, with the same ids."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, select, update

from app.db import Database
from app.domain import access
from app.domain.deliveries import Subject
from app.domain.event_kinds import NEW_SECRET
from app.errors import Conflict, NotFound
from app.models import deliveries, events
from app.services.access.refusals import enforce
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.events import delivery, event_reads
from app.services.events.event_reads import PARKED, EventView, State

REPLAY_BATCH = 500


class EventReplay:
    def __init__(self, database: Database) -> None:
        self._database = database

    def replay(self, act: Act, event_id: str) -> EventView:
        """Let the parked deliveries of an event be sent again; without any, all of them.

        An event that went to nobody is routed anew, to the channels that there are now; one that waits goes on to
        do so. Raises NotFound, Conflict for a secret that is kept no longer, and RoleRefused for whoever is no
        administrator. A repeat sends once more.
        """
        enforce(access.may_replay_events(act.caller))
        with self._database.transaction() as transaction:
            before = event_reads.load(transaction, [event_id]).get(event_id)
            if before is None:
                raise NotFound("Event not found.", "id")
            if before.columns["kind"] == NEW_SECRET and not _is_kept(transaction, event_id):
                raise Conflict("The secret is kept no longer: nothing of it can be sent again.", "id")
            of_event = deliveries.c.subject == Subject.EVENT, deliveries.c.subject_id == event_id
            if before.counts.get(State.PARKED):
                _requeue(transaction, (*of_event, PARKED), act.at)
            elif before.state is State.DELIVERED:
                _requeue(transaction, of_event, act.at)
            elif before.state is State.UNADDRESSED:
                transaction.execute(update(events).where(events.c.event_id == event_id).values(routed_at=None))
            else:
                return before
            _note(transaction, act, [event_id], before.state)
            return event_reads.load(transaction, [event_id])[event_id]

    def replay_parked(self, act: Act, target: str | None = None) -> int:
        """Let up to REPLAY_BATCH parked deliveries (of one target) be sent again; how many. 0: there are no more.

        Of secrets that are kept no longer nothing is sent. Raises RoleRefused. Five statements, however many.
        """
        enforce(access.may_replay_events(act.caller))
        conditions = [PARKED, ~_WITHOUT_ITS_SECRET]
        if target is not None:
            conditions.append(deliveries.c.target == target)
        with self._database.transaction() as transaction:
            due = (
                select(deliveries.c.delivery_id, deliveries.c.subject, deliveries.c.subject_id)
                .where(*conditions)
                .order_by(deliveries.c.target, deliveries.c.delivery_id)
                .limit(REPLAY_BATCH)
            )
            found = transaction.execute(due).all()
            if found:
                ids = [row.delivery_id for row in found]
                _requeue(transaction, (deliveries.c.delivery_id.in_(ids), PARKED), act.at)
                replayed = sorted({row.subject_id for row in found if row.subject == Subject.EVENT})
                _note(transaction, act, replayed, State.PARKED)
        return len(found)


# Deliveries of new secrets, without them.
_WITHOUT_ITS_SECRET = and_(
    deliveries.c.sealed.is_(None),
    deliveries.c.subject == Subject.EVENT,
    exists().where(events.c.event_id == deliveries.c.subject_id, events.c.kind == NEW_SECRET),
)


def _is_kept(transaction: Connection, event_id: str) -> bool:
    """Whether the secret that an event is about has still to be delivered."""
    kept = select(deliveries.c.delivery_id).where(
        deliveries.c.subject == Subject.EVENT,
        deliveries.c.subject_id == event_id,
        deliveries.c.sealed.is_not(None),
    )
    return transaction.execute(kept).first() is not None


def _requeue(transaction: Connection, conditions: Sequence[ColumnElement[bool]], now: datetime) -> None:
    """Let deliveries wait from now on; their targets come first, as for whoever records what was sent."""
    named: Any = select(deliveries.c.target).where(*conditions).distinct()
    delivery.wake(transaction, set(transaction.execute(named).scalars()), now)
    transaction.execute(
        update(deliveries).where(*conditions).values(created_at=now, attempts=0, delivered_at=None, parked_at=None)
    )


def _note(transaction: Connection, act: Act, event_ids: Sequence[str], before: State) -> None:
    changes = [Changed(event_id, {"state": before}, {"state": State.WAITING}) for event_id in event_ids]
    audit.record(transaction, act, "replay", "event", changes)

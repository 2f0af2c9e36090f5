"""What of events and deliveries is not kept: secrets after a day, hopes after some days, the rest by a setting."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    String,
    and_,
    cast,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from app.clock import Clock
from app.db import Database
from app.domain.deliveries import Subject
from app.models import deliveries, events, key_secrets, targets
from app.services.events.claiming import WAITING
from app.services.jobs.job_batches import JobBatch

# The longest that a plaintext is kept, sealed or not, is a promise of the service.
SEALED_FOR = timedelta(hours=24)
TIDY_BATCH = 500
PURGE_BATCH = 500


def erase_sealed(transaction: Connection, now: datetime) -> bool:
    """Erase what was sealed a day ago of up to TIDY_BATCH events, routed or not, and of as many deliveries.

    Answers whether there may be more; two statements, each by an index. A delivery's day is that of its event. A
    row that is being worked on is left to the next time.
    """
    before = now - SEALED_FOR
    erased = [
        _erase(transaction, events.c.event_id, events.c.created_at <= before),
        _erase(transaction, deliveries.c.delivery_id, deliveries.c.happened_at <= before),
    ]
    return TIDY_BATCH in erased


def _erase(transaction: Connection, row: Column[Any], is_old: ColumnElement[bool]) -> int:
    table = row.table
    due = select(row).where(table.c.sealed.is_not(None), is_old).limit(TIDY_BATCH)
    erased = update(table).where(row.in_(due.with_for_update(skip_locked=True))).values(sealed=None)
    return transaction.execute(erased).rowcount


def park_old(transaction: Connection, now: datetime, hours: int) -> int:
    """Park up to TIDY_BATCH deliveries that have waited for so long, with the target's last error; how many."""
    due = (
        select(deliveries.c.delivery_id)
        .where(WAITING, deliveries.c.created_at < now - timedelta(hours=hours))
        .order_by(deliveries.c.created_at)
        .limit(TIDY_BATCH)
        .with_for_update(skip_locked=True)
    )
    why = select(targets.c.last_error).where(targets.c.target == deliveries.c.target).scalar_subquery()
    parked = transaction.execute(
        update(deliveries)
        .where(deliveries.c.delivery_id.in_(due))
        .values(
            parked_at=now,
            last_error=f"not delivered within {hours} hours: " + func.coalesce(why, "it was never its turn"),
        )
    )
    return parked.rowcount


class EventRetention:
    """`days` is how long events are kept, None for ever."""

    def __init__(self, database: Database, clock: Clock, *, days: int | None) -> None:
        self._database = database
        self._clock = clock
        self._days = days

    def purge_due(self) -> JobBatch:
        """Drop up to PURGE_BATCH old events for which nothing waits, with their deliveries; three statements.

        The event of a fact stays while that could be told again: for ever, or until its budget's window is over.
        """
        if self._days is None:
            return JobBatch(0)
        before = self._clock.now() - timedelta(days=self._days)
        with self._database.transaction() as transaction:
            due = (
                select(events.c.event_id)
                .where(events.c.created_at < before, events.c.routed_at.is_not(None))
                .where(or_(events.c.fact.is_(None), _window_is_over(before)))
                .where(~exists().where(_of_event(), WAITING))
                # What becomes of a secret on its way is read of its delivery.
                .where(~exists().where(key_secrets.c.event_id == events.c.event_id))
                .order_by(events.c.created_at, events.c.event_id)
                .limit(PURGE_BATCH)
                .with_for_update(skip_locked=True)
            )
            gone = transaction.execute(due).scalars().all()
            if gone:
                told = deliveries.c.subject == Subject.EVENT, deliveries.c.subject_id.in_(gone)
                transaction.execute(delete(deliveries).where(*told))
                transaction.execute(delete(events).where(events.c.event_id.in_(gone)))
        return JobBatch(len(gone), more=len(gone) == PURGE_BATCH)


def _of_event() -> ColumnElement[bool]:
    return and_(deliveries.c.subject == Subject.EVENT, deliveries.c.subject_id == events.c.event_id)


def _window_is_over(before: datetime) -> ColumnElement[bool]:
    """Whether the day on which the event's window ended is past; instants in payloads sort as they are written."""
    end = cast(events.c.payload.op("->>")("window_end"), String)
    return end < before.date().isoformat()

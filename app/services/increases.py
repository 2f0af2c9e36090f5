"""The end of temporary budget increases: bookkeeping only, for the clock ends each at its instant."""

from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Connection, Text, cast, func, select, update

from app.clock import Clock
from app.db import Database
from app.domain.increases import TEMPORARY_FIELDS, without_increase
from app.domain.windows import Calendar
from app.models import keys
from app.services import audit, delivery, key_events, key_rows
from app.services.audit import SYSTEM, Act, Changed
from app.services.job_batches import JobBatch

INCREASE_BATCH = 500


class Increases:
    def __init__(self, database: Database, clock: Clock, calendar: Calendar) -> None:
        self._database = database
        self._clock = clock
        self._calendar = calendar

    def end_due(self) -> JobBatch:
        """Take up to INCREASE_BATCH increases that are over out of their keys' metadata, each exactly once."""
        now = self._clock.now()
        with self._database.transaction() as transaction:
            due = (
                select(keys.c.key_id, keys.c.metadata)
                .where(keys.c.increase_ends_at <= now)
                .order_by(keys.c.increase_ends_at)
                .limit(INCREASE_BATCH)
                .with_for_update(skip_locked=True)
            )
            rows = transaction.execute(due).all()
            if not rows:
                return JobBatch(0)
            key_ids = [row.key_id for row in rows]
            transaction.execute(
                update(keys)
                .where(keys.c.key_id.in_(key_ids))
                .values(metadata=_metadata_without_increase(transaction), increase_ends_at=None)
            )
            views = key_rows.load(transaction, key_ids, self._calendar, now)
            changes = [
                Changed(row.key_id, {"metadata": row.metadata}, {"metadata": without_increase(row.metadata)})
                for row in rows
            ]
            audit.record(transaction, Act(SYSTEM, now), "end_increase", "key", changes)
            delivery.enqueue(transaction, [key_events.of_key("increase_ended", view) for view in views], now)
            return JobBatch(len(rows), more=len(rows) == INCREASE_BATCH)


def _metadata_without_increase(transaction: Connection) -> ColumnElement[Any]:
    """`without_increase`, for the store to work out, so that one statement serves the whole batch."""
    names = sorted(TEMPORARY_FIELDS)
    if transaction.dialect.name == "sqlite":
        return func.json_remove(keys.c.metadata, *(f"$.{name}" for name in names))
    return keys.c.metadata.op("-")(cast(names, ARRAY(Text)))

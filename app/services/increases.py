"""The end of temporary budget increases: bookkeeping only, for the clock ends each at its instant."""

from sqlalchemy import bindparam, select, update

from app.clock import Clock
from app.db import Database
from app.domain.increases import without_increase
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
            transaction.execute(
                update(keys)
                .where(keys.c.key_id == bindparam("ended_key_id"))
                .values(metadata=bindparam("kept"), increase_ends_at=None),
                [{"ended_key_id": row.key_id, "kept": without_increase(row.metadata)} for row in rows],
            )
            views = key_rows.load(transaction, [row.key_id for row in rows], self._calendar, now)
            ended = {row.key_id: row.metadata for row in rows}
            changes = [
                Changed(view.key_id, {"metadata": ended[view.key_id]}, {"metadata": view.columns["metadata"]})
                for view in views
            ]
            audit.record(transaction, Act(SYSTEM, now), "end_increase", "key", changes)
            delivery.enqueue(transaction, [key_events.of_key("increase_ended", view) for view in views], now)
            return JobBatch(len(rows), more=len(rows) == INCREASE_BATCH)

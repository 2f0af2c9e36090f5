"""The end of grace: dropping secrets that no longer open anything. The clock closes each at its instant."""

from sqlalchemy import delete, select

from app.clock import Clock, iso
from app.db import Database
from app.domain.windows import Calendar
from app.models import key_secrets
from app.services.audit import audit
from app.services.audit.audit import SYSTEM, Act, Changed
from app.services.events import delivery
from app.services.jobs.job_batches import JobBatch
from app.services.keys import key_events, key_rows

GRACE_BATCH = 500


class Graces:
    def __init__(self, database: Database, clock: Clock, calendar: Calendar) -> None:
        self._database = database
        self._clock = clock
        self._calendar = calendar

    def drop_due(self) -> JobBatch:
        """Remove up to GRACE_BATCH secrets past their grace, each with its audit row and event, exactly once."""
        now = self._clock.now()
        with self._database.transaction() as transaction:
            due = (
                select(key_secrets.c.token, key_secrets.c.key_id, key_secrets.c.revoke_at)
                .where(key_secrets.c.revoke_at <= now)
                .order_by(key_secrets.c.revoke_at)
                .limit(GRACE_BATCH)
                .with_for_update(skip_locked=True)
            )
            rows = transaction.execute(due).all()
            if not rows:
                return JobBatch(0)
            transaction.execute(delete(key_secrets).where(key_secrets.c.token.in_([row.token for row in rows])))
            changes = [
                Changed(row.key_id, {"token": row.token, "revoke_at": iso(row.revoke_at)}, None) for row in rows
            ]
            audit.record(transaction, Act(SYSTEM, now), "end_grace", "key", changes)
            views = key_rows.load(transaction, {row.key_id for row in rows}, self._calendar, now)
            delivery.enqueue(transaction, [key_events.of_key("grace_ended", view) for view in views], now)
            return JobBatch(len(rows), more=len(rows) == GRACE_BATCH)

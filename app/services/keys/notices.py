"""Telling some days before a key expires that it will; the clock alone ends it."""

from collections.abc import Sequence

from sqlalchemy import bindparam, select, update

from app.clock import Clock, iso
from app.db import Database
from app.domain.notices import due_notice, next_notice
from app.domain.windows import Calendar
from app.models import keys
from app.services.events import delivery
from app.services.jobs.job_batches import JobBatch
from app.services.keys import key_events, key_rows

NOTICE_BATCH = 500


class Notices:
    """`days` are those before the expiry of a key at which somebody is told."""

    def __init__(self, database: Database, clock: Clock, calendar: Calendar, days: Sequence[int]) -> None:
        self._database = database
        self._clock = clock
        self._calendar = calendar
        self._days = days

    def tell_due(self) -> JobBatch:
        """Tell of up to NOTICE_BATCH keys that they expire soon, once for each expiry and number of days.

        Run twice, late, killed half-way or side by side, it leaves the same events; where it comes so late that a
        second notice of a key is due, the first is left out.
        """
        now = self._clock.now()
        with self._database.transaction() as transaction:
            due = (
                select(keys.c.key_id, keys.c.expires_at, keys.c.notice_at)
                .where(keys.c.notice_at <= now)
                .order_by(keys.c.notice_at)
                .limit(NOTICE_BATCH)
                .with_for_update(skip_locked=True)
            )
            rows = transaction.execute(due).all()
            if not rows:
                return JobBatch(0)
            left = {row.key_id: due_notice(row.expires_at, row.notice_at, now, self._days) for row in rows}
            transaction.execute(
                update(keys).where(keys.c.key_id == bindparam("of_key")),
                [
                    {"of_key": row.key_id, "notice_at": next_notice(row.expires_at, now, self._days)}
                    for row in rows
                ],
            )
            told = [key_id for key_id, days in left.items() if days is not None]
            views = key_rows.load(transaction, told, self._calendar, now) if told else []
            events = [
                key_events.of_key(
                    "key_expiring",
                    view,
                    fact=f"{iso(view.columns['expires_at'])}:{left[view.key_id]}",
                    expires=iso(view.columns["expires_at"]),
                    days_left=left[view.key_id],
                )
                for view in views
            ]
            delivery.enqueue(transaction, events, now)
            return JobBatch(len(rows), more=len(rows) == NOTICE_BATCH)

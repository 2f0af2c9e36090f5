"""Looking at accounts whose caps were changed: what stands crossed by the new ones is told, of idle ones too."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, select

from app.clock import Clock
from app.db import Database
from app.domain.limits import Account, account_at
from app.domain.scopes import KINDS, Scope, ScopeKind
from app.domain.windows import Calendar, window_of
from app.models import watched
from app.services.accounts import account_rows, capped, rollover, spends
from app.services.accounts.capped import Capped
from app.services.jobs.job_batches import JobBatch
from app.services.thresholds import threshold_events

WATCH_BATCH = 500


class Watching:
    """`alert_percentages` of a cap are told of where a key does not say at which."""

    def __init__(
        self, database: Database, clock: Clock, calendar: Calendar, *, alert_percentages: Sequence[int]
    ) -> None:
        self._database = database
        self._clock = clock
        self._calendar = calendar
        self._alert_percentages = alert_percentages

    def look(self) -> JobBatch:
        """Take up to WATCH_BATCH accounts out of those that are watched, and tell what stands crossed of each.

        Nine statements at the most. Run twice, late, killed half-way or side by side, it tells each crossing once:
        a row goes in the transaction that has looked, and the fact is that of whoever folds.
        """
        now = self._clock.now()
        with self._database.transaction() as transaction:
            batch = select(watched.c.watched_id).order_by(watched.c.watched_id).limit(WATCH_BATCH)
            taken = transaction.execute(
                delete(watched)
                .where(watched.c.watched_id.in_(batch.with_for_update(skip_locked=True)))
                .returning(watched.c.scope, watched.c.scope_id)
            ).all()
            # Another release may know more of them.
            scopes = {Scope(ScopeKind(row.scope), row.scope_id) for row in taken if row.scope in KINDS}
            caps = capped.load(transaction, scopes, self._alert_percentages, now)
            if caps:
                present = self._accounts(transaction, caps, now)
                spent = zip(present, spends.current(transaction, present, self._calendar), strict=True)
                threshold_events.tell_standing(transaction, caps, spent, now)
        return JobBatch(len(taken), more=len(taken) == WATCH_BATCH)

    def _accounts(self, transaction: Connection, caps: Mapping[Scope, Capped], now: datetime) -> list[Account]:
        """The accounts in their present windows; one that nothing was ever charged to may be missing."""
        rows = transaction.execute(select(*rollover.STATE).where(account_rows.among(transaction, caps)))
        found = []
        for row in rows:
            scope = Scope(ScopeKind(row.scope), row.scope_id)
            stored = window_of(row.window_start, row.reset_at)
            found.append(account_at(scope, caps[scope].terms, row.armed_at, self._calendar, now, stored))
        return found

"""Keys that expired long ago are deleted as their owners would delete them, by the system."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, Select, select

from app.clock import Clock
from app.db import Database
from app.domain.windows import Calendar
from app.models import keys
from app.services.audit.audit import SYSTEM, Act
from app.services.jobs.job_batches import JobBatch
from app.services.keys import key_ends, key_rows
from app.store import policies
from app.store.policies import Policies

PURGE_BATCH = 500


class KeyRetention:
    """`days` is how long a key is kept after its expiry, None for ever."""

    def __init__(
        self, database: Database, policy_store: Policies, clock: Clock, calendar: Calendar, *, days: int | None
    ) -> None:
        self._database = database
        self._policies = policy_store
        self._clock = clock
        self._calendar = calendar
        self._days = days

    def purge_due(self) -> JobBatch:
        """Delete up to PURGE_BATCH keys whose expiry is long past and recorded, so that it was told before.

        Eleven statements at the most. Run twice, late, killed half-way or side by side, it deletes each key once.
        Raises StoreUnavailable, without any change, and WriteStands: cached copies of these keys say that they are
        expired, so nobody is let in by them.
        """
        if self._days is None:
            return JobBatch(0)
        now = self._clock.now()
        due = _expired_before(now - timedelta(days=self._days))
        with self._database.read() as connection:
            oldest = due.order_by(keys.c.expires_at, keys.c.key_id).limit(PURGE_BATCH)
            named = connection.execute(oldest).scalars().all()
        if not named:
            return JobBatch(0)
        with (
            self._policies.change([policies.key(key_id) for key_id in named]) as before_commit,
            self._database.transaction() as transaction,
        ):
            purged = self._purge(transaction, due.where(keys.c.key_id.in_(named)), now)
            before_commit()
        # Where another process has all of them, it goes on with the rest as well.
        return JobBatch(purged, more=purged > 0 and len(named) == PURGE_BATCH)

    def _purge(self, transaction: Connection, due: Select[str], now: datetime) -> int:
        """Delete those that are still due: somebody may have given one more time, or deleted it."""
        held: Sequence[str] = (
            transaction.execute(due.order_by(keys.c.key_id).with_for_update(skip_locked=True)).scalars().all()
        )
        if held:
            views = key_rows.load(transaction, held, self._calendar, now)
            key_ends.archive(transaction, Act(SYSTEM, now), views)
        return len(held)


def _expired_before(instant: datetime) -> Select[str]:
    return select(keys.c.key_id).where(keys.c.expires_at < instant, keys.c.expiry_recorded_at.is_not(None))

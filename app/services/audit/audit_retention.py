"""The audit's end: old rows go, and a row for each batch of them says so: a gap explains itself."""

from datetime import timedelta

from app.clock import Clock, iso
from app.db import Database
from app.models import audit as audit_rows
from app.services.audit import audit
from app.services.audit.audit import SYSTEM, Act, Changed
from app.services.jobs.job_batches import JobBatch
from app.services.rows import old_rows
from app.services.rows.old_rows import DROP_BATCH


class AuditRetention:
    """`days` is how long the audit is kept, None for ever."""

    def __init__(self, database: Database, clock: Clock, *, days: int | None) -> None:
        self._database = database
        self._clock = clock
        self._days = days

    def purge_due(self) -> JobBatch:
        """Drop up to DROP_BATCH old rows and record how many, from when until when; three statements.

        Run twice, late, killed half-way or side by side, it leaves the same rows. Its own go when they are old.
        """
        if self._days is None:
            return JobBatch(0)
        now = self._clock.now()
        with self._database.transaction() as transaction:
            before = now - timedelta(days=self._days)
            dropped = old_rows.drop(transaction, audit_rows.c.audit_id, audit_rows.c.at, before)
            if dropped:
                told = {"rows": len(dropped), "from": iso(dropped[0]), "until": iso(dropped[-1])}
                audit.record(transaction, Act(SYSTEM, now), "purge", "audit", [Changed("audit", None, told)])
        return JobBatch(len(dropped), more=len(dropped) == DROP_BATCH)

"""The archive's end: deleted keys and teams are forgotten after some days, and the secrets that were retired.

What they have spent stays where it is counted, under their ids. A retired secret opens nothing with or without its
row, and can be chosen again; the row only tells, for some hours, that a change was made which is asked for again.
"""

from datetime import timedelta

from app.clock import Clock
from app.db import Database
from app.models import deleted_keys, deleted_teams, retired_secrets
from app.services.jobs.job_batches import JobBatch
from app.services.rows import old_rows
from app.services.rows.old_rows import DROP_BATCH

_ARCHIVES = (
    (deleted_keys.c.id, deleted_keys.c.deleted_at),
    (deleted_teams.c.id, deleted_teams.c.deleted_at),
    (retired_secrets.c.id, retired_secrets.c.retired_at),
)


class ArchiveRetention:
    """`days` is how long the archive remembers, None for ever.

    It is more than the 31 days within which a call can be charged: one from before the deletion finds its key.
    """

    def __init__(self, database: Database, clock: Clock, *, days: int | None) -> None:
        self._database = database
        self._clock = clock
        self._days = days

    def purge_due(self) -> JobBatch:
        """Forget up to DROP_BATCH of each; six statements at the most.

        Run twice, late, killed half-way or side by side, it leaves the same rows.
        """
        if self._days is None:
            return JobBatch(0)
        before = self._clock.now() - timedelta(days=self._days)
        with self._database.transaction() as transaction:
            dropped = [len(old_rows.drop(transaction, *archive, before)) for archive in _ARCHIVES]
        return JobBatch(sum(dropped), more=DROP_BATCH in dropped)

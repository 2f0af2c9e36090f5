"""Telling that a job has been silent: once of each silence, however long it lasts and whoever looks."""

from collections.abc import Mapping

from app.clock import Clock, iso
from app.db import Database
from app.dispatch import TaskName
from app.services.events import delivery
from app.services.events.delivery import Event
from app.services.jobs import jobs
from app.services.jobs.job_batches import JobBatch
from app.services.jobs.jobs import JobRecord, is_silent


class Silences:
    """`slack_seconds` is what a job may be late beside the intervals that it may miss."""

    def __init__(
        self, database: Database, clock: Clock, intervals: Mapping[TaskName, float], *, slack_seconds: float
    ) -> None:
        self._database = database
        self._clock = clock
        self._intervals = intervals
        self._slack_seconds = slack_seconds
        # As for readiness: what has never run cannot be late before anybody could have run it.
        self._started_at = clock.now()

    def tell(self) -> JobBatch:
        """Look at the records of all jobs; a silence is known by the job and its last success.

        One statement, and another one where somebody is silent. Where no job runs at all nobody tells of it until
        one does: readiness shows that.
        """
        now = self._clock.now()
        with self._database.read() as connection:
            records = jobs.read(connection, self._intervals)
        events = [
            _event(record)
            for record in records
            if is_silent(record, now, since=self._started_at, slack_seconds=self._slack_seconds)
        ]
        if events:
            with self._database.transaction() as transaction:
                delivery.enqueue(transaction, events, now)
        return JobBatch(len(events))


def _event(record: JobRecord) -> Event:
    last = iso(record.last_finished_at)
    fields = {
        "job": record.name,
        "last_success_at": last,
        "interval_seconds": record.interval_seconds,
        "failures": record.failures,
        "last_error": record.last_error,
    }
    return Event("job_silent", "job", record.name, fields, f"job_silent:{record.name}:{last or ''}")

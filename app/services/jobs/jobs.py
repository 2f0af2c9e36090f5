"""The periodic jobs as one list, and the record of their runs, so that silence can be seen.

A job is a service method that does one bounded batch and says whether more is due. It is safe to run twice,
late, killed half-way, or two at once.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from app.clock import Clock
from app.db import ConstraintViolated, Database, insertion
from app.dispatch import TaskName
from app.errors import ServiceError, StoreUnavailable, reason_of, root_of
from app.models import job_runs
from app.services.jobs.job_batches import PAUSE_SECONDS, JobBatch, Parked

# A job that has missed so many of its intervals is silent.
MISSED_INTERVALS = 3


@dataclass(frozen=True, slots=True)
class Job:
    """One bounded batch of work, how often it is to be done, and what it has set aside, if it ever does that."""

    batch: Callable[[], JobBatch]
    interval_seconds: float
    parked: Callable[[], Parked] = Parked


@dataclass(frozen=True, slots=True)
class JobRecord:
    """The last runs of a job: `last_finished_at` is its last success, `failures` counts those since then.

    `last_started_at` is of the runs that beat sends: a run out of turn puts none of them off.
    """

    name: str
    interval_seconds: float
    last_started_at: datetime | None
    last_finished_at: datetime | None
    last_rows: int
    last_parked_rows: int
    failures: int
    last_error: str | None

    @property
    def next_due_at(self) -> datetime | None:
        """When it is to begin again; None before its first run."""
        begun = self.last_started_at
        return None if begun is None else begun + timedelta(seconds=self.interval_seconds)


class Jobs:
    def __init__(self, database: Database, clock: Clock, jobs: Mapping[TaskName, Job]) -> None:
        self._database = database
        self._clock = clock
        self._jobs = jobs

    def run(self, name: TaskName, go_on: Callable[[], bool]) -> int:
        """Run a job batch after batch while something is due and `go_on` says so; returns the rows it dealt with.

        What it leaves is done by the next run. Every batch is recorded, so that a long run is no silence; a
        failure is recorded and raised again.
        """
        return self._run(name, go_on, {"last_started_at": self._clock.now()})

    def run_out_of_turn(self, name: TaskName) -> int:
        """Run a job until nothing is due, beside the runs that beat sends; otherwise as `run`."""
        return self._run(name, lambda: True, {})

    def _run(self, name: TaskName, go_on: Callable[[], bool], begun: Mapping[str, datetime]) -> int:
        rows = parked = 0
        try:
            while True:
                batch = self._jobs[name].batch()
                rows += batch.rows
                parked += batch.parked
                self._record_success(name, begun, rows, parked)
                if not batch.more or not go_on():
                    break
                time.sleep(PAUSE_SECONDS)
        except Exception as error:
            self._record_failure(name, begun, error)
            raise
        return rows

    def records(self) -> list[JobRecord]:
        """The record of every job, those that never ran included, in the order of their names: one statement."""
        with self._database.read() as connection:
            return read(connection, {name: job.interval_seconds for name, job in self._jobs.items()})

    def parked(self) -> dict[str, Parked]:
        """What each job has set aside, in whatever run, and is still so: one statement for each that does."""
        return {name: self._jobs[name].parked() for name in self.names}

    @property
    def names(self) -> list[TaskName]:
        """All jobs, in order."""
        return sorted(self._jobs)

    def _record_success(self, name: str, begun: Mapping[str, datetime], rows: int, parked: int) -> None:
        self._put(
            name,
            {
                **begun,
                "last_finished_at": self._clock.now(),
                "last_rows": rows,
                "last_parked_rows": parked,
                "failures": 0,
                "last_error": None,
            },
            {},
        )

    def _record_failure(self, name: str, begun: Mapping[str, datetime], error: Exception) -> None:
        """Best effort: the store that failed the job may fail its record too."""
        values = {**begun, "last_error": _told(error)}
        try:
            self._put(name, {**values, "failures": 1}, {"failures": job_runs.c.failures + 1})
        except Exception:  # noqa: BLE001 - the job's own error is the one to be seen
            return

    def _put(self, name: str, values: Mapping[str, Any], on_conflict: Mapping[str, Any]) -> None:
        with self._database.transaction() as transaction:
            transaction.execute(
                insertion(transaction, job_runs)
                .values({"name": name, **values})
                .on_conflict_do_update(index_elements=["name"], set_={**values, **on_conflict})
            )


def read(connection: Connection, intervals: Mapping[TaskName, float]) -> list[JobRecord]:
    """The record of every one of these jobs, those that never ran included, in the order of their names."""
    found = {row["name"]: row for row in connection.execute(select(job_runs)).mappings()}
    return [_record(name, intervals[name], found.get(name)) for name in sorted(intervals)]


def is_silent(record: JobRecord, now: datetime, *, since: datetime, slack_seconds: float) -> bool:
    """Whether a job has had no success for more than three of its intervals and some slack.

    One that never had any is counted `since` an instant at which it could have been run. A success that lies as
    far ahead is none either: it was written by a clock that was wrong, and says nothing of the time since.
    """
    age = abs((now - (record.last_finished_at or since)).total_seconds())
    return age > MISSED_INTERVALS * record.interval_seconds + slack_seconds


def _told(error: Exception) -> str:
    """The class of an error, and what it says where that is known to hold nothing of what is stored."""
    if isinstance(error, StoreUnavailable | DBAPIError | ConstraintViolated):
        return f"{type(root_of(error)).__name__}: {reason_of(error)}"
    kind = type(error).__name__
    return f"{kind}: {error.message}" if isinstance(error, ServiceError) else kind


def _record(name: str, interval_seconds: float, row: Mapping[Any, Any] | None) -> JobRecord:
    if row is None:
        return JobRecord(name, interval_seconds, None, None, 0, 0, 0, None)
    return JobRecord(interval_seconds=interval_seconds, **{column.key: row[column] for column in job_runs.columns})

"""The periodic jobs: each runs one service method in batches and logs one line.

They do bookkeeping only. Run twice, late, or two at once, they leave the same state.
"""

import logging
import time
from typing import Any

import structlog

import app.container  # noqa: F401 - loaded before the pool forks, so that its processes share it
from app import metrics
from app.dispatch import TaskName
from app.errors import StoreUnavailable
from workers.celery import celery
from workers.resources import services, settings

_log = structlog.get_logger(__name__)

# All jobs that are seldom sent are sent in one moment, and those that are often sent wait behind them.
LONGEST_RUN_SECONDS = 5.0


def run_job(task: TaskName) -> None:
    """Run a job until nothing is due, for some seconds or an interval of its own at the most; the next goes on.

    Jobs with a long way to go would take every process of the worker, and no other one would have its turn.
    """
    until = time.monotonic() + min(LONGEST_RUN_SECONDS, settings().intervals[task])
    rows = services().jobs.run(task, lambda: time.monotonic() < until)
    metrics.JOB_ROWS.labels(task.value).inc(rows)
    _log.log(logging.INFO if rows else logging.DEBUG, "job_done", job=task.value, rows=rows)


def _job(task: TaskName) -> Any:
    """The task that runs a job."""

    @celery.task(name=task.value, throws=(StoreUnavailable,))  # type: ignore[untyped-decorator]
    def run() -> None:
        run_job(task)

    return run


expire_keys = _job(TaskName.EXPIRE_KEYS)
reset_budgets = _job(TaskName.RESET_BUDGETS)
end_increases = _job(TaskName.END_INCREASES)
end_graces = _job(TaskName.END_GRACES)
rotate_keys = _job(TaskName.ROTATE_KEYS)
fold_ledger = _job(TaskName.FOLD_LEDGER)
watch_budgets = _job(TaskName.WATCH_BUDGETS)
announce_expiry = _job(TaskName.ANNOUNCE_EXPIRY)
watch_jobs = _job(TaskName.WATCH_JOBS)
reap_holds = _job(TaskName.REAP_HOLDS)
purge_expired_keys = _job(TaskName.PURGE_EXPIRED_KEYS)
purge_archive = _job(TaskName.PURGE_ARCHIVE)
purge_audit = _job(TaskName.PURGE_AUDIT)
purge_ledger = _job(TaskName.PURGE_LEDGER)
purge_events = _job(TaskName.PURGE_EVENTS)
purge_call_logs = _job(TaskName.PURGE_CALL_LOGS)


@celery.task(name=TaskName.HEARTBEAT.value, throws=(StoreUnavailable,))  # type: ignore[untyped-decorator]
def heartbeat() -> None:
    """Show that what beat sends reaches a worker."""
    services().health.beat_heard()
    _log.debug("beat_heard")

"""The names by which work is sent: nothing outside `workers` imports a task.

A contract test holds them equal to the tasks that the worker registers.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol


class QueueName(StrEnum):
    """Where a task waits: bookkeeping never waits behind a slow receiver of deliveries."""

    JOBS = "jobs"
    DELIVERIES = "deliveries"


class TaskName(StrEnum):
    """Every task that the worker can be sent."""

    EXPIRE_KEYS = "keyledger.expire_keys"
    RESET_BUDGETS = "keyledger.reset_budgets"
    END_INCREASES = "keyledger.end_increases"
    END_GRACES = "keyledger.end_graces"
    ROTATE_KEYS = "keyledger.rotate_keys"
    FOLD_LEDGER = "keyledger.fold_ledger"
    WATCH_BUDGETS = "keyledger.watch_budgets"
    ANNOUNCE_EXPIRY = "keyledger.announce_expiry"
    WATCH_JOBS = "keyledger.watch_jobs"
    REAP_HOLDS = "keyledger.reap_holds"
    PURGE_EXPIRED_KEYS = "keyledger.purge_expired_keys"
    PURGE_ARCHIVE = "keyledger.purge_archive"
    PURGE_AUDIT = "keyledger.purge_audit"
    PURGE_LEDGER = "keyledger.purge_ledger"
    DELIVER = "keyledger.deliver"
    PURGE_EVENTS = "keyledger.purge_events"
    PURGE_CALL_LOGS = "keyledger.purge_call_logs"
    HEARTBEAT = "keyledger.heartbeat"
    TEST_CALLBACK = "keyledger.test_callback"


QUEUE_OF = {
    TaskName.EXPIRE_KEYS: QueueName.JOBS,
    TaskName.RESET_BUDGETS: QueueName.JOBS,
    TaskName.END_INCREASES: QueueName.JOBS,
    TaskName.END_GRACES: QueueName.JOBS,
    TaskName.ROTATE_KEYS: QueueName.JOBS,
    TaskName.FOLD_LEDGER: QueueName.JOBS,
    TaskName.WATCH_BUDGETS: QueueName.JOBS,
    TaskName.ANNOUNCE_EXPIRY: QueueName.JOBS,
    TaskName.WATCH_JOBS: QueueName.JOBS,
    TaskName.REAP_HOLDS: QueueName.JOBS,
    TaskName.PURGE_EXPIRED_KEYS: QueueName.JOBS,
    TaskName.PURGE_ARCHIVE: QueueName.JOBS,
    TaskName.PURGE_AUDIT: QueueName.JOBS,
    TaskName.PURGE_LEDGER: QueueName.JOBS,
    TaskName.DELIVER: QueueName.DELIVERIES,
    TaskName.PURGE_EVENTS: QueueName.JOBS,
    TaskName.PURGE_CALL_LOGS: QueueName.JOBS,
    TaskName.HEARTBEAT: QueueName.JOBS,
    TaskName.TEST_CALLBACK: QueueName.DELIVERIES,
}


class Dispatch(Protocol):
    """The way of a message to the workers, as services see it."""

    def send(
        self, task: TaskName, arguments: Sequence[str | int], *, message_id: str, expires_seconds: float
    ) -> None:
        """Put one message into the task's queue; a worker that finds it later than `expires_seconds` drops it.

        Raises StoreUnavailable, then it was most likely not sent, and Overloaded, then it was not.
        """

"""The names by which work is sent: nothing outside `workers` imports a task.

A contract test holds them equal to the tasks that the worker registers.
"""

from enum import StrEnum


class QueueName(StrEnum):
    """Where a task waits: bookkeeping never waits behind a slow receiver of deliveries."""

    JOBS = "jobs"
    DELIVERIES = "deliveries"


class TaskName(StrEnum):
    """Every task that the worker can be sent."""

    EXPIRE_KEYS = "keyledger.expire_keys"
    HEARTBEAT = "keyledger.heartbeat"

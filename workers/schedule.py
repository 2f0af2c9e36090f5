"""What beat sends, how often, and why. Nothing here decides anything: a missed or doubled sending does no harm."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.config import Settings
from app.dispatch import TaskName

# What it does can wait for days, and a run goes on batch after batch.
PURGE_INTERVAL_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Periodic:
    """A task that beat sends every `seconds`."""

    name: str
    task: TaskName
    seconds: Callable[[Settings], float]
    reason: str


TABLE = (
    Periodic(
        "expire keys",
        TaskName.EXPIRE_KEYS,
        lambda settings: settings.expiry_interval_seconds,
        "Marks the keys that have passed their expiry, which the clock alone refuses already.",
    ),
    Periodic(
        "reset budgets",
        TaskName.RESET_BUDGETS,
        lambda settings: settings.reset_interval_seconds,
        "Moves the windows that have passed, which every reader reads as empty already.",
    ),
    Periodic(
        "end increases",
        TaskName.END_INCREASES,
        lambda settings: settings.expiry_interval_seconds,
        "Takes temporary increases that are over out of the metadata, where they count no longer.",
    ),
    Periodic(
        "end graces",
        TaskName.END_GRACES,
        lambda settings: settings.expiry_interval_seconds,
        "Drops the secrets whose grace is over, which open nothing any more.",
    ),
    Periodic(
        "purge ledger",
        TaskName.PURGE_LEDGER,
        lambda _: PURGE_INTERVAL_SECONDS,
        "Sums up old rows of the ledger, which no balance needs one by one any more.",
    ),
    Periodic(
        "heartbeat",
        TaskName.HEARTBEAT,
        lambda settings: settings.heartbeat_seconds,
        "Shows that what beat sends reaches a worker.",
    ),
)


def entries(settings: Settings) -> dict[str, dict[str, Any]]:
    """The table in Celery's form.

    A sending that waits longer than two intervals is dropped: after an outage one run does the work of all.
    """
    return {
        periodic.name: {
            "task": periodic.task.value,
            "schedule": periodic.seconds(settings),
            "options": {"expires": 2 * periodic.seconds(settings)},
        }
        for periodic in TABLE
    }

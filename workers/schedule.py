"""What beat sends, how often, and why. Nothing here decides anything: a missed or doubled sending does no harm."""

from dataclasses import dataclass
from typing import Any

from app.config import Settings
from app.dispatch import TaskName


@dataclass(frozen=True, slots=True)
class Periodic:
    """A task that beat sends at its interval in the settings."""

    name: str
    task: TaskName
    reason: str


TABLE = (
    Periodic(
        "expire keys",
        TaskName.EXPIRE_KEYS,
        "Marks the keys that have passed their expiry, which the clock alone refuses already.",
    ),
    Periodic(
        "reset budgets",
        TaskName.RESET_BUDGETS,
        "Moves the windows that have passed, which every reader reads as empty already.",
    ),
    Periodic(
        "end increases",
        TaskName.END_INCREASES,
        "Takes temporary increases that are over out of the metadata, where they count no longer.",
    ),
    Periodic(
        "end graces",
        TaskName.END_GRACES,
        "Drops the secrets whose grace is over, which open nothing any more.",
    ),
    Periodic(
        "rotate keys",
        TaskName.ROTATE_KEYS,
        "Sends new secrets off where they are due, and ends the old ones where they have arrived.",
    ),
    Periodic(
        "fold ledger",
        TaskName.FOLD_LEDGER,
        "Adds charges to accounts and daily sums; every reader of an account counts them before already.",
    ),
    Periodic(
        "watch budgets",
        TaskName.WATCH_BUDGETS,
        "Tells what stands crossed where a cap was changed; what charges cross is told as they are folded.",
    ),
    Periodic(
        "announce expiry",
        TaskName.ANNOUNCE_EXPIRY,
        "Tells some days before a key expires that it will.",
    ),
    Periodic(
        "watch jobs",
        TaskName.WATCH_JOBS,
        "Tells once of each silence of a job, which readiness shows as long as it lasts.",
    ),
    Periodic(
        "reap holds",
        TaskName.REAP_HOLDS,
        "Closes holds that are past their lease: nothing else gives their money back.",
    ),
    Periodic(
        "purge expired keys",
        TaskName.PURGE_EXPIRED_KEYS,
        "Deletes the keys that expired long ago, into the archive.",
    ),
    Periodic(
        "purge archive",
        TaskName.PURGE_ARCHIVE,
        "Forgets keys and teams that were deleted long ago, which only the lists of deleted ones show.",
    ),
    Periodic(
        "purge audit",
        TaskName.PURGE_AUDIT,
        "Drops old rows of the audit, and writes down that it has.",
    ),
    Periodic(
        "purge ledger",
        TaskName.PURGE_LEDGER,
        "Sums up old rows of the ledger, which no balance needs one by one any more.",
    ),
    Periodic(
        "deliver",
        TaskName.DELIVER,
        "Sends events to where they are told, and erases what was sealed for them.",
    ),
    Periodic(
        "purge events",
        TaskName.PURGE_EVENTS,
        "Drops old events, of which nobody has to hear any more.",
    ),
    Periodic(
        "purge call logs",
        TaskName.PURGE_CALL_LOGS,
        "Drops old logs of calls, which no callback has taken or which all have.",
    ),
    Periodic(
        "heartbeat",
        TaskName.HEARTBEAT,
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
            "schedule": settings.intervals[periodic.task],
            "options": {"expires": 2 * settings.intervals[periodic.task]},
        }
        for periodic in TABLE
    }

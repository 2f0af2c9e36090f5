"""What each periodic job does: the table of their batches, with how often each is due."""

from collections.abc import Callable

from app.clock import Clock
from app.config import Settings
from app.db import Database
from app.dispatch import TaskName
from app.domain.windows import Calendar
from app.services.accounts.windows import Windows
from app.services.audit.audit_retention import AuditRetention
from app.services.call_logs.call_log_routing import CallLogRetention
from app.services.decisions.reaping import Reaping
from app.services.decisions.rebasing import Rebasing
from app.services.events.deliveries import Deliveries
from app.services.events.event_retention import EventRetention
from app.services.jobs.job_batches import JobBatch, Parked
from app.services.jobs.jobs import Job, Jobs
from app.services.jobs.silences import Silences
from app.services.keys.archive_retention import ArchiveRetention
from app.services.keys.graces import Graces
from app.services.keys.increases import Increases
from app.services.keys.key_ends import KeyEnds
from app.services.keys.key_retention import KeyRetention
from app.services.keys.notices import Notices
from app.services.ledger.folding import Folding
from app.services.ledger.retention import Retention
from app.services.rotations.rotations import Rotations
from app.services.thresholds.watching import Watching
from app.store.policies import Policies


def jobs_of(
    settings: Settings,
    database: Database,
    clock: Clock,
    calendar: Calendar,
    policies: Policies,
    rebasing: Rebasing,
    reaping: Reaping,
    ends: KeyEnds,
    deliveries: Deliveries,
    rotations: Rotations,
) -> Jobs:
    """Every job; the one that looks at the others knows them all."""
    windows = Windows(database, clock, calendar, rebasing)
    folding = Folding(database, rebasing, clock, calendar, alert_percentages=settings.budget_alert_percentages)
    batches: dict[TaskName, Callable[[], JobBatch]] = {
        TaskName.EXPIRE_KEYS: ends.expire_due,
        TaskName.RESET_BUDGETS: windows.move_due,
        TaskName.END_INCREASES: Increases(database, clock, calendar).end_due,
        TaskName.END_GRACES: Graces(database, clock, calendar).drop_due,
        TaskName.ROTATE_KEYS: rotations.rotate_due,
        TaskName.FOLD_LEDGER: folding.fold_due,
        TaskName.WATCH_BUDGETS: Watching(
            database, clock, calendar, alert_percentages=settings.budget_alert_percentages
        ).look,
        TaskName.ANNOUNCE_EXPIRY: Notices(database, clock, calendar, settings.expiry_notice_days).tell_due,
        TaskName.REAP_HOLDS: reaping.reap_due,
        TaskName.DELIVER: deliveries.sweep,
        TaskName.PURGE_EVENTS: EventRetention(database, clock, days=settings.event_days).purge_due,
        TaskName.PURGE_CALL_LOGS: CallLogRetention(database, clock, days=settings.call_log_days).purge_due,
        TaskName.PURGE_EXPIRED_KEYS: KeyRetention(
            database, policies, clock, calendar, days=settings.expired_key_days
        ).purge_due,
        TaskName.PURGE_ARCHIVE: ArchiveRetention(database, clock, days=settings.archive_days).purge_due,
        TaskName.PURGE_AUDIT: AuditRetention(database, clock, days=settings.audit_days).purge_due,
        TaskName.PURGE_LEDGER: Retention(database, clock, days=settings.ledger_days).purge_due,
    }
    intervals = {name: settings.intervals[name] for name in (*batches, TaskName.WATCH_JOBS)}
    batches[TaskName.WATCH_JOBS] = Silences(
        database, clock, intervals, slack_seconds=settings.silent_after_seconds
    ).tell
    parked = {TaskName.RESET_BUDGETS: windows.parked, TaskName.FOLD_LEDGER: folding.parked}
    return Jobs(
        database,
        clock,
        {name: Job(batch, intervals[name], parked.get(name, Parked)) for name, batch in batches.items()},
    )

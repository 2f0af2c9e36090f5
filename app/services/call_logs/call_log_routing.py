"""From logs of finished calls to one delivery for each callback, and away with both once all have taken them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, exists, or_, select, update

from app.clock import Clock
from app.db import Database
from app.domain.callback_targets import PREFIX
from app.domain.deliveries import Route, Subject
from app.models import call_logs, deliveries, targets
from app.services.events import delivery
from app.services.jobs.job_batches import JobBatch

ROUTE_BATCH = 500
PURGE_BATCH = 500


class CallLogRouting:
    def __init__(self, database: Database) -> None:
        self._database = database

    def route_due(self, now: datetime) -> int:
        """Route up to ROUTE_BATCH logs, oldest first, and say how many; of two at once each has its own.

        One transaction of four statements. Whom a log goes to was decided when it was told.
        """
        due = (
            select(call_logs.c.log_id, call_logs.c.targets)
            .where(call_logs.c.routed_at.is_(None))
            .order_by(call_logs.c.created_at, call_logs.c.log_id)
            .limit(ROUTE_BATCH)
            .with_for_update(skip_locked=True)
        )
        with self._database.transaction() as transaction:
            found = transaction.execute(due).all()
            if not found:
                return 0
            routes = [Route(target, Subject.LOG, row.log_id) for row in found for target in _targets(row)]
            delivery.address(transaction, routes, now)
            transaction.execute(
                update(call_logs)
                .where(call_logs.c.log_id.in_([row.log_id for row in found]))
                .values(routed_at=now)
            )
        return len(found)


def _targets(row: Any) -> list[str]:
    """Those of a log; what is no name of one is none."""
    return [target for target in row.targets if isinstance(target, str)] if isinstance(row.targets, list) else []


def forget_delivered(transaction: Connection, log_ids: Sequence[str]) -> None:
    """Drop what was delivered of these logs, and what they hold where nothing else is left of them.

    Three statements. A log is held first: of two callbacks that take it at once, the later one sees that it is the
    last.
    """
    chosen = call_logs.c.log_id.in_(log_ids)
    transaction.execute(
        select(call_logs.c.log_id).where(chosen).order_by(call_logs.c.log_id).with_for_update()
    ).all()
    of_logs = deliveries.c.subject == Subject.LOG, deliveries.c.subject_id.in_(log_ids)
    transaction.execute(delete(deliveries).where(*of_logs, deliveries.c.delivered_at.is_not(None)))
    waits = exists().where(deliveries.c.subject == Subject.LOG, deliveries.c.subject_id == call_logs.c.log_id)
    transaction.execute(update(call_logs).where(chosen, ~waits).values(payload=None))


class CallLogRetention:
    """`days` is how long a log is kept that could not be delivered, and one is known that is told again."""

    def __init__(self, database: Database, clock: Clock, *, days: int) -> None:
        self._database = database
        self._clock = clock
        self._days = days

    def purge_due(self) -> JobBatch:
        """Drop up to PURGE_BATCH old logs for which nothing waits, with their deliveries, and idle callbacks.

        Four statements. Run twice, late or killed half-way it leaves the same rows.
        """
        before = self._clock.now() - timedelta(days=self._days)
        of_log = deliveries.c.subject == Subject.LOG, deliveries.c.subject_id == call_logs.c.log_id
        waiting = deliveries.c.delivered_at.is_(None), deliveries.c.parked_at.is_(None)
        due = (
            select(call_logs.c.log_id)
            .where(call_logs.c.created_at < before, call_logs.c.routed_at.is_not(None))
            .where(~exists().where(*of_log, *waiting))
            .order_by(call_logs.c.created_at)
            .limit(PURGE_BATCH)
        )
        with self._database.transaction() as transaction:
            gone = transaction.execute(due).scalars().all()
            if gone:
                # As whoever records a delivery does: the deliveries first.
                told = deliveries.c.subject == Subject.LOG, deliveries.c.subject_id.in_(gone)
                transaction.execute(delete(deliveries).where(*told))
                transaction.execute(delete(call_logs).where(call_logs.c.log_id.in_(gone)))
            _forget_targets(transaction, before)
        return JobBatch(len(gone), more=len(gone) == PURGE_BATCH)


def _forget_targets(transaction: Connection, before: datetime) -> None:
    """Forget callbacks to which nothing was sent for so long: keys come and go, and theirs with them.

    One that has just been made due again is left alone: it has a time of its next attempt.
    """
    idle = (
        select(targets.c.target)
        .where(
            targets.c.target.startswith(f"{PREFIX}:", autoescape=True),
            targets.c.next_attempt_at.is_(None),
            or_(targets.c.last_delivered_at.is_(None), targets.c.last_delivered_at < before),
            ~exists().where(deliveries.c.target == targets.c.target, deliveries.c.parked_at.is_not(None)),
        )
        .limit(PURGE_BATCH)
    )
    transaction.execute(delete(targets).where(targets.c.target.in_(idle), targets.c.next_attempt_at.is_(None)))

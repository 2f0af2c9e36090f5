"""How a rotation that was begun ends: its secret has arrived and is the key's from now on, or it is given up.

What is written of the delivery decides, in a transaction of its own afterwards: recording a delivery waits for no
Redis, and where a process is killed between the two, the next run finds what there is to do.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, exists, func, or_, select, update

from app.clock import Clock, iso
from app.db import Database
from app.domain.deliveries import Subject
from app.domain.durations import Duration
from app.domain.rotations import GIVEN_UP_AFTER, RETRY_AFTER, Fate, fate
from app.domain.windows import Calendar
from app.models import deliveries, keys, targets
from app.models import key_secrets as secrets
from app.services.audit import audit
from app.services.audit.audit import SYSTEM, Act, Changed
from app.services.events import delivery
from app.services.jobs.job_batches import JobBatch
from app.services.keys import key_events, key_rows, key_secrets
from app.services.keys.key_secrets import ON_ITS_WAY
from app.services.keys.key_views import KeyView
from app.store import policies
from app.store.policies import Policies

SETTLE_BATCH = 500
NOT_IN_TIME = "it was not delivered within a day"


class RotationEnds:
    """`grace` is how long an old secret lives on once the new one has arrived."""

    def __init__(
        self, database: Database, policy_store: Policies, clock: Clock, calendar: Calendar, *, grace: Duration
    ) -> None:
        self._database = database
        self._policies = policy_store
        self._clock = clock
        self._calendar = calendar
        self._grace = grace

    def settle_due(self) -> JobBatch:
        """Settle up to SETTLE_BATCH rotations whose delivery is decided, each once, whoever does it how often.

        Raises StoreUnavailable, without any change, and WriteStands: a cached copy that is left lets an old secret
        in for KEYLEDGER_SNAPSHOT_SECONDS beyond its grace at the most.
        """
        now = self._clock.now()
        decided = _decided(now)
        with self._database.read() as connection:
            named = [row.key_id for row in connection.execute(decided.limit(SETTLE_BATCH))]
        if not named:
            return JobBatch(0)
        with (
            self._policies.change([policies.key(key_id) for key_id in named]) as before_commit,
            self._database.transaction() as transaction,
        ):
            held = select(keys.c.key_id).where(keys.c.key_id.in_(named)).order_by(keys.c.key_id)
            key_ids = transaction.execute(held.with_for_update(skip_locked=True)).scalars().all()
            found = transaction.execute(decided.where(secrets.c.key_id.in_(key_ids))).all()
            arrived, given_up = _told_apart(transaction, found, now)
            if arrived:
                self._confirm(transaction, arrived, now)
            if given_up:
                self._give_up(transaction, given_up, now)
            before_commit()
        settled = len(arrived) + len(given_up)
        return JobBatch(settled, parked=len(given_up), more=settled > 0 and len(named) == SETTLE_BATCH)

    def _confirm(self, transaction: Connection, arrived: Collection[str], now: datetime) -> None:
        before = key_rows.load(transaction, arrived, self._calendar, now)
        ends_at = self._grace.after(now)
        key_secrets.arrive(transaction, arrived, ends_at, now)
        transaction.execute(
            update(keys)
            .where(keys.c.key_id.in_(arrived))
            .values(
                rotation_count=keys.c.rotation_count + 1,
                last_rotation_at=now,
                updated_at=now,
                updated_by=SYSTEM.user_id,
            )
        )
        views = key_rows.load(transaction, arrived, self._calendar, now)
        _record(transaction, "rotate", before, views, now)
        told = [
            key_events.of_key(
                "key_rotated",
                view,
                rotation_count=view.columns["rotation_count"],
                key_rotation_at=iso(view.columns["key_rotation_at"]),
                grace_ends_at=iso(ends_at),
            )
            for view in views
        ]
        delivery.enqueue(transaction, told, now)

    def _give_up(self, transaction: Connection, reasons: Mapping[str, str], now: datetime) -> None:
        before = key_rows.load(transaction, reasons, self._calendar, now)
        key_secrets.take_back(transaction, reasons, now)
        cancel(transaction, before, reasons, self._calendar, now)


def cancel(
    transaction: Connection,
    before: Sequence[KeyView],
    reasons: Mapping[str, str],
    calendar: Calendar,
    now: datetime,
) -> None:
    """Write and tell of the keys that have a reason that they keep their secrets; try again after a day.

    One that does not rotate any more is not tried again.
    """
    again = [view.key_id for view in before if view.key_id in reasons and view.columns["auto_rotate"]]
    set_due(transaction, dict.fromkeys(again, now + RETRY_AFTER))
    views = key_rows.load(transaction, reasons, calendar, now)
    _record(transaction, "cancel_rotation", before, views, now)
    told = [key_events.of_cancelled_rotation(view, reasons[view.key_id]) for view in views]
    delivery.enqueue(transaction, told, now)


def withdraw(
    transaction: Connection,
    which: ColumnElement[bool],
    reason: str,
    calendar: Calendar,
    now: datetime,
    *,
    target: str | None = None,
) -> None:
    """Cancel of these keys the rotations whose secrets have not arrived, to whichever target or to this one.

    They open nothing any more, even where one is being sent: whom it was meant for is not to have it now. The keys
    must stand under an announced change. One statement where none of them rotates.
    """
    # All that rotate are held, whatever is seen of their secrets: a rotation may begin at this moment.
    on_its_way = exists().where(secrets.c.key_id == keys.c.key_id, ON_ITS_WAY)
    rotating = or_(keys.c.auto_rotate.is_(True), on_its_way)
    held = select(keys.c.key_id).where(which, rotating).order_by(keys.c.key_id).with_for_update(of=keys)
    key_ids = transaction.execute(held).scalars().all()
    withdrawn = delivery.withdraw(transaction, key_secrets.events_of(key_ids), target) if key_ids else ()
    if withdrawn:
        named = select(secrets.c.key_id).where(secrets.c.event_id.in_(withdrawn))
        reasons = dict.fromkeys(transaction.execute(named).scalars(), reason)
        before = key_rows.load(transaction, reasons, calendar, now)
        key_secrets.take_back(transaction, reasons, now)
        cancel(transaction, before, reasons, calendar, now)


def set_due(transaction: Connection, due_at: Mapping[str, datetime | None]) -> None:
    """Set when the next rotations of these keys are due; None: never again."""
    if due_at:
        transaction.execute(
            update(keys).where(keys.c.key_id == bindparam("of_key")),
            [{"of_key": key_id, "key_rotation_at": at} for key_id, at in sorted(due_at.items())],
        )


def _decided(now: datetime) -> Select[Any]:
    """The secrets on their way of which is written what has become of them, or which were for too long."""
    of_secret = and_(deliveries.c.subject == Subject.EVENT, deliveries.c.subject_id == secrets.c.event_id)
    found = (secrets.c.key_id, secrets.c.event_id, secrets.c.created_at)
    of_target = select(targets.c.last_error).where(targets.c.target == deliveries.c.target).scalar_subquery()
    error = func.coalesce(deliveries.c.last_error, of_target).label("last_error")
    state = (deliveries.c.delivered_at, deliveries.c.parked_at, error)
    return (
        select(*found, *state)
        .select_from(secrets.join(deliveries, of_secret))
        .where(
            ON_ITS_WAY,
            or_(
                deliveries.c.delivered_at.is_not(None),
                deliveries.c.parked_at.is_not(None),
                secrets.c.created_at <= now - GIVEN_UP_AFTER,
            ),
        )
    )


def _told_apart(
    transaction: Connection, found: Sequence[Row[Any]], now: datetime
) -> tuple[list[str], dict[str, str]]:
    """The keys whose new secrets have arrived, and why those of others have not, which are withdrawn.

    What is recorded as delivered at this very moment is not withdrawn any more, and left to the next run.
    """
    fates = {row.key_id: fate(row.created_at, row.delivered_at, row.parked_at, now) for row in found}
    lost = [row for row in found if fates[row.key_id] is Fate.GIVEN_UP]
    withdrawn: set[str] = set()
    if lost:
        withdrawn = set(delivery.withdraw(transaction, [row.event_id for row in lost]))
    return (
        [key_id for key_id, each in fates.items() if each is Fate.DELIVERED],
        {row.key_id: _reason(row) for row in lost if row.event_id in withdrawn},
    )


def _reason(row: Row[Any]) -> str:
    """Why a secret was given up: why it was parked, or that its day is over, with the last error at hand."""
    if row.last_error is None:
        return NOT_IN_TIME
    return str(row.last_error) if row.parked_at else f"{NOT_IN_TIME}: {row.last_error}"


def _record(
    transaction: Connection, action: str, before: Sequence[KeyView], views: Sequence[KeyView], now: datetime
) -> None:
    earlier = {view.key_id: view.stored_fields() for view in before}
    changes = [Changed(view.key_id, earlier[view.key_id], view.stored_fields()) for view in views]
    audit.record(transaction, Act(SYSTEM, now), action, "key", changes)

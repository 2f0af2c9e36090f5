"""Scheduled rotation: a key gets its next secret when that is due, and keeps the old one until it has arrived.

A new secret opens its key from the moment its delivery is written, beside the current one: whoever receives it may
use it at once. Once its delivery is recorded it is made the current one, and the grace of the old one starts;
where that is given up, it opens nothing any more and the old one stays. So whatever is killed when, a secret that
somebody holds opens the key.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, exists, or_, select

from app.clock import Clock
from app.db import Database
from app.domain import minting
from app.domain.durations import Duration
from app.domain.event_kinds import NEW_SECRET
from app.domain.keys import length
from app.domain.minting import Secret
from app.domain.rotations import Way, next_rotation, spelled
from app.domain.values import InvalidValue
from app.domain.windows import Calendar
from app.models import key_secrets as secrets
from app.models import keys
from app.services.audit import audit
from app.services.audit.audit import SYSTEM, Act, Changed
from app.services.events import delivery
from app.services.events.delivery import SEALED, Handover
from app.services.jobs.job_batches import JobBatch
from app.services.keys import key_events, key_rows, key_secrets
from app.services.keys.key_secrets import ON_ITS_WAY
from app.services.keys.key_views import KeyView
from app.services.rotations.rotation_ends import RotationEnds, cancel, set_due
from app.services.rotations.rotation_ways import RotationWays
from app.services.sealing.sealing import Sealer
from app.store import policies
from app.store.policies import Policies

ROTATION_BATCH = 500


@dataclass(frozen=True, slots=True)
class _Begun:
    """A rotation as it begins: the key, its next secret, the event that delivers it, and the way of that."""

    view: KeyView
    secret: Secret
    event_id: str
    way: Way

    @property
    def change(self) -> Changed:
        token = minting.digest(self.secret.reveal())
        sent = {"token": token, "target": self.way.target, "recipient": self.way.recipient or None}
        return Changed(self.view.key_id, None, sent)


class Rotations:
    """`grace` is what whoever receives a new secret is told about the old one."""

    def __init__(
        self,
        database: Database,
        policy_store: Policies,
        clock: Clock,
        calendar: Calendar,
        ways: RotationWays,
        ends: RotationEnds,
        sealer: Sealer,
        *,
        grace: Duration,
    ) -> None:
        self._database = database
        self._policies = policy_store
        self._clock = clock
        self._calendar = calendar
        self._ways = ways
        self._ends = ends
        self._sealer = sealer
        self._grace = grace

    def rotate_due(self) -> JobBatch:
        """Settle what is decided, then begin what is due; run twice, late, killed or two at once, each once."""
        settled, begun = self._ends.settle_due(), self.begin_due()
        return JobBatch(settled.rows + begun.rows, settled.parked + begun.parked, more=settled.more or begun.more)

    def begin_due(self) -> JobBatch:
        """Send off the next secrets of up to ROTATION_BATCH keys that are due, each once.

        One without a way for it keeps its secret, and that is told. Raises StoreUnavailable, without any change,
        and WriteStands, after which all is well: nobody has asked for a secret that nobody knew.
        """
        now = self._clock.now()
        due = _due(now)
        with self._database.read() as connection:
            oldest = due.order_by(keys.c.key_rotation_at, keys.c.key_id).limit(ROTATION_BATCH)
            named = connection.execute(oldest).scalars().all()
        if not named:
            return JobBatch(0)
        minted = {key_id: minting.mint() for key_id in named}
        tokens = [minting.digest(secret.reveal()) for secret in minted.values()]
        with (
            self._policies.change([policies.digest(token) for token in tokens]) as before_commit,
            self._database.transaction() as transaction,
        ):
            held = due.where(keys.c.key_id.in_(named)).order_by(keys.c.key_id)
            key_ids = transaction.execute(held.with_for_update(of=keys, skip_locked=True)).scalars().all()
            refused = self._begin(transaction, key_ids, minted, now) if key_ids else 0
            before_commit()
        # Where another process has all of them, it goes on with the rest as well.
        return JobBatch(len(key_ids), parked=refused, more=bool(key_ids) and len(named) == ROTATION_BATCH)

    def _begin(
        self, transaction: Connection, key_ids: Sequence[str], minted: Mapping[str, Secret], now: datetime
    ) -> int:
        """Begin the rotations for which there is a way; answers how many have none."""
        views = key_rows.load(transaction, key_ids, self._calendar, now)
        ways = self._ways.read(transaction, [view.columns["user_id"] for view in views])
        begun: list[_Begun] = []
        due_at: dict[str, datetime | None] = {}
        reasons: dict[str, str] = {}
        for view in views:
            try:
                due_at[view.key_id] = _next(view, now)
                way = ways.of(view.columns["user_id"])
            except InvalidValue as error:
                reasons[view.key_id] = str(error)
            else:
                begun.append(_Begun(view, minted[view.key_id], str(uuid.uuid4()), way))
        if begun:
            self._send_off(transaction, begun, now)
            set_due(transaction, {each.view.key_id: due_at[each.view.key_id] for each in begun})
        if reasons:
            cancel(transaction, views, reasons, self._calendar, now)
        return len(reasons)

    def _send_off(self, transaction: Connection, begun: Sequence[_Begun], now: datetime) -> None:
        sent = {each.view.key_id: (each.secret, each.event_id) for each in begun}
        key_secrets.send_off(transaction, sent, now)
        delivery.hand_over(transaction, [self._handover(each) for each in begun], now)
        audit.record(transaction, Act(SYSTEM, now), "begin_rotation", "key", [each.change for each in begun])

    def _handover(self, begun: _Begun) -> Handover:
        event = key_events.of_key(
            NEW_SECRET,
            begun.view,
            rotation_interval=begun.view.columns["rotation_interval"],
            grace_period=spelled(self._grace),
        )
        sealed = self._sealer.seal(SEALED, begun.secret.reveal())
        return Handover(begun.event_id, event, begun.way.target, begun.way.recipient, sealed)


def _due(now: datetime) -> Select[Any]:
    """The keys whose rotation is due; those that are shut anyway wait until they open again, or for ever."""
    on_its_way = exists().where(secrets.c.key_id == keys.c.key_id, ON_ITS_WAY)
    return select(keys.c.key_id).where(
        keys.c.key_rotation_at <= now,
        keys.c.auto_rotate.is_(True),
        keys.c.blocked.is_not(True),
        or_(keys.c.expires_at.is_(None), keys.c.expires_at > now),
        # The index leaves out what is shut, or every look would walk past it.
        keys.c.expiry_recorded_at.is_(None),
        ~on_its_way,
    )


def _next(view: KeyView, now: datetime) -> datetime | None:
    """When the rotation after this one is due; raises InvalidValue for a stored interval that is none."""
    columns = view.columns
    interval = length(columns["rotation_interval"] or "", "rotation_interval")
    return next_rotation(interval, columns["key_rotation_at"], now)

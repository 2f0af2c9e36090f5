"""Logs of finished calls: kept until the logging callbacks of their keys and teams have taken them.

A call is told of once, by its key and request id. Whom it goes to, and whether the bodies of its messages are kept
at all, is decided by the settings of that moment; a call that goes nowhere is not stored.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from app.db import Database, insertion
from app.domain import access, minting, standard_payload
from app.domain.callback_targets import CallbackTarget, targets_of
from app.domain.finished_calls import FinishedCall, keeps_messages
from app.domain.reservations import Reservation
from app.domain.windows import Calendar
from app.errors import InvalidRequest, KeyNotFound, ServiceError
from app.integrations.destinations import SUPPORTED
from app.models import call_logs
from app.services.audit.audit import Act
from app.services.call_logs import logged_keys
from app.services.call_logs.logged_keys import LoggedKey, LoggedKeys
from app.services.decisions.reservations import Reservations, Subject

# Names of calls become ids in it; chosen once, so that a call keeps its id for ever.
_NAMESPACE = uuid.UUID("6f1d3f4e-5a0b-4c57-9d7a-0b0e8b1f6c42")


@dataclass(frozen=True, slots=True)
class Logged:
    """`callbacks` is to how many a call goes; a `duplicate` was told before, and goes nowhere again."""

    key_id: str
    request_id: str
    callbacks: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class LogDraft:
    """A call that is about to be kept for these targets; without any it is not."""

    key_id: str
    request_id: str
    targets: Sequence[CallbackTarget]
    payload: Mapping[str, Any]

    @property
    def log_id(self) -> str:
        """The same for the same call, whenever it is told: by this a destination knows what it has already."""
        return _log_id(self.key_id, self.request_id)

    def row(self, now: datetime) -> dict[str, Any]:
        return {
            "log_id": self.log_id,
            "key_id": self.key_id,
            "request_id": self.request_id,
            "targets": [str(target) for target in self.targets],
            "payload": self.payload,
            "created_at": now,
        }


class CallLogs:
    """`log_messages` says whether the bodies of messages are kept where neither the key nor its team says so."""

    def __init__(
        self, database: Database, reservations: Reservations, calendar: Calendar, *, log_messages: bool
    ) -> None:
        self._database = database
        self._reservations = reservations
        self._calendar = calendar
        self._log_messages = log_messages

    def hand_over(self, act: Act, told: Sequence[tuple[Subject, FinishedCall]]) -> list[Logged | ServiceError]:
        """Keep finished calls, each on its own: what stands in the way of one is its answer, and no other's.

        One statement reads their keys, a second one where some are not there, and a third one writes, however many
        calls they are. Raises StoreUnavailable: then all may be sent again.
        """
        named = [self._named(act, subject) for subject, _ in told]
        keys = self._keys(
            act,
            {name for name in named if isinstance(name, str)},
            {name.key_id for name in named if isinstance(name, Reservation)},
        )
        drafts: list[LogDraft | ServiceError] = []
        for name, (subject, call) in zip(named, told, strict=True):
            if isinstance(name, ServiceError):
                drafts.append(name)
            elif isinstance(name, Reservation):
                drafts.append(self._held_draft(act, name, call, keys))
            elif (key := keys.by_token.get(name)) is not None:
                drafts.append(self._draft(act, key.key_id, subject.request_id or "", call, key))
            else:
                drafts.append(KeyNotFound())
        sound = [draft for draft in drafts if isinstance(draft, LogDraft)]
        answers = iter(self._kept(act, sound))
        return [next(answers) if isinstance(draft, LogDraft) else draft for draft in drafts]

    def drafts(self, act: Act, calls: Sequence[tuple[Reservation, FinishedCall]]) -> list[LogDraft]:
        """What is to be kept of calls that the caller may settle; two statements at the most, none for none."""
        keys = self._keys(act, set(), {reservation.key_id for reservation, _ in calls})
        return [self._held_draft(act, reservation, call, keys) for reservation, call in calls]

    def _kept(self, act: Act, drafts: Sequence[LogDraft]) -> list[Logged]:
        if not any(draft.targets for draft in drafts):
            return _logged(drafts, set())
        with self._database.transaction() as transaction:
            return keep(transaction, drafts, act.at)

    def _named(self, act: Act, subject: Subject) -> Reservation | str | ServiceError:
        """The call's reservation, else the token of its key, or what is wrong with its name."""
        if subject.reservation_id is not None:
            try:
                reservation = self._reservations.read(subject.reservation_id)
            except InvalidRequest as error:
                return error
            seen = access.may_decide(act.caller, reservation.team_id, reservation.organization_id)
            return reservation if seen else KeyNotFound()
        if subject.key is None or subject.request_id is None:
            return InvalidRequest("reservation_id is needed, or request_id and key.", "reservation_id")
        return minting.token_of(subject.key)

    def _keys(self, act: Act, tokens: Collection[str], key_ids: Collection[str]) -> LoggedKeys:
        def sees(key: LoggedKey) -> bool:
            return access.may_decide(act.caller, key.team_id, key.organization_id)

        if not tokens and not key_ids:
            return LoggedKeys({}, {})
        with self._database.read() as connection:
            return logged_keys.load(connection, tokens, key_ids, sees, self._calendar, act.at)

    def _held_draft(self, act: Act, reservation: Reservation, call: FinishedCall, keys: LoggedKeys) -> LogDraft:
        key_id = reservation.key_id
        told = call.held_by(reservation)
        return self._draft(act, key_id, reservation.request_id, told, keys.by_id.get(key_id))

    def _draft(
        self, act: Act, key_id: str, request_id: str, call: FinishedCall, key: LoggedKey | None
    ) -> LogDraft:
        targets: Sequence[CallbackTarget] = ()
        if key is not None:
            targets = targets_of(
                call.status, key_id, key.metadata, key.team_id, key.team_metadata, supported=SUPPORTED
            )
        if key is None or not targets:
            return LogDraft(key_id, request_id, (), {})
        bodies = keeps_messages(key.metadata, key.team_metadata, default=self._log_messages)
        payload = standard_payload.of_call(
            _log_id(key_id, request_id), request_id, call, key.fields, act.at, bodies=bodies
        )
        return LogDraft(key_id, request_id, targets, payload)


def keep(transaction: Connection, drafts: Sequence[LogDraft], now: datetime) -> list[Logged]:
    """Store those that go anywhere and were not told before, in one statement; what has become of each."""
    rows = {draft.log_id: draft.row(now) for draft in reversed(drafts) if draft.targets}
    if not rows:
        return _logged(drafts, set())
    statement = insertion(transaction, call_logs).on_conflict_do_nothing().returning(call_logs.c.log_id)
    # In one order for everybody: batches that share calls wait for each other here.
    found = transaction.execute(statement, [rows[log_id] for log_id in sorted(rows)])
    return _logged(drafts, {row.log_id for row in found})


def _logged(drafts: Sequence[LogDraft], new: set[str]) -> list[Logged]:
    """What is answered for each; one that stands twice among them is told once."""
    answers = []
    for draft in drafts:
        duplicate = bool(draft.targets) and draft.log_id not in new
        new.discard(draft.log_id)
        answers.append(Logged(draft.key_id, draft.request_id, len(draft.targets), duplicate))
    return answers


def _log_id(key_id: str, request_id: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{key_id}:{request_id}"))

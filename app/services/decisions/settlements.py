"""After the call: what it has cost is charged, or what was held for it is given back, or held for longer.

A charge is a committed row of the ledger before anybody is told so; Redis follows. A settle that is sent again is
recognised by its key and request id, changes nothing, and says what was charged the first time.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from app.db import Database
from app.domain import access, minting
from app.domain.limits import Account, account_at
from app.domain.reservations import SETTLED_WITHIN, Reservation
from app.domain.snapshots import Snapshot
from app.domain.windows import Calendar
from app.errors import InvalidRequest, KeyNotFound, ServiceError, StoreUnavailable
from app.services.accounts import spellings
from app.services.audit.audit import Act
from app.services.call_logs import call_logs
from app.services.call_logs.call_logs import CallLogs
from app.services.decisions.charges import Charge, Settled, Usage
from app.services.decisions.estimating import Estimating
from app.services.decisions.judging import Judging, tags_of
from app.services.decisions.reaping import Reaping
from app.services.decisions.rebasing import Rebasing
from app.services.decisions.reservations import Reservations, Subject
from app.services.decisions.snapshots import Snapshots
from app.services.ledger import ledger
from app.services.ledger.ledger import Entry
from app.store.balances import Balances, Closing

_log = structlog.get_logger(__name__)

# A host whose clock is ahead by less than this is believed.
_AHEAD = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Found:
    """What subjects without a reservation mean: keys as they were sent, reservations by key id and request id."""

    keys: Mapping[str, Snapshot | None]
    held: Mapping[tuple[str, str], str | None]


class Settlements:
    def __init__(
        self,
        database: Database,
        snapshots: Snapshots,
        judging: Judging,
        balances: Balances,
        rebasing: Rebasing,
        reaping: Reaping,
        reservations: Reservations,
        estimating: Estimating,
        logs: CallLogs,
        calendar: Calendar,
    ) -> None:
        self._database = database
        self._snapshots = snapshots
        self._judging = judging
        self._balances = balances
        self._rebasing = rebasing
        self._reaping = reaping
        self._reservations = reservations
        self._estimating = estimating
        self._logs = logs
        self._calendar = calendar

    def settle(self, act: Act, usages: Sequence[Usage]) -> list[Settled | ServiceError]:
        """Charge calls, each on its own: what stands in the way of one is its answer, and no other's.

        One transaction; the number of its statements does not grow with that of the calls. An amount above what
        was held is charged in full. Logs that charges bring are kept with them, or not at all. Raises
        StoreUnavailable: then nothing is known to be charged, and all may be sent again.
        """
        found = self._find(act, [usage.subject for usage in usages])
        drafts = [self._drafted(act, usage, found) for usage in usages]
        sound = [draft for draft in drafts if isinstance(draft, Charge)]
        telling = [draft for draft in sound if draft.usage.log is not None]
        logs = self._logs.drafts(act, [(draft.reservation, draft.finished()) for draft in telling])
        with self._database.transaction() as transaction:
            entries = [draft.entry for draft in sound]
            is_new = ledger.append(transaction, entries, act, self._calendar) if sound else []
            kept = call_logs.keep(transaction, logs, act.at)
        logged = {id(draft): answer for draft, answer in zip(telling, kept, strict=True)}
        repeated = [draft for draft, new in zip(sound, is_new, strict=True) if not new]
        known = self._reaping.charged([draft.identity for draft in repeated]) if repeated else []
        self._apply([draft for draft, new in zip(sound, is_new, strict=True) if new], known, act.at)
        recorded = {(row["key_id"], row["request_id"]): row for row in known}
        fresh = {id(draft) for draft, new in zip(sound, is_new, strict=True) if new}
        return [
            draft.settled(None if id(draft) in fresh else recorded[draft.identity], logged.get(id(draft)))
            if isinstance(draft, Charge)
            else draft
            for draft in drafts
        ]

    def release(self, act: Act, subject: Subject) -> tuple[Reservation, str]:
        """Give back what is held for a call that has cost nothing; the call, and what has become of its hold.

        `released`, `charged` where the ledger has a charge, or `absent` where nothing is known of it. Doing it
        again changes nothing. Raises InvalidRequest, KeyNotFound and StoreUnavailable.
        """
        reservation = self._held(act, subject)
        key_id, request_id = reservation.key_id, reservation.request_id
        charged = self._reaping.charged([(key_id, request_id)])
        if charged:
            self._rebasing.heal(charged, act.at)
            return reservation, "charged"
        (state,) = self._balances.close([Closing(key_id, request_id)])
        return reservation, state.removesuffix(" now")

    def extend(
        self, act: Act, subject: Subject, lease_seconds: float | None
    ) -> tuple[Reservation, datetime | str]:
        """Hold for longer, counted from now: the call, and when its hold ends or the state that forbids it.

        Raises InvalidRequest, KeyNotFound and StoreUnavailable.
        """
        reservation = self._held(act, subject)
        deadline = self._judging.deadline(lease_seconds, act.at)
        return reservation, self._balances.extend(reservation.key_id, reservation.request_id, deadline)

    # --- what is meant ---------------------------------------------------------------------------------------

    def _drafted(self, act: Act, usage: Usage, found: _Found) -> Charge | ServiceError:
        try:
            reservation, was_held = self._reservation(act, usage, found)
            amount = self._cost(usage, reservation)
        except StoreUnavailable:
            raise
        except ServiceError as error:
            return error
        columns = {
            "key_id": reservation.key_id,
            "team_id": reservation.team_id,
            "user_id": reservation.user_id,
            "organization_id": reservation.organization_id,
            "model": usage.model or reservation.model,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "tags": list(dict.fromkeys([*reservation.tags, *usage.tags])) or None,
            "end_user": usage.user or reservation.end_user,
        }
        accounts = reservation.accounts
        entry = Entry("charge", reservation.request_id, amount, reservation.held_at, accounts, columns)
        return Charge(usage, reservation, was_held, entry)

    def _held(self, act: Act, subject: Subject) -> Reservation:
        reservation, _ = self._reservation(act, Usage(subject), self._find(act, [subject]))
        return reservation

    def _find(self, act: Act, subjects: Sequence[Subject]) -> _Found:
        """The keys that subjects name, and the reservations of their holds, all at once."""
        named = {subject.key for subject in subjects if subject.reservation_id is None and subject.key is not None}
        keys = self._keys(act, named) if named else {}
        wanted = {
            (snapshot.key["key_id"], subject.request_id)
            for subject in subjects
            if subject.reservation_id is None
            and subject.request_id is not None
            and (snapshot := keys.get(subject.key or "")) is not None
        }
        holds = sorted(wanted)
        try:
            held = self._balances.reservations(holds) if holds else []
        except StoreUnavailable:
            # Known or not, the call is charged: by what is true now, where what was held is out of reach.
            held = [None for _ in holds]
        return _Found(keys, dict(zip(holds, held, strict=True)))

    def _reservation(self, act: Act, usage: Usage, found: _Found) -> tuple[Reservation, bool]:
        """The call that is meant, and whether it was ever held; one that was not is charged as if it were now."""
        subject = usage.subject
        signed, snapshot = subject.reservation_id, None
        if signed is None:
            if subject.key is None or subject.request_id is None:
                raise InvalidRequest("reservation_id is needed, or request_id and key.", "reservation_id")
            snapshot = found.keys[subject.key]
            if snapshot is None:
                raise KeyNotFound
            signed = found.held[snapshot.key["key_id"], subject.request_id]
        if signed is not None:
            reservation = self._reservations.read(signed)
        elif snapshot is not None:
            reservation = self._unheld(act, snapshot, usage)
        if not access.may_decide(act.caller, reservation.team_id, reservation.organization_id):
            raise KeyNotFound
        if act.at - reservation.held_at > SETTLED_WITHIN:
            raise InvalidRequest(
                f"The call is over for more than {SETTLED_WITHIN.days} days.",
                "occurred_at" if signed is None else "reservation_id",
            )
        return reservation, signed is not None

    def _unheld(self, act: Act, snapshot: Snapshot, usage: Usage) -> Reservation:
        at = usage.occurred_at or act.at
        if at > act.at + _AHEAD:
            raise InvalidRequest("occurred_at lies in the future.", "occurred_at")
        at = min(at, act.at)
        return Reservation(
            key_id=snapshot.key["key_id"],
            request_id=usage.subject.request_id or "",
            held_at=at,
            amount_nanos=0,
            tokens=0,
            model=usage.model,
            team_id=snapshot.key["team_id"],
            user_id=snapshot.key["user_id"],
            organization_id=snapshot.organization_id,
            end_user=None,
            tags=tags_of(snapshot, ()),
            accounts=self._judging.plan(snapshot, usage.model, at).accounts,
        )

    def _keys(self, act: Act, named: Collection[str]) -> dict[str, Snapshot | None]:
        """Keys that live, or that are deleted: what these have used is charged to their teams and owners."""
        tokens = {key: minting.token_of(key) for key in named}
        live = self._snapshots.all_of(sorted(set(tokens.values())), act.at)
        seen = {
            token
            for token, snapshot in live.items()
            if access.may_decide(act.caller, snapshot.key["team_id"], snapshot.organization_id)
        }
        # Asked of keys out of sight too: the number of statements must not tell them from what is not there.
        unseen = sorted(set(tokens.values()) - seen)
        archived = self._snapshots.archived(unseen) if unseen else {}
        return {key: live.get(token) or archived.get(token) for key, token in tokens.items()}

    def _cost(self, usage: Usage, reservation: Reservation) -> int:
        if usage.cost_nanos is not None:
            return usage.cost_nanos
        if usage.tokens is None:
            raise InvalidRequest("cost or usage is needed.", "cost")
        cost = self._estimating.cost(
            usage.model or reservation.model,
            usage.input_tokens or 0,
            usage.output_tokens or 0,
            reservation.held_at,
        )
        if cost is None:
            raise InvalidRequest("No price is known for this model: say in cost what the call has cost.", "cost")
        return cost

    # --- Redis follows ---------------------------------------------------------------------------------------

    def _apply(self, new: Sequence[Charge], known: Sequence[Mapping[str, Any]], now: datetime) -> None:
        """Close the holds of new charges, and see to it that those of repeated ones are closed.

        What comes late for a window that rolls over counts in the present one too. The charges are committed: what
        fails here is healed before they are folded.
        """
        closings = [
            Closing(
                draft.reservation.key_id,
                draft.reservation.request_id,
                amount_nanos=draft.entry.amount_nanos,
                tokens=draft.usage.tokens,
                accounts=draft.reservation.accounts,
            )
            for draft in new
        ]
        try:
            self._balances.close(closings)
            self._rebasing.counted(self._rolled_into(new, now))
            if known:
                self._rebasing.heal(known, now)
        except StoreUnavailable:
            _log.warning("charges_not_applied", charges=len(closings), repeated=len(known))

    def _rolled_into(self, new: Sequence[Charge], now: datetime) -> list[Account]:
        """The accounts, in their present windows, into which something of these charges may have been carried.

        They run by what is stored by now, not by what ran at the time of the call; one statement for each kind of
        scope, where there are any.
        """
        late = {
            account.scope: account
            for draft in new
            for account in draft.reservation.accounts
            if account.terms is not None and account.window is not None and account.window.end <= now
        }
        if not late:
            return []
        with self._database.read() as connection:
            terms = spellings.load(connection, late)
        return [
            account_at(scope, terms[scope], account.armed_at, self._calendar, now, account.window)
            for scope, account in late.items()
            if scope in terms
        ]

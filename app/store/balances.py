"""Balances in Redis: what is used and held of every budget, rate and slot, and the holds themselves.

All of it is derived and may be lost at any moment. `used` of a counter is what the ledger says of an account, and
`held` what open holds may cost yet. A counter is set from the ledger by a re-base: note, then read, then set. What
is applied meanwhile counts twice for a moment; nothing is ever missed. Time alone frees no money: a hold is closed
by its settle, its release, or the reaper, who asks the ledger first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from app.domain.limits import Account, Numbers, Plan, Unit
from app.domain.reservations import SETTLED_WITHIN
from app.store import balance_names as names
from app.store.connection import HotRedis, Lease, Script
from app.store.outcomes import Outcome, numbers_of, outcome
from app.store.policies import Freshness, Versions, fresh_token, policy_names

_HOLD = Script("policies", "balances_numbers", "balances_hold")
_LOOK = Script("balances_numbers", "balances_look")
_CLOSE = Script("balances_close")
_EXTEND = Script("balances_extend")
_EXPIRED = Script("balances_expired")
_NOTE = Script("balances_note")
_SET = Script("balances_set")

# Were an open hold forgotten, its money would stay held for ever. So long the reapers may be dead; no call can be
# settled after that.
_OPEN_MS = int(SETTLED_WITHIN.total_seconds() * 1000)
# Holds that are closed in one go: enough for a rollup to be quick, few enough for nobody else to wait long.
_CLOSED_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Call:
    """What is to be held, and until when."""

    key_id: str
    request_id: str
    plan: Plan
    amount_nanos: int
    tokens: int
    now: datetime
    deadline: datetime
    reservation: str


@dataclass(frozen=True, slots=True)
class Note:
    """How far the counter of an account had come before its spend was read."""

    account: Account
    run_id: str
    nonce: str
    applied: str
    number: str


@dataclass(frozen=True, slots=True)
class Closing:
    """A hold to close: charged with `amount_nanos`, or given back where that is None.

    `accounts` are given by the one who has just written the charge to the ledger, and by nobody else. A `deadline`
    closes only a hold that is still open until exactly then.
    """

    key_id: str
    request_id: str
    amount_nanos: int | None = None
    tokens: int | None = None
    accounts: Sequence[Account] | None = None
    deadline: str | None = None


@dataclass(frozen=True, slots=True)
class Expired:
    key_id: str
    request_id: str
    deadline: str


class Balances:
    """`longest_lease_seconds` bounds how long a hold can be open without being extended.

    `refuse_after_loss_seconds` is how long budgeted calls are refused after Redis was lost; 0 never does.
    """

    def __init__(
        self, redis: HotRedis, *, longest_lease_seconds: float, refuse_after_loss_seconds: float = 0
    ) -> None:
        self._redis = redis
        self._keep_ms = int(longest_lease_seconds * 2000) + 3_600_000
        self._loss_ms = int(refuse_after_loss_seconds * 1000)

    def hold(self, call: Call, versions: Versions | None) -> Outcome:
        """Decide and hold, every limit or none; one round trip; raises StoreUnavailable.

        `versions` are those of the snapshots that the call was judged by; without them it was judged from SQL.
        Repeated with the request id of a hold that was not released, it holds nothing more.
        """
        with self._redis.lease() as lease:
            if versions is not None and versions.run_id != lease.run_id:
                return Freshness.STALE
            keys = [
                lease.name("born"),
                names.hold(lease, call.key_id, call.request_id),
                lease.name("holds"),
                *policy_names(lease, () if versions is None else versions.entities),
                *self._limits(lease, call.plan, call.now),
            ]
            tokens = () if versions is None else versions.tokens
            answer = lease.run(_HOLD, keys, [orjson.dumps(self._call(call, tokens)).decode()])
        return outcome(answer, call.reservation, call.deadline)

    def look(self, plan: Plan, now: datetime) -> Numbers:
        """How full the limits of a plan are, as far as Redis knows; one round trip, and nothing is held."""
        with self._redis.lease() as lease:
            found = lease.run(
                _LOOK,
                self._limits(lease, plan, now),
                [names.milliseconds(now), *map(len, (plan.budgets, plan.rates))],
            )
        return numbers_of(*found)

    def _limits(self, lease: Lease, plan: Plan, now: datetime) -> list[str]:
        return [
            *(names.counter(lease, budget.account) for budget in plan.budgets),
            *(names.rate(lease, rate.scope, rate.unit, now) for rate in plan.rates),
            *(names.slots(lease, slots) for slots in plan.slots),
        ]

    def note(self, accounts: Sequence[Account], *, create: bool) -> list[Note]:
        """Note the accounts' counters before their spend is read; those absent are made, or passed over."""
        if not accounts:
            return []
        with self._redis.lease() as lease:
            keys = [names.counter(lease, account) for account in accounts]
            found = lease.run(_NOTE, keys, [fresh_token(), int(create), self._keep_ms])
            return [
                Note(account, lease.run_id, *entry)
                for account, entry in zip(accounts, found, strict=True)
                if entry
            ]

    def set(self, spends: Iterable[tuple[Note, int | None]]) -> None:
        """Set the noted counters to the spends that were read since; one that has changed hands is left alone.

        None is the spend of a window that is over for the ledger: its counter is cold from then on.
        """
        spends = list(spends)
        with self._redis.lease() as lease:
            mine = [(note, spend) for note, spend in spends if note.run_id == lease.run_id]
            if mine:
                keys = [names.counter(lease, note.account) for note, _ in mine]
                arguments: list[str | int] = [
                    part
                    for note, spend in mine
                    for part in (note.nonce, note.applied, note.number, "" if spend is None else spend)
                ]
                lease.run(_SET, keys, arguments)

    def close(self, closings: Sequence[Closing]) -> list[str]:
        """Close the holds, each once whatever is repeated; what each of them is now.

        A round trip for every 200.
        """
        answers: list[str] = []
        for start in range(0, len(closings), _CLOSED_AT_ONCE):
            with self._redis.lease() as lease:
                items = [_item(lease, closing) for closing in closings[start : start + _CLOSED_AT_ONCE]]
                arguments: list[str | int] = [orjson.dumps(items).decode(), self._keep_ms]
                answers += lease.run(_CLOSE, [lease.name("holds")], arguments)
        return answers

    def extend(self, key_id: str, request_id: str, deadline: datetime) -> datetime | str:
        """Let an open hold end no sooner than `deadline`; its deadline then, or the state that forbids it."""
        with self._redis.lease() as lease:
            keys = [names.hold(lease, key_id, request_id), lease.name("holds")]
            state, until = lease.run(_EXTEND, keys, [names.milliseconds(deadline), self._keep_ms, _OPEN_MS])
        return names.instant(until) if state == "open" else str(state)

    def expired(self, now: datetime, most: int) -> list[Expired]:
        """Holds that are still open past their deadline, the oldest first."""
        with self._redis.lease() as lease:
            found = lease.run(_EXPIRED, [lease.name("holds")], [names.milliseconds(now), most])
        return [Expired(*entry) for entry in found]

    def open_holds(self) -> int:
        """How many holds are open, those past their lease included; raises StoreUnavailable."""
        with self._redis.lease() as lease:
            return lease.members(lease.name("holds"))

    def reservations(self, holds: Sequence[tuple[str, str]]) -> list[str | None]:
        """The reservations of holds, by key id and request id; None where nothing is known."""
        with self._redis.lease() as lease:
            keys = [names.hold(lease, key_id, request_id) for key_id, request_id in holds]
            return lease.fields(keys, "reservation")

    def _call(self, call: Call, tokens: Sequence[str]) -> dict[str, Any]:
        plan = call.plan
        return {
            "versions": tokens,
            "fresh": fresh_token(),
            "now": names.milliseconds(call.now),
            "deadline": names.milliseconds(call.deadline),
            "amount": str(call.amount_nanos),
            "budgets": [
                (str(budget.cap_nanos), self._lifetime(budget.account, call.now)) for budget in plan.budgets
            ],
            "rates": [
                (str(rate.limit), str(call.tokens if rate.unit is Unit.TOKENS else 1), rate.unit is Unit.TOKENS)
                for rate in plan.rates
            ],
            "slots": [str(slots.limit) for slots in plan.slots],
            "keep": str(self._keep_ms),
            "open": str(_OPEN_MS),
            "loss": str(self._loss_ms),
            "key_id": call.key_id,
            "request_id": call.request_id,
            "reservation": call.reservation,
        }

    def _lifetime(self, account: Account, now: datetime) -> str:
        """How long a counter is kept: past the end of its window by more than the longest lease."""
        rest = 0.0 if account.window is None else max(0.0, (account.window.end - now).total_seconds())
        return str(int(rest * 1000) + self._keep_ms)


def _item(lease: Lease, closing: Closing) -> Mapping[str, Any]:
    item: dict[str, Any] = {"hold": names.hold(lease, closing.key_id, closing.request_id)}
    if closing.amount_nanos is not None:
        item["amount"] = str(closing.amount_nanos)
    if closing.tokens is not None:
        item["tokens"] = closing.tokens
    if closing.deadline is not None:
        item["deadline"] = closing.deadline
    if closing.accounts is not None:
        item["inserted"] = True
        item["counters"] = [names.counter(lease, account) for account in closing.accounts]
    return item

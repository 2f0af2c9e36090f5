"""The truth: committed rows. Each public method is one statement or one transaction, so one step."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from tests.model.rollover import Kept, charged, opening
from tests.model.scopes import KEY, SCOPES, Counter, Scope, counter, window_start


class Key(NamedTuple):
    cap: int
    team: Scope
    blocked: bool = False
    deleted: bool = False
    revision: int = 0


class Team(NamedTuple):
    cap: int
    blocked: bool = False
    revision: int = 0


class Snapshot(NamedTuple):
    """A key and its team as they stand together; without a team where the key is gone."""

    key: Key
    team: Team | None

    @property
    def opens(self) -> bool:
        return self.team is not None and not (self.key.blocked or self.team.blocked)


@dataclass(frozen=True)
class Policy:
    """All that administrators set; every committed one is kept in `Sql.history`."""

    key: Key
    teams: dict[Scope, Team]

    def snapshot(self) -> Snapshot:
        return Snapshot(self.key, None if self.key.deleted else self.teams[self.key.team])


@dataclass(frozen=True)
class Entry:
    """A row of the ledger: a charge, or a correction (whose request id nobody else has)."""

    request_id: str
    amount: int
    scopes: tuple[Scope, ...]
    occurred_at: int

    @cached_property
    def counters(self) -> tuple[Counter, ...]:
        return tuple(counter(scope, self.occurred_at) for scope in self.scopes)


@dataclass
class BudgetState:
    window_start: int = 0
    window_spend: int = 0
    lifetime_spend: int = 0
    kept: dict[int, Kept] = field(default_factory=dict)


@dataclass
class Sql:
    """`rolls` where windows carry on what was spent beyond the key's cap."""

    policy: Policy
    rolls: bool = False
    history: list[Policy] = field(default_factory=list)
    ledger: dict[int, Entry] = field(default_factory=dict)
    unfolded: set[int] = field(default_factory=set)
    state: dict[Scope, BudgetState] = field(default_factory=lambda: {scope: BudgetState() for scope in SCOPES})
    last_id: int = 0

    def __post_init__(self) -> None:
        self.history.append(self.policy)

    # --- policies ----------------------------------------------------------------------------------------------------

    def change(self, edit: Callable[[Policy], Policy], now: int) -> int:
        """Commit a change and return its place in the history; a window that has passed did so by the former cap."""
        if self.rolls:
            self._move(KEY, now)
        self.policy = edit(self.policy)
        self.history.append(self.policy)
        return len(self.history) - 1

    def snapshot(self) -> Snapshot:
        return self.policy.snapshot()

    # --- the ledger --------------------------------------------------------------------------------------------------

    def next_id(self) -> int:
        """A sequence gives its numbers outside of transactions, so a lower one may be committed later."""
        self.last_id += 1
        return self.last_id

    def charged(self, request_ids: Iterable[str]) -> dict[str, Entry]:
        return {entry.request_id: entry for entry in self.ledger.values() if entry.request_id in request_ids}

    def settle(self, ledger_id: int, entry: Entry) -> tuple[bool, Entry]:
        """Commit a charge unless its request has one; returns whether it is new, and the one that stands."""
        recorded = self.charged([entry.request_id]).get(entry.request_id)
        if recorded is not None:
            return False, recorded
        self._append(ledger_id, entry)
        return True, entry

    def correct(self, ledger_id: int, request_id: str, scope: Scope, spend: int, now: int) -> Entry:
        """Set what a scope has spent in its window, by a row of the difference."""
        current = self.current_spend(counter(scope, now))
        assert current is not None
        entry = Entry(request_id, spend - current, (scope,), now)
        self._append(ledger_id, entry)
        return entry

    def current_spend(self, of: Counter) -> int | None:
        """What a scope has spent in the counter's window; None where the stored window is a later one."""
        stored = self.stored(of.scope)
        if of.window_start is None or stored.window_start is None or stored.window_start == of.window_start:
            return self._spend_of_stored(stored)
        if stored.window_start > of.window_start:
            return None
        if not self.rolls:
            return 0
        return opening({stored.window_start: self._stored_as_kept(self._spend_of_stored(stored))}, of.window_start)

    def _spend_of_stored(self, stored: Counter) -> int:
        waiting = sum(entry.amount for entry in self.unfolded_rows() if stored in entry.counters)
        return self.state[stored.scope].window_spend + waiting + self._carried(stored, self.unfolded_rows())

    def _stored_as_kept(self, used: int) -> Kept:
        return Kept(used, self.policy.key.cap)

    def _carried(self, stored: Counter, entries: Iterable[Entry]) -> int:
        """What these rows add to a window that is stored from those before it."""
        if not self.rolls or stored.window_start is None:
            return 0
        kept = self.state[stored.scope].kept
        after = charged(kept, self._late(stored, entries))
        return opening(after, stored.window_start) - opening(kept, stored.window_start)

    def _late(self, stored: Counter, entries: Iterable[Entry]) -> dict[int, int]:
        """What these rows charge to windows that have passed."""
        late: dict[int, int] = defaultdict(int)
        for entry in entries:
            for each in entry.counters:
                if each.scope == stored.scope and each != stored and each.window_start is not None:
                    late[each.window_start] += entry.amount
        return late

    def lifetime_spend(self, scope: Scope) -> int:
        unfolded = sum(entry.amount for entry in self.unfolded_rows() if scope in entry.scopes)
        return self.state[scope].lifetime_spend + unfolded

    def to_fold(self, limit: int, now: int) -> tuple[dict[int, Entry], list[Counter]]:
        """Some unfolded rows, and the counters of the scopes they touch, also in a window that is not stored yet."""
        rows = {ledger_id: self.ledger[ledger_id] for ledger_id in sorted(self.unfolded)[:limit]}
        scopes = dict.fromkeys(self._scopes(rows))
        touched = [self.stored(scope) for scope in scopes]
        return rows, [*touched, *(self._present(scopes, now) if self.rolls else ())]

    def _present(self, scopes: Iterable[Scope], now: int) -> list[Counter]:
        """The counters of windows that run and that nobody has stored yet."""
        return [each for scope in scopes if (each := counter(scope, now)) != self.stored(scope)]

    def fold(self, ledger_ids: Iterable[int]) -> None:
        """Claim those of the rows that are still unfolded and add them to the state."""
        for ledger_id in self.unfolded.intersection(ledger_ids):
            self.unfolded.remove(ledger_id)
            for scope in self.ledger[ledger_id].scopes:
                self._add(scope, self.ledger[ledger_id])

    def move(self, now: int) -> None:
        """The job that moves passed windows."""
        self._move(KEY, now)

    def _append(self, ledger_id: int, entry: Entry) -> None:
        for scope in entry.scopes:
            self._move(scope, entry.occurred_at)
        self.ledger[ledger_id] = entry
        self.unfolded.add(ledger_id)

    def unfolded_rows(self) -> list[Entry]:
        return [self.ledger[ledger_id] for ledger_id in self.unfolded]

    def _scopes(self, rows: dict[int, Entry]) -> Iterator[Scope]:
        return (scope for entry in rows.values() for scope in entry.scopes)

    def _add(self, scope: Scope, entry: Entry) -> None:
        state = self.state[scope]
        state.lifetime_spend += entry.amount
        stored = self.stored(scope)
        if stored in entry.counters:
            state.window_spend += entry.amount
        elif self.rolls:
            state.window_spend += self._carried(stored, [entry])
            state.kept = charged(state.kept, self._late(stored, [entry]))

    def stored(self, scope: Scope) -> Counter:
        """The counter of the window that is stored."""
        return Counter(scope, self.state[scope].window_start if scope == KEY else None)

    def _move(self, scope: Scope, at: int) -> None:
        """The only zeroing there is, but for what is carried on: compare and set on the window's start."""
        state = self.state[scope]
        start = window_start(at)
        if scope == KEY and state.window_start < start:
            if self.rolls:
                state.kept[state.window_start] = self._stored_as_kept(state.window_spend)
            state.window_start, state.window_spend = start, opening(state.kept, start)

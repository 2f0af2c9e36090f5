"""What can be lost at any moment. Each public method is one script, so one step."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from tests.model.scopes import CHANGE, LEASE, Counter


class Versions(NamedTuple):
    """The tokens of some entities at one moment; `dirty` while a change of one of them is under way."""

    tokens: dict[str, str]
    dirty: bool


class Freshness(StrEnum):
    FRESH = "FRESH"
    STALE = "STALE"
    DIRTY = "DIRTY"


class State(StrEnum):
    OPEN = "open"
    CHARGED = "charged"
    RELEASED = "released"


class Verdict(StrEnum):
    DIRTY = "DIRTY"
    STALE = "STALE"
    COLD = "COLD"
    REPLAYED = "REPLAYED"
    REFUSED = "REFUSED"
    ALLOWED = "ALLOWED"


class Decision(NamedTuple):
    """`counters`: the cold ones, or those that refuse and have moved since their last confirmation."""

    verdict: Verdict
    counters: Sequence[Counter] = ()
    expired: bool = False


class Note(NamedTuple):
    nonce: str
    applied: int
    number: int


@dataclass
class Version:
    token: str | None = None
    marks: dict[str, int] = field(default_factory=dict)


@dataclass
class Balance:
    nonce: str
    used: int = 0
    held: int = 0
    applied: int = 0
    seeded: bool = False
    noted: int = 0
    based: int = 0
    confirmed: int = 0


@dataclass
class Hold:
    """Open, or the tombstone that is left of it."""

    state: State
    estimate: int
    deadline: int
    counters: tuple[Counter, ...]


@dataclass
class Redis:
    now: int = 0
    versions: dict[str, Version] = field(default_factory=dict)
    balances: dict[Counter, Balance] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)

    def flushall(self) -> None:
        self.versions.clear()
        self.balances.clear()
        self.holds.clear()

    # --- policies ----------------------------------------------------------------------------------------------------

    def mark(self, entities: Sequence[str], mark: str) -> int:
        deadline = self.now + CHANGE
        for entity in entities:
            self._version(entity).marks[mark] = deadline
        return deadline

    def publish(self, entities: Sequence[str], mark: str, fresh: str) -> None:
        for entity in entities:
            version = self._version(entity)
            version.marks.pop(mark, None)
            version.token = fresh

    def adopt(self, entities: Sequence[str], fresh: str) -> Versions:
        dirty = False
        for entity in entities:
            version = self._version(entity)
            if self._lapse(version) or version.token is None:
                version.token = fresh
            dirty |= bool(version.marks)
        return Versions({entity: self._version(entity).token or "" for entity in entities}, dirty)

    def check(self, versions: Versions, fresh: str) -> Freshness:
        dirty = stale = False
        for entity, token in versions.tokens.items():
            version = self._version(entity)
            if self._lapse(version):
                version.token = fresh
            dirty |= bool(version.marks)
            stale |= version.token != token
        if dirty:
            return Freshness.DIRTY
        return Freshness.STALE if stale else Freshness.FRESH

    def _version(self, entity: str) -> Version:
        return self.versions.setdefault(entity, Version())

    def _lapse(self, version: Version) -> bool:
        """Take off the marks past their deadline."""
        lapsed = [mark for mark, deadline in version.marks.items() if deadline <= self.now]
        for mark in lapsed:
            del version.marks[mark]
        return bool(lapsed)

    # --- balances ----------------------------------------------------------------------------------------------------

    def verify(
        self, versions: Versions | None, caps: dict[Counter, int], request_id: str, estimate: int, fresh: str
    ) -> Decision:
        """Decide; all counters are charged and the hold opened, or nothing is. No versions: just read from SQL."""
        if versions is not None and (found := self.check(versions, fresh)) is not Freshness.FRESH:
            return Decision(Verdict(found))
        if request_id in self.holds and self.holds[request_id].state is not State.RELEASED:
            return Decision(Verdict.REPLAYED)
        if cold := [counter for counter in caps if not self._is_warm(counter)]:
            return Decision(Verdict.COLD, cold)
        if refusing := [counter for counter, cap in caps.items() if not self._admits(counter, cap, estimate)]:
            balances = {counter: self.balances[counter] for counter in refusing}
            moved = [counter for counter, balance in balances.items() if balance.applied != balance.confirmed]
            return Decision(Verdict.REFUSED, moved, expired=bool(self.expired()))
        for counter in caps:
            self.balances[counter].held += estimate
        self.holds[request_id] = Hold(State.OPEN, estimate, self.now + LEASE, tuple(caps))
        return Decision(Verdict.ALLOWED)

    def note(self, counter: Counter, fresh: str) -> Note:
        """Remember where a counter stands before its spend is read; an absent one is created, unseeded."""
        balance = self.balances.setdefault(counter, Balance(fresh))
        balance.noted += 1
        return Note(balance.nonce, balance.applied, balance.noted)

    def set(self, counter: Counter, note: Note, spend: int | None) -> bool:
        """Take over the spend that was read after the note, plus whatever was applied since.

        None where the counter's window is no longer the stored one: nobody shall decide by this counter any more.
        """
        balance = self.balances.get(counter)
        if balance is None or balance.nonce != note.nonce or balance.based > note.number:
            return False
        balance.seeded, balance.based = spend is not None, note.number
        if spend is not None:
            balance.used = spend + (balance.applied - note.applied)
            balance.confirmed = note.applied
        return True

    def apply(
        self, request_id: str, counters: Iterable[Counter], amount: int, *, new: bool, deadline: int | None = None
    ) -> bool:
        """Count a committed charge: `held` goes down where the hold counted, `used` up where the charge does.

        A reaper gives the deadline it has read and reaches only that hold. Returns whether the charge is counted.
        """
        hold = self.holds.get(request_id)
        if deadline is not None and not self._still(hold, deadline):
            return False
        if hold is None and not new:
            return False
        if hold is not None and hold.state is State.CHARGED:
            return True
        if hold is not None:
            self._close(hold)
        self._add(counters, amount)
        self.holds[request_id] = Hold(State.CHARGED, 0, 0, tuple(counters))
        return True

    def release(self, request_id: str, deadline: int | None = None) -> bool:
        """Give the hold's money back; returns whether it was open."""
        hold = self.holds.get(request_id)
        if (
            hold is None
            or hold.state is not State.OPEN
            or (deadline is not None and not self._still(hold, deadline))
        ):
            return False
        self._close(hold)
        hold.state = State.RELEASED
        return True

    def extend(self, request_id: str) -> bool:
        hold = self.holds.get(request_id)
        if hold is None or hold.state is not State.OPEN:
            return False
        hold.deadline = max(hold.deadline, self.now + LEASE)
        return True

    def expired(self) -> dict[str, int]:
        """The open holds past their lease, each with its deadline."""
        return {
            request_id: hold.deadline
            for request_id, hold in self.holds.items()
            if hold.state is State.OPEN and hold.deadline < self.now
        }

    def _is_warm(self, counter: Counter) -> bool:
        return counter in self.balances and self.balances[counter].seeded

    def _admits(self, counter: Counter, cap: int, estimate: int) -> bool:
        taken = self.balances[counter].used + self.balances[counter].held
        return taken < cap and taken + estimate <= cap

    def _still(self, hold: Hold | None, deadline: int) -> bool:
        return hold is not None and hold.state is State.OPEN and hold.deadline == deadline

    def _close(self, hold: Hold) -> None:
        if hold.state is State.OPEN:
            for counter in hold.counters:
                self.balances[counter].held -= hold.estimate

    def _add(self, counters: Iterable[Counter], amount: int) -> None:
        for counter in counters:
            # An absent counter needs nothing: the row is committed, and whoever makes it reads after that.
            if counter in self.balances:
                self.balances[counter].used += amount
                self.balances[counter].applied += amount

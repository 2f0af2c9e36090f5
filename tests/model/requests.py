"""How each request goes from one step to the next.

A request is a generator. It yields the name of its next step and does that step, one script or one transaction,
when it is resumed; whatever else happens meanwhile happens between two of its steps. The steps named in `ON_REDIS`
fail with `RedisAway` where the process has lost Redis for a moment.
"""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from tests.model.redis import Decision, Freshness, Verdict, Versions
from tests.model.scopes import COMMIT, KEY, Counter, Scope, counter
from tests.model.sql import Entry, Policy, Snapshot

if TYPE_CHECKING:
    from tests.model.world import Process

ON_REDIS = {"mark", "publish", "adopt", "check", "verify", "note", "set", "expired", "close", "apply", "extend"}
# More rounds than this, and a verify gives up with a 503.
ROUNDS = 6

T = TypeVar("T")
Steps = Generator[str, None, T]


class RedisAway(Exception):
    """For this call of this process."""


class NoVerdict(Exception):
    """503."""


@dataclass(frozen=True)
class Reservation:
    """What an allowed verify hands to its caller."""

    request_id: str
    estimate: int
    scopes: tuple[Scope, ...]
    occurred_at: int


class Change(NamedTuple):
    """An administrator's change: what it announces, and the edit."""

    entities: tuple[str, ...]
    edit: Callable[[Policy], Policy]


class Answer(NamedTuple):
    verdict: Verdict
    snapshot: Snapshot


def entities(snapshot: Snapshot) -> tuple[str, ...]:
    if snapshot.team is None:
        return ("digest",)
    return ("digest", "key", snapshot.key.team.id)


class Requests:
    """What one process does; `self.process` is its memory, which dies with it."""

    def __init__(self, process: "Process") -> None:
        self.process = process
        self.world = process.world
        self.redis = process.world.redis
        self.sql = process.world.sql
        self.truth = process.world.truth

    # --- policies ----------------------------------------------------------------------------------------------------

    def change(self, change: Change) -> Steps[bool]:
        """Mark, commit, publish; answers whether the change is acknowledged."""
        mark = self.world.fresh()
        yield "mark"
        deadline = self.redis.mark(change.entities, mark)
        flushes = self.world.flushes
        yield "commit"
        # A commit that could come after the mark has lapsed is given up.
        committed = deadline - self.world.now > COMMIT
        place = self.sql.change(change.edit, self.world.now) if committed else 0
        if committed:
            self.truth.capped()
        try:
            yield "publish"
            self.redis.publish(change.entities, mark, self.token())
        except RedisAway:
            # While the mark stands everybody decides from SQL. A mark lost with Redis leaves only the age of a copy.
            if self.world.now >= deadline or flushes != self.world.flushes:
                return False
        if committed:
            self.truth.known = max(self.truth.known, place)
        return committed

    def load(self) -> Steps[tuple[Snapshot, Versions | None]]:
        """Ids, then their versions, then the snapshot; without versions where it decides this one call only."""
        for _ in range(3):
            yield "ids"
            ids = entities(self.sql.snapshot())
            yield "adopt"
            versions = self.redis.adopt(ids, self.token())
            snapshot = yield from self.read_snapshot()
            if entities(snapshot) == ids:
                self.process.cache = None if versions.dirty else (snapshot, versions)
                return snapshot, None if versions.dirty else versions
        self.process.cache = None
        return (yield from self.read_snapshot()), None

    def read_snapshot(self) -> Steps[Snapshot]:
        yield "snapshot"
        return self.sql.snapshot()

    def token(self) -> str:
        return self.world.fresh()

    # --- verify ------------------------------------------------------------------------------------------------------

    def verify(self, request_id: str, estimate: int) -> Steps[Answer]:
        known = self.truth.known
        answer = yield from self.decide(request_id, estimate)
        self.truth.decided(answer.snapshot, known)
        return answer

    def decide(self, request_id: str, estimate: int) -> Steps[Answer]:
        now = self.world.now
        snapshot, versions = self.process.cache or (yield from self.load())
        reaped = False
        for _ in range(ROUNDS):
            caps = self.plan(snapshot, now) if snapshot.opens else None
            decision = yield from self.ask(versions, caps, request_id, estimate)
            match decision.verdict:
                case Verdict.DIRTY | Verdict.STALE:
                    snapshot, versions = yield from self.again(Freshness(decision.verdict))
                case Verdict.COLD:
                    if (yield from self.rebase(decision.counters)):
                        now = max(self.world.now, now)
                case Verdict.REFUSED if decision.expired and not reaped:
                    yield from self.reap()
                    reaped = True
                case Verdict.REFUSED if decision.counters:
                    yield from self.rebase(decision.counters)
                case Verdict.ALLOWED if caps is not None:
                    reservation = Reservation(request_id, estimate, tuple(each.scope for each in caps), now)
                    self.truth.allowed(reservation, caps)
                    self.world.reservations.append(reservation)
                    return Answer(decision.verdict, snapshot)
                case _:
                    return Answer(decision.verdict, snapshot)
        raise NoVerdict

    def ask(
        self, versions: Versions | None, caps: dict[Counter, int] | None, request_id: str, estimate: int
    ) -> Steps[Decision]:
        """The one script; what the snapshot alone refuses (no caps) needs only its versions looked at."""
        if caps is not None:
            yield "verify"
            return self.redis.verify(versions, caps, request_id, estimate, self.token())
        if versions is None:
            return Decision(Verdict.REFUSED)
        yield "check"
        found = self.redis.check(versions, self.token())
        return Decision(Verdict.REFUSED if found is Freshness.FRESH else Verdict(found))

    def again(self, found: Freshness) -> Steps[tuple[Snapshot, Versions | None]]:
        if found is Freshness.STALE:
            return (yield from self.load())
        self.process.cache = None
        return (yield from self.read_snapshot()), None

    def plan(self, snapshot: Snapshot, now: int) -> dict[Counter, int]:
        assert snapshot.team is not None
        return {counter(KEY, now): snapshot.key.cap, counter(snapshot.key.team, now): snapshot.team.cap}

    # --- balances ----------------------------------------------------------------------------------------------------

    def rebase(self, counters: Iterable[Counter]) -> Steps[bool]:
        """Note, read, set; answers whether a window has gone by, whose spend nobody can tell any more."""
        notes = {}
        for each in counters:
            yield "note"
            notes[each] = self.redis.note(each, self.world.fresh())
        yield "read"
        spends = {each: self.current_spend(each) for each in notes}
        for each, spend in spends.items():
            yield "set"
            self.redis.set(each, notes[each], spend)
        return None in spends.values()

    def current_spend(self, of: Counter) -> int | None:
        return self.sql.current_spend(of)

    def settle(self, reservation: Reservation, amount: int) -> Steps[tuple[bool, int]]:
        """Commit the charge, then apply it; answers whether it is a duplicate, and the amount that counts."""
        now = self.world.now
        asked = Entry(reservation.request_id, amount, reservation.scopes, reservation.occurred_at)
        yield "insert"
        ledger_id = self.sql.next_id()
        yield "commit"
        new, entry = self.sql.settle(ledger_id, asked)
        self.truth.committed(entry)
        try:
            yield "apply"
            if self.redis.apply(entry.request_id, entry.counters, entry.amount, new=new):
                self.truth.counted(entry)
            if new and (later := self.rolled_into(entry, now)):
                yield from self.rebase(later)
                self.truth.healed([entry], later)
        except RedisAway:
            pass
        self.truth.settled(entry.request_id, entry.amount)
        return not new, entry.amount

    def rolled_into(self, entry: Entry, now: int) -> list[Counter]:
        """The counters of present windows, into which something of a charge that comes late may have been carried."""
        if not self.sql.rolls:
            return []
        present = [counter(scope, now) for scope in entry.scopes]
        return [each for each in present if each not in entry.counters]

    def settle_without_hold(self, request_id: str, amount: int) -> Steps[tuple[bool, int]]:
        now = self.world.now
        yield "ids"
        scopes = (KEY, self.sql.snapshot().key.team)
        return (yield from self.settle(Reservation(request_id, 0, scopes, now), amount))

    def release(self, request_id: str) -> Steps[None]:
        """Give a hold back, unless the ledger knows its charge."""
        with self.truth.given_up(request_id):
            yield "charged"
            charged = self.sql.charged([request_id])
            yield "close"
            self.close(request_id, charged, None)

    def extend(self, request_id: str) -> Steps[None]:
        yield "extend"
        if self.redis.extend(request_id):
            self.truth.extended(request_id)

    def reap(self) -> Steps[None]:
        """Close expired holds, each as the ledger says."""
        yield "expired"
        expired = self.redis.expired()
        yield "charged"
        charged = self.sql.charged(expired)
        for request_id, deadline in expired.items():
            yield "close"
            self.close(request_id, charged, deadline)

    def close(self, request_id: str, charged: dict[str, Entry], deadline: int | None) -> None:
        if request_id in charged:
            entry = charged[request_id]
            if self.redis.apply(request_id, entry.counters, entry.amount, new=False, deadline=deadline):
                self.truth.counted(entry)
        elif self.redis.release(request_id, deadline):
            self.truth.given_back(request_id)

    # --- the books ---------------------------------------------------------------------------------------------------

    def fold(self, limit: int) -> Steps[None]:
        """Re-base the counters first: the unfolded row is what reminds everybody that it must be done."""
        yield "unfolded"
        rows, touched = self.sql.to_fold(limit, self.world.now)
        yield from self.rebase(touched)
        self.truth.healed(rows.values(), touched)
        yield "fold"
        self.sql.fold(rows)

    def move(self) -> Steps[None]:
        yield "move"
        self.sql.move(self.world.now)

    def correct(self, scope: Scope, spend: int) -> Steps[None]:
        """An administrator sets what a scope has spent."""
        request_id = f"correction-{self.world.fresh()}"
        ledger_id = self.sql.next_id()
        yield "correct"
        entry = self.sql.correct(ledger_id, request_id, scope, spend, self.world.now)
        self.truth.corrected(entry)
        yield from self.rebase(entry.counters)
        self.truth.counted(entry)

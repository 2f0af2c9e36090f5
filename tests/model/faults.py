"""Faults planted in the protocol, each with the shortest order of events that shows it.

Each is one rule left out or done the obvious wrong way. An order begins in a fresh world: nothing spent, the key in
its first window with a cap of 8, its team with one of 10.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.model import changes
from tests.model.redis import Balance, Decision, Note, Redis, State, Versions
from tests.model.requests import Requests, Steps, entities
from tests.model.scopes import KEY, LEASE, TEAMS, WINDOW, Counter, Scope, counter
from tests.model.sql import Entry, Snapshot, Sql
from tests.model.world import World


class Fault(NamedTuple):
    parts: dict[str, type]
    order: Callable[[World], None]


# --- policies --------------------------------------------------------------------------------------------------------


class NoMark(Redis):
    def mark(self, entities: Sequence[str], mark: str) -> int:
        deadline = super().mark(entities, mark)
        for entity in entities:
            del self.versions[entity].marks[mark]
        return deadline


def a_publication_is_lost(world: World) -> None:
    world.do(0, "verify", "a", 1)
    change = world.start(1, "change", changes.BLOCK).until("publish")
    world.processes[1].loses_redis = True
    assert change.finish()
    world.do(0, "verify", "b", 1)


class TornSnapshot(Requests):
    """Key and team are read in two statements."""

    def read_snapshot(self) -> Steps[Snapshot]:
        yield "snapshot"
        key = self.sql.snapshot().key
        yield "snapshot"
        return Snapshot(key, None if key.deleted else self.sql.policy.teams[key.team])


def two_changes_between_two_statements(world: World) -> None:
    change = world.start(1, "change", changes.BLOCK).until("commit")
    read = world.start(0, "verify", "a", 1).past("snapshot")
    change.finish()
    world.do(1, "change", changes.of_team(TEAMS[0], cap=5))
    read.finish()


class KeyReadWithTheIds(Requests):
    """The row that gives the ids is kept, so it is older than the versions."""

    def load(self) -> Steps[tuple[Snapshot, Versions | None]]:
        yield "ids"
        old = self.sql.snapshot()
        yield "adopt"
        versions = self.redis.adopt(entities(old), self.token())
        yield "snapshot"
        team = self.sql.policy.teams[old.key.team]
        self.process.cache = (Snapshot(old.key, None if old.key.deleted else team), versions)
        return self.process.cache


def a_change_between_ids_and_versions(world: World) -> None:
    read = world.start(0, "verify", "a", 1).past("ids")
    world.do(1, "change", changes.BLOCK)
    read.finish()
    world.do(0, "verify", "b", 1)


class VersionCarriedByTheProcess(Requests):
    """Where a token is absent, a process puts back the one it remembers."""

    def decide(self, request_id: str, estimate: int) -> Steps[Any]:
        if self.process.cache is not None:
            for entity, token in self.process.cache[1].tokens.items():
                version = self.redis.versions.get(entity)
                if version is None:
                    self.redis.publish([entity], "", token)
        return (yield from super().decide(request_id, estimate))


def redis_is_lost_after_a_change(world: World) -> None:
    world.do(0, "verify", "a", 1)
    world.do(1, "change", changes.BLOCK)
    world.flushall()
    world.do(0, "verify", "b", 1)


@dataclass
class TokensOfLua(Redis):
    """Random of the script's own: the same numbers again after each start."""

    drawn: int = 0

    def flushall(self) -> None:
        super().flushall()
        self.drawn = 0

    def publish(self, entities: Sequence[str], mark: str, fresh: str) -> None:
        super().publish(entities, mark, self._draw())

    def adopt(self, entities: Sequence[str], fresh: str) -> Versions:
        return super().adopt(entities, self._draw())

    def _draw(self) -> str:
        self.drawn += 1
        return f"lua-{self.drawn}"


def redis_starts_anew_after_a_change(world: World) -> None:
    world.do(0, "verify", "a", 1)
    world.do(1, "change", changes.BLOCK)
    world.flushall()
    world.do(1, "verify", "b", 1)
    world.do(0, "verify", "c", 1)


class RefusedUnchecked(Requests):
    """What a cached snapshot forbids is refused without a look at its versions."""

    def decide(self, request_id: str, estimate: int) -> Steps[Any]:
        if self.process.cache is not None and not self.process.cache[0].opens:
            self.process.cache = (self.process.cache[0], Versions({}, dirty=False))
        return (yield from super().decide(request_id, estimate))


def a_key_is_unblocked(world: World) -> None:
    world.do(1, "change", changes.BLOCK)
    world.do(0, "verify", "a", 1)
    world.do(1, "change", changes.UNBLOCK)
    world.do(0, "verify", "b", 1)


# --- the ledger ------------------------------------------------------------------------------------------------------


class SeededFromTheState(Requests):
    """Rows that are not folded yet are left out, for the counters alone."""

    def current_spend(self, of: Counter) -> int | None:
        state = self.sql.state[of.scope]
        return state.window_spend if of.window_start in {None, state.window_start} else super().current_spend(of)


def redis_is_lost_before_a_fold(world: World) -> None:
    charge(world, "a", 5)
    world.flushall()
    world.do(0, "verify", "b", 5)


@dataclass
class FoldedByWatermark(Sql):
    """Rows above the highest number folded so far count as unfolded, and no others."""

    watermark: int = 0

    def fold(self, limit: int) -> tuple[list[Entry], list[Counter]]:
        folded = super().fold(len(self.unfolded))
        self.watermark = max([self.watermark, *self.ledger])
        return folded

    def _append(self, ledger_id: int, entry: Entry) -> None:
        super()._append(ledger_id, entry)
        if ledger_id <= self.watermark:
            self.unfolded.remove(ledger_id)


def a_lower_number_is_committed_later(world: World) -> None:
    world.do(0, "verify", "a", 2)
    slow = world.start(0, "settle", world.reservations["a"], 2).past("insert")
    charge(world, "b", 1)
    world.do(2, "fold", 3)
    slow.finish()


@dataclass
class ZeroedThenFolded(Sql):
    """The job zeroes what has been folded; what is folded later counts in whatever window is stored then."""

    def _add(self, scope: Scope, entry: Entry) -> None:
        state = self.state[scope]
        state.lifetime_spend += entry.amount
        state.window_spend += entry.amount


def a_window_moves_before_a_fold(world: World) -> None:
    charge(world, "a", 5)
    world.tick(WINDOW)
    world.do(2, "move")
    world.do(2, "fold", 3)


class NoUniqueKey(Sql):
    def settle(self, ledger_id: int, entry: Entry) -> tuple[bool, Entry]:
        self._append(ledger_id, entry)
        return True, entry


def a_settle_is_repeated(world: World) -> None:
    charge(world, "a", 3)
    world.do(1, "settle", world.reservations["a"], 2)


class StoredWindowWhatever(Sql):
    """A spend is read from the window that is stored, whatever the counter's."""

    def current_spend(self, of: Counter) -> int | None:
        state = self.state[of.scope]
        if of.window_start is not None and state.window_start > of.window_start:
            of = Counter(of.scope, state.window_start)
        return super().current_spend(of)


def a_verify_outlasts_its_window(world: World) -> None:
    charge(world, "a", 5)
    world.flushall()
    slow = world.start(0, "verify", "b", 5).until("note")
    world.tick(WINDOW)
    world.do(2, "move")
    slow.finish()


# --- balances --------------------------------------------------------------------------------------------------------


class FreedByTime(Redis):
    """A verify drops the holds past their lease."""

    def verify(
        self, versions: Versions | None, caps: dict[Counter, int], request_id: str, estimate: int, fresh: str
    ) -> Decision:
        for expired in self.expired():
            self.release(expired)
        return super().verify(versions, caps, request_id, estimate, fresh)


def a_lease_ends_before_a_charge_is_applied(world: World) -> None:
    world.do(0, "verify", "a", 5)
    world.start(0, "settle", world.reservations["a"], 5).until("apply")
    world.tick(LEASE + 1)
    world.do(1, "verify", "b", 5)


class AppliedTwice(Redis):
    """The tombstone of a charged hold is not heeded."""

    def apply(
        self, request_id: str, counters: Iterable[Counter], amount: int, *, new: bool, deadline: int | None = None
    ) -> bool:
        if request_id in self.holds and self.holds[request_id].state is State.CHARGED:
            self.holds[request_id].state = State.RELEASED
        return super().apply(request_id, counters, amount, new=new, deadline=deadline)


class ApplyCreates(Redis):
    """An amount is added to a counter that is not there, as HINCRBY does, and what is there is taken for seeded."""

    def _add(self, counters: Iterable[Counter], amount: int) -> None:
        for each in counters:
            self.balances.setdefault(each, Balance("", seeded=True))
        super()._add(counters, amount)


def redis_is_lost_between_commit_and_apply(world: World) -> None:
    charge(world, "a", 4)
    world.do(0, "verify", "b", 1)
    settle = world.start(0, "settle", world.reservations["b"], 1).until("apply")
    world.flushall()
    settle.finish()
    world.do(1, "verify", "c", 5)


class OlderSetOverwrites(Redis):
    def set(self, counter: Counter, note: Note, spend: int) -> bool:
        if counter in self.balances:
            self.balances[counter].based = 0
        return super().set(counter, note, spend)


def an_old_read_is_set_after_a_correction(world: World) -> None:
    slow = world.start(0, "verify", "a", 5).past("read")
    world.do(1, "correct", KEY, 7)
    slow.finish()


class NonceIgnored(Redis):
    def set(self, counter: Counter, note: Note, spend: int) -> bool:
        if counter in self.balances:
            note = note._replace(nonce=self.balances[counter].nonce)
        return super().set(counter, note, spend)


class ReleasedUnasked(Requests):
    def release(self, request_id: str) -> Steps[None]:
        with self.truth.given_up(request_id):
            yield "close"
            self.close(request_id, {}, None)


def a_charged_hold_is_released(world: World) -> None:
    world.do(0, "verify", "a", 5)
    world.start(0, "settle", world.reservations["a"], 5).until("apply")
    world.crash(0)
    world.do(1, "release", "a")


class ReapedUnasked(Requests):
    def reap(self) -> Steps[None]:
        yield "expired"
        for request_id, deadline in self.redis.expired().items():
            yield "close"
            self.close(request_id, {}, deadline)


def a_charged_hold_is_reaped(world: World) -> None:
    world.do(0, "verify", "a", 5)
    world.start(0, "settle", world.reservations["a"], 5).until("apply")
    world.crash(0)
    world.tick(LEASE + 1)
    world.do(1, "reap")


class CorrectedByApply(Requests):
    def correct(self, scope: Scope, spend: int) -> Steps[None]:
        request_id = self.world.fresh()
        ledger_id = self.sql.next_id()
        yield "correct"
        entry = self.sql.correct(ledger_id, request_id, scope, spend, self.world.now)
        self.truth.corrected(entry)
        yield "apply"
        self.redis.apply(request_id, entry.counters, entry.amount, new=True)
        yield from self.rebase(entry.counters)
        self.truth.counted(entry)


def a_correction_is_read_before_it_is_applied(world: World) -> None:
    charge(world, "a", 1)
    correction = world.start(1, "correct", KEY, 0).past("correct")
    world.do(2, "rebase", [counter(KEY, 0)])
    correction.go()
    charge(world, "b", 3)
    world.do(0, "verify", "c", 6)


class ChargedWhereHeld(Redis):
    """A charge is added to the counters of its hold, not to those that its row counts in."""

    def apply(
        self, request_id: str, counters: Iterable[Counter], amount: int, *, new: bool, deadline: int | None = None
    ) -> bool:
        hold = self.holds.get(request_id)
        where = counters if hold is None else hold.counters
        return super().apply(request_id, where, amount, new=new, deadline=deadline)


def a_call_is_settled_where_it_was_held_first(world: World) -> None:
    world.do(0, "verify", "a", 5)
    first = world.reservations["a"]
    world.do(0, "release", "a")
    world.do(1, "change", changes.move(TEAMS[1]))
    world.do(0, "verify", "a", 5)
    world.do(0, "settle", first, 5)
    world.do(1, "change", changes.move(TEAMS[0]))
    world.do(1, "change", changes.of_team(TEAMS[0], cap=5))
    world.do(1, "verify", "b", 1)


def charge(world: World, request_id: str, amount: int) -> None:
    """A call, verified and settled."""
    world.do(0, "verify", request_id, amount)
    world.do(0, "settle", world.reservations[request_id], amount)


def redis_is_lost_between_note_and_set(world: World) -> None:
    charge(world, "a", 2)
    world.do(0, "verify", "b", 3)
    slow = world.start(1, "rebase", [counter(KEY, 0)]).past("read")
    charge(world, "c", 3)
    world.flushall()
    world.do(2, "rebase", [counter(KEY, 0)])
    slow.finish()
    world.do(0, "verify", "d", 4)


# The twelve that every reader of this protocol would think of first, then those that only the model had shown.
FAULTS: dict[str, Fault] = {
    "no mark": Fault({"redis_kind": NoMark}, a_publication_is_lost),
    "seeded from the state alone": Fault({"requests_kind": SeededFromTheState}, redis_is_lost_before_a_fold),
    "folded by watermark": Fault({"sql_kind": FoldedByWatermark}, a_lower_number_is_committed_later),
    "freed by time": Fault({"redis_kind": FreedByTime}, a_lease_ends_before_a_charge_is_applied),
    "applied twice": Fault({"redis_kind": AppliedTwice}, a_settle_is_repeated),
    "zeroed, then folded": Fault({"sql_kind": ZeroedThenFolded}, a_window_moves_before_a_fold),
    "torn snapshot": Fault({"requests_kind": TornSnapshot}, two_changes_between_two_statements),
    "key read with the ids": Fault({"requests_kind": KeyReadWithTheIds}, a_change_between_ids_and_versions),
    "no unique key": Fault({"sql_kind": NoUniqueKey}, a_settle_is_repeated),
    "apply creates a counter": Fault({"redis_kind": ApplyCreates}, redis_is_lost_between_commit_and_apply),
    "version carried by the process": Fault({"requests_kind": VersionCarriedByTheProcess}, redis_is_lost_after_a_change),
    "tokens of Lua's own": Fault({"redis_kind": TokensOfLua}, redis_starts_anew_after_a_change),
    "older set overwrites": Fault({"redis_kind": OlderSetOverwrites}, an_old_read_is_set_after_a_correction),
    "refused unchecked": Fault({"requests_kind": RefusedUnchecked}, a_key_is_unblocked),
    "stored window whatever": Fault({"sql_kind": StoredWindowWhatever}, a_verify_outlasts_its_window),
    "nonce ignored": Fault({"redis_kind": NonceIgnored}, redis_is_lost_between_note_and_set),
    "released unasked": Fault({"requests_kind": ReleasedUnasked}, a_charged_hold_is_released),
    "reaped unasked": Fault({"requests_kind": ReapedUnasked}, a_charged_hold_is_reaped),
    "corrected by apply": Fault({"requests_kind": CorrectedByApply}, a_correction_is_read_before_it_is_applied),
    "charged where held": Fault({"redis_kind": ChargedWhereHeld}, a_call_is_settled_where_it_was_held_first),
}

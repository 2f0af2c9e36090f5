"""Faults in the scripts of the balances. Nothing is spent at first; the key has a cap of 8, its team one of 10."""

from collections.abc import Iterable

from tests.model import changes
from tests.model.redis import Balance, Decision, Hold, Note, Redis, State, Verdict, Versions
from tests.model.scopes import KEY, LEASE, TEAMS, WINDOW, Counter, counter
from tests.model.world import World, charge


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
    world.start(0, "settle", world.reservation("a"), 5).until("apply")
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


class TombstoneOfADuplicate(Redis):
    """A repeated settle that finds no record leaves one, though it has added nothing."""

    def apply(
        self, request_id: str, counters: Iterable[Counter], amount: int, *, new: bool, deadline: int | None = None
    ) -> bool:
        if request_id not in self.holds and not new and deadline is None:
            self.holds[request_id] = Hold(State.CHARGED, 0, 0, tuple(counters))
        return super().apply(request_id, counters, amount, new=new, deadline=deadline)


def a_repeated_settle_overtakes_the_first(world: World) -> None:
    world.do(0, "verify", "a", 5)
    world.flushall()
    world.do(1, "rebase", [counter(KEY, 0)])
    first = world.start(0, "settle", world.reservation("a"), 5).until("apply")
    world.do(1, "settle", world.reservation("a"), 5)
    first.finish()


class ApplyCreates(Redis):
    """An amount is added to a counter that is not there, as HINCRBY does, and what is there is taken for seeded."""

    def _add(self, counters: Iterable[Counter], amount: int) -> None:
        for each in counters:
            self.balances.setdefault(each, Balance("", seeded=True))
        super()._add(counters, amount)


def redis_is_lost_between_commit_and_apply(world: World) -> None:
    charge(world, "a", 4)
    world.do(0, "verify", "b", 1)
    settle = world.start(0, "settle", world.reservation("b"), 1).until("apply")
    world.flushall()
    settle.finish()
    world.do(1, "verify", "c", 5)


class OlderSetOverwrites(Redis):
    def set(self, counter: Counter, note: Note, spend: int | None) -> bool:
        if counter in self.balances:
            self.balances[counter].based = 0
        return super().set(counter, note, spend)


def an_old_read_is_set_after_a_correction(world: World) -> None:
    slow = world.start(0, "verify", "a", 5).past("read")
    world.do(1, "correct", KEY, 7)
    slow.finish()


class NonceIgnored(Redis):
    def set(self, counter: Counter, note: Note, spend: int | None) -> bool:
        if counter in self.balances:
            note = note._replace(nonce=self.balances[counter].nonce)
        return super().set(counter, note, spend)


def redis_is_lost_between_note_and_set(world: World) -> None:
    charge(world, "a", 2)
    world.do(0, "verify", "b", 3)
    slow = world.start(1, "rebase", [counter(KEY, 0)]).past("read")
    charge(world, "c", 3)
    world.flushall()
    world.do(2, "rebase", [counter(KEY, 0)])
    slow.finish()
    world.do(0, "verify", "d", 4)


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
    first = world.reservation("a")
    world.do(0, "release", "a")
    world.do(1, "change", changes.move(TEAMS[1]))
    world.do(0, "verify", "a", 5)
    world.do(0, "settle", first, 5)
    world.do(1, "change", changes.move(TEAMS[0]))
    world.do(1, "change", changes.of_team(TEAMS[0], cap=5))
    world.do(1, "verify", "b", 1)


class ForgetsWhatWasApplied(Redis):
    """A set takes the spend as it was read."""

    def set(self, counter: Counter, note: Note, spend: int | None) -> bool:
        if counter in self.balances:
            note = note._replace(applied=self.balances[counter].applied)
        return super().set(counter, note, spend)


def a_charge_is_applied_after_a_read(world: World) -> None:
    world.do(0, "verify", "a", 5)
    slow = world.start(1, "rebase", [counter(KEY, 0)]).past("read")
    world.do(0, "settle", world.reservation("a"), 5)
    slow.finish()


class NeverConfirmed(Redis):
    """A refusal goes out as the counters have it."""

    def verify(
        self, versions: Versions | None, caps: dict[Counter, int], request_id: str, estimate: int, fresh: str
    ) -> Decision:
        decision = super().verify(versions, caps, request_id, estimate, fresh)
        return decision._replace(counters=()) if decision.verdict is Verdict.REFUSED else decision


class ConfirmedAsOfTheSet(Redis):
    """A counter is confirmed with all that was applied before the set, even after the note."""

    def set(self, counter: Counter, note: Note, spend: int | None) -> bool:
        accepted = super().set(counter, note, spend)
        if accepted:
            self.balances[counter].confirmed = self.balances[counter].applied
        return accepted


def a_charge_is_applied_after_its_fold(world: World) -> None:
    world.do(0, "verify", "a", 4)
    settle = world.start(0, "settle", world.reservation("a"), 4).until("apply")
    world.do(1, "fold", 1)
    slow = world.start(1, "rebase", [counter(KEY, 0)]).past("read")
    settle.finish()
    slow.finish()


class GoneWindowsDecide(Redis):
    """A counter whose window has gone stays as it was."""

    def set(self, counter: Counter, note: Note, spend: int | None) -> bool:
        return spend is not None and super().set(counter, note, spend)


def a_window_moves_during_a_correction(world: World) -> None:
    world.do(0, "verify", "a", 1)
    correction = world.start(1, "correct", KEY, 5).past("correct")
    world.tick(WINDOW)
    world.do(2, "move")
    correction.finish()

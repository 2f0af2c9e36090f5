"""Faults in how holds are given back and spends corrected: a step left out, or another one taken."""

from tests.model.requests import Requests, Steps
from tests.model.scopes import KEY, LEASE, Scope, counter
from tests.model.world import World, charge


class ReleasedUnasked(Requests):
    def release(self, request_id: str) -> Steps[None]:
        with self.truth.given_up(request_id):
            yield "close"
            self.close(request_id, {}, None)


def a_charged_hold_is_released(world: World) -> None:
    world.do(0, "verify", "a", 5)
    world.start(0, "settle", world.reservation("a"), 5).until("apply")
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
    world.start(0, "settle", world.reservation("a"), 5).until("apply")
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


class FoldedThenRebased(Requests):
    """The rows are gone before their counters are re-based."""

    def fold(self, limit: int) -> Steps[None]:
        yield "unfolded"
        rows, touched = self.sql.to_fold(limit, self.world.now)
        yield "fold"
        self.sql.fold(rows)
        yield from self.rebase(touched)
        self.truth.healed(rows.values(), touched)


def a_correction_and_its_fold_die(world: World) -> None:
    charge(world, "a", 5)
    world.do(1, "fold", 1)
    world.start(1, "correct", KEY, 0).past("correct")
    world.start(1, "fold", 1).past("unfolded").past("fold")
    world.crash(1)

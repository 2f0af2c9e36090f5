"""Faults in what windows carry on. The key has a cap of 8, and what it spends beyond is the first spend of the next."""

from collections.abc import Iterable

from tests.model.scopes import WINDOW, Counter, Scope
from tests.model.sql import Entry, Sql
from tests.model.world import World, charge


class OpenedAtZero(Sql):
    """A move forgets what the window that has passed carries."""

    def _move(self, scope: Scope, at: int) -> None:
        stored = self.stored(scope)
        super()._move(scope, at)
        if self.stored(scope) != stored:
            self.state[scope].window_spend = 0


def a_window_passes_overspent(world: World) -> None:
    for name in ("a", "b"):
        world.do(0, "settle_without_hold", name, 6)
    world.do(2, "fold", 3)
    world.tick(WINDOW)
    world.do(2, "move")


class FoldedWhereItHappened(Sql):
    """A late charge is carried on for as long as it waits, and is not once it is folded."""

    def _add(self, scope: Scope, entry: Entry) -> None:
        state = self.state[scope]
        present = state.window_spend
        super()._add(scope, entry)
        if self.stored(scope) not in entry.counters:
            state.window_spend = present


def a_call_is_settled_after_its_window(world: World) -> None:
    world.do(0, "settle_without_hold", "a", 6)
    world.do(0, "verify", "b", 2)
    world.tick(WINDOW)
    world.do(2, "move")
    charge(world, "c", 1)
    world.do(0, "settle", world.reservation("b"), 6)
    world.do(2, "fold", 3)


class FoldedByWhatIsStored(Sql):
    """Before a fold only the counters of stored windows are re-based, though another one may run by now."""

    def _present(self, scopes: Iterable[Scope], now: int) -> list[Counter]:
        return []


def a_late_charge_is_not_applied(world: World) -> None:
    world.do(0, "settle_without_hold", "a", 6)
    world.do(0, "verify", "b", 2)
    world.tick(WINDOW)
    world.do(1, "verify", "c", 1)
    world.start(0, "settle", world.reservation("b"), 6).until("apply").fail()
    world.do(2, "fold", 3)

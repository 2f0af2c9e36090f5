"""Faults in how the ledger is kept and read."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.model.requests import Requests
from tests.model.scopes import WINDOW, Counter, Scope
from tests.model.sql import Entry, Sql
from tests.model.world import World, charge


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

    def to_fold(self, limit: int, now: int) -> tuple[dict[int, Entry], list[Counter]]:
        return super().to_fold(len(self.unfolded), now)

    def fold(self, ledger_ids: Iterable[int]) -> None:
        super().fold(ledger_ids)
        self.watermark = max([self.watermark, *ledger_ids])
        self.unfolded = {ledger_id for ledger_id in self.unfolded if ledger_id > self.watermark}

    def _append(self, ledger_id: int, entry: Entry) -> None:
        super()._append(ledger_id, entry)
        if ledger_id <= self.watermark:
            self.unfolded.remove(ledger_id)


def a_lower_number_is_committed_later(world: World) -> None:
    world.do(0, "verify", "a", 2)
    slow = world.start(0, "settle", world.reservation("a"), 2).past("insert")
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
    world.do(1, "settle", world.reservation("a"), 2)


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

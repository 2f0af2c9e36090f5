"""Whatever the order of steps, the invariants hold: exactly once, hard budgets, no decision by an old state.

`Truth.check` asserts after every step, `World.check_at_rest` at the end of each order of events.
"""

import pytest

from tests.model.machine import Balances, Everything, Machine, Policies, Rolling, explore
from tests.model.redis import Verdict
from tests.model.scopes import KEY, LEASE, counter
from tests.model.world import World, charge


# Half as many steps as these machines were seen to run: fewer, and something keeps them from going on.
@pytest.mark.parametrize(
    ("machine", "examples", "events", "steps"),
    [
        (Policies, 150, 50, 5_000),
        (Balances, 150, 80, 10_000),
        (Everything, 150, 80, 10_000),
        (Rolling, 100, 80, 6_500),
    ],
)
def test_no_order_of_steps_breaks_an_invariant(
    machine: type[Machine], examples: int, events: int, steps: int
) -> None:
    machine.steps = 0

    explore(machine, examples, events)

    assert machine.steps >= steps


def test_a_repeated_settle_changes_nothing_and_reports_the_recorded_amount() -> None:
    world = World()
    world.do(0, "verify", "a", 5)

    first = world.do(0, "settle", world.reservation("a"), 3)
    repeated = world.do(1, "settle", world.reservation("a"), 4)

    assert (first, repeated) == ((False, 3), (True, 3))
    assert world.sql.current_spend(counter(KEY, 0)) == 3


def test_a_hold_that_is_never_settled_gives_its_money_back_after_its_lease_and_not_before() -> None:
    world = World()
    world.do(0, "verify", "a", 8)

    world.tick(LEASE)
    assert world.do(1, "verify", "b", 8).verdict is Verdict.REFUSED
    world.tick(1)
    assert world.do(1, "verify", "c", 8).verdict is Verdict.ALLOWED


def test_a_hold_that_was_charged_keeps_its_money_when_the_reaper_comes_before_the_apply() -> None:
    world = World()
    world.do(0, "verify", "a", 8)
    world.start(0, "settle", world.reservation("a"), 8).until("apply")
    world.crash(0)

    world.tick(LEASE + 1)

    assert world.do(1, "verify", "b", 1).verdict is Verdict.REFUSED


def test_a_charge_applied_after_its_fold_is_counted_twice_for_a_while_and_refuses_nothing() -> None:
    world = World()
    charge(world, "a", 1)
    world.do(0, "verify", "b", 3)
    settle = world.start(0, "settle", world.reservation("b"), 3).until("apply")
    world.do(1, "fold", 2)
    settle.finish()

    counted = world.redis.balances[counter(KEY, 0)].used
    fits = world.do(1, "verify", "c", 4)

    assert counted == 7
    assert world.sql.current_spend(counter(KEY, 0)) == 4
    assert fits.verdict is Verdict.ALLOWED


def test_a_call_of_the_old_window_that_is_settled_in_the_new_one_counts_in_its_lifetime_alone() -> None:
    world = World()
    world.do(0, "verify", "a", 5)
    world.tick(12)
    charge(world, "b", 2)

    world.do(0, "settle", world.reservation("a"), 5)

    assert world.sql.current_spend(counter(KEY, 12)) == 2
    assert world.sql.lifetime_spend(KEY) == 7

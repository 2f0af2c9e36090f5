"""What the model would find: each fault planted in the protocol breaks an invariant, told the order or not."""

import pytest

from tests.model.faults import FAULTS, Fault
from tests.model.machine import Machine, explore
from tests.model.truth import Broken
from tests.model.world import World


def play(fault: Fault, world: World) -> None:
    fault.order(world)
    world.come_to_rest()
    world.check_at_rest()


@pytest.mark.parametrize("name", FAULTS)
def test_one_order_of_events_shows_the_fault_and_only_the_fault(name: str) -> None:
    play(FAULTS[name], World(rolls=FAULTS[name].rolls))

    with pytest.raises(Broken):
        play(FAULTS[name], World(**FAULTS[name].parts))


@pytest.mark.parametrize(
    ("name", "machine"), [(name, each.machine) for name, each in FAULTS.items() if each.machine]
)
def test_the_machine_finds_the_fault_without_being_told_the_order(name: str, machine: type[Machine]) -> None:
    faulty = type("Faulty", (machine,), {"parts": FAULTS[name].parts})

    with pytest.RaisesGroup(Broken, allow_unwrapped=True, flatten_subgroups=True):
        explore(faulty, 2000, 80)

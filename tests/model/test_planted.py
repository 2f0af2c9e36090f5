"""What the model would find: each fault planted in the protocol breaks an invariant, told the order or not."""

import pytest

from tests.model.faults import FAULTS
from tests.model.machine import Machine, explore
from tests.model.truth import Broken
from tests.model.world import World


@pytest.mark.parametrize("fault", FAULTS)
def test_one_order_of_events_shows_the_fault_and_leaves_the_protocol_sound(fault: str) -> None:
    parts, order = FAULTS[fault]

    sound = World()
    order(sound)
    sound.come_to_rest()
    sound.check_at_rest()
    with pytest.raises(Broken):
        order(World(**parts))


@pytest.mark.parametrize("fault", FAULTS)
def test_the_machine_finds_the_fault_without_being_told_the_order(fault: str) -> None:
    class Faulty(Machine):
        parts = FAULTS[fault].parts

    with pytest.raises(Broken):
        explore(Faulty, 500, 60)

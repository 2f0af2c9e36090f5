"""Nobody comes to hold what it does not hold: thousands of sequences of calls, judged by an oracle of rights."""

import pytest

from tests.rights.omissions import OMISSIONS, planted
from tests.rights.play import Disagreement, Stage

CHUNKS = 20
SEQUENCES = 100
# So many sequences find any of the omissions; most are found by the first few.
ENOUGH = 150


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_caller_does_what_it_may_and_gets_no_more_than_it_holds(stage: Stage, chunk: int):
    for seed in range(chunk * SEQUENCES, (chunk + 1) * SEQUENCES):
        stage.play(seed)


@pytest.mark.parametrize("omission", OMISSIONS)
def test_the_sequences_find_a_check_that_is_left_out(stage: Stage, omission: str):
    name, without = OMISSIONS[omission]

    with planted(name, without), pytest.raises(Disagreement):
        for seed in range(ENOUGH):
            stage.play(seed, shrink=False)

"""Nobody comes to hold what it does not hold: thousands of sequences of calls, judged by an oracle of rights."""

import pytest

from tests.rights.play import Stage

CHUNKS = 20
SEQUENCES = 100


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_caller_does_what_it_may_and_gets_no_more_than_it_holds(stage: Stage, chunk: int):
    for seed in range(chunk * SEQUENCES, (chunk + 1) * SEQUENCES):
        stage.play(seed)

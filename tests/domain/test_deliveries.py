"""How long a target rests after it has failed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.deliveries import (
    LONGEST_BACKOFF_SECONDS,
    LONGEST_RETRY_AFTER_SECONDS,
    backoff_seconds,
)

FAILURES, CHANCES = st.integers(1, 10_000), st.floats(0, 1)


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (11, 300), (10_000, 300)]
)
def test_a_rest_doubles_from_a_second_to_five_minutes(failures: int, seconds: float):
    assert backoff_seconds(failures, None, 0) == seconds


@given(FAILURES, CHANCES)
def test_chance_takes_up_to_a_half_of_it_away(failures: int, chance: float):
    whole = backoff_seconds(failures, None, 0)

    assert whole / 2 <= backoff_seconds(failures, None, chance) <= whole <= LONGEST_BACKOFF_SECONDS


@given(FAILURES, CHANCES, st.floats(0, 1e12))
def test_what_the_target_asks_for_is_kept_up_to_an_hour(failures: int, chance: float, asked: float):
    rest = backoff_seconds(failures, asked, chance)

    assert rest >= min(asked, LONGEST_RETRY_AFTER_SECONDS)
    assert rest <= max(LONGEST_BACKOFF_SECONDS, LONGEST_RETRY_AFTER_SECONDS)
    assert rest >= backoff_seconds(failures, None, chance)

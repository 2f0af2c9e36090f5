"""What a window spent beyond its cap is the first spend of the next, however many have passed and whoever looks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.rollover import Grid, Stretch, Terms, allowance, opening, opening_at, with_charges
from app.domain.spend import spend_of
from app.domain.windows import Calendar, Window

UTC_ZONE = ZoneInfo("UTC")
CALENDAR = Calendar(UTC_ZONE, time(0))
HOURS = Grid(CALENDAR, "1h +rollover", datetime(2026, 11, 18, tzinfo=UTC))
HOUR = timedelta(hours=1)
START = HOURS.armed_at

amounts = st.integers(0, 30)
caps = st.integers(0, 12)


def walked(spent: Sequence[int], capped: Sequence[int], first: int = 0) -> list[int]:
    """What each window begins with, one after the other, and what comes after the last."""
    carried = [first]
    for spend, cap in zip(spent, capped, strict=True):
        carried.append(max(0, carried[-1] + spend - cap))
    return carried


@given(amounts, caps, st.integers(1, 50))
def test_windows_without_a_charge_are_one_step(used: int, cap: int, windows: int):
    assert opening(used, cap, windows) == walked([used, *[0] * (windows - 1)], [cap] * windows)[-1]


def test_a_year_of_seconds_that_nobody_looked_at_is_one_step():
    seconds = Grid(CALENDAR, "1s", START)
    windows = seconds.passed(START, START + timedelta(days=365))

    assert windows == 365 * 86_400
    assert opening(windows * 7 + 3, 7, windows) == 3
    assert allowance(9_000_000 * 10**9, windows) < 2**63


@given(
    st.lists(st.tuples(amounts, caps), min_size=1, max_size=12), st.lists(st.tuples(st.integers(0, 11), amounts))
)
def test_late_charges_make_the_chain_as_if_they_had_been_there_in_time(
    windows: list[tuple[int, int]], late: list[tuple[int, int]]
):
    """Windows are kept as whoever moves them keeps them: what held nothing under the cap of before is not."""
    spent, capped = [spend for spend, _ in windows], [cap for _, cap in windows]
    used = [carried + spend for carried, spend in zip(walked(spent, capped), spent, strict=False)]
    stretches: list[Stretch] = []
    for place, cap in enumerate(capped):
        if used[place] or not stretches or stretches[-1].cap_nanos != cap:
            stretches.append(Stretch(START + place * HOUR, used[place], cap))
    charges = [(amount, START + place * HOUR + HOUR / 3) for place, amount in late if place < len(windows)]

    after = with_charges(stretches, charges, HOURS)

    for amount, at in charges:
        spent[(at - START) // HOUR] += amount
    carried = walked(spent, capped)
    for place in range(1, len(carried)):
        assert opening_at(after, START + place * HOUR, HOURS) == carried[place]
    if charges:
        earliest = min(at for _, at in charges)
        touched = len([stretch for stretch in stretches if stretch.start <= earliest]) - 1
        assert with_charges(stretches[touched:], charges, HOURS) == after[touched:]


@dataclass(frozen=True)
class Counted(Grid):
    """Counts how often a window is computed."""

    computed: list[datetime] = field(default_factory=list)

    def window(self, at: datetime) -> Window:
        self.computed.append(at)
        return super().window(at)

    def passed(self, since: datetime, until: datetime) -> int:
        self.computed.extend((since, until))
        return super().passed(since, until)


@pytest.mark.parametrize(("kept", "charges"), [(10, 1), (10_000, 5_000)])
def test_late_charges_cost_the_windows_that_they_are_carried_into_however_many_there_are(kept: int, charges: int):
    grid = Counted(CALENDAR, "1h +rollover", START)
    stretches = [Stretch(START + place * HOUR, charges, 4 * charges) for place in range(kept)]

    # Two fifths of the charges are carried into the next window, and nothing out of it.
    after = with_charges(stretches, [(5, START + 2 * HOUR + HOUR / 2)] * charges, grid)

    begins = [opening_at(found, START + 3 * HOUR, grid) for found in (stretches, after)]
    assert begins == [0, 2 * charges]
    assert after[4:] == stretches[4:]
    assert len(grid.computed) <= 20


def test_a_charge_from_before_what_is_kept_counts_in_no_window():
    kept = [Stretch(START, 5, 3)]

    assert with_charges(kept, [(7, START - HOUR)], HOURS) == kept


@given(amounts, amounts, caps, st.integers(0, 30))
def test_a_spend_reads_what_is_left_of_it_by_the_clock(stored: int, pending: int, cap: int, windows: int):
    window = CALENDAR.window("1h", START, START)
    state = {
        "armed_at": START,
        "window_start": window.start,
        "reset_at": window.end,
        "window_spend_nanos": stored,
        "lifetime_spend_nanos": stored,
        "pending_nanos": pending,
        "pending_lifetime_nanos": pending,
    }

    found = spend_of(state, Terms("1h +rollover", cap), CALENDAR, START + windows * HOUR)

    assert found.window_nanos == walked([stored + pending, *[0] * windows], [cap] * (windows + 1))[windows] + (
        stored + pending if windows == 0 else 0
    )


@pytest.mark.parametrize(
    ("terms", "installation", "carried"),
    [
        (Terms("1h +rollover", 2), False, 5),
        (Terms("1h", 2), True, 5),
        (Terms("1h -rollover", 2), True, 0),
        (Terms("1h", 2), False, 0),
        (Terms("1h +rollover", None), True, 0),
    ],
)
def test_only_a_cap_and_a_will_to_roll_over_carry_on(terms: Terms, installation: bool, carried: int):
    calendar = Calendar(UTC_ZONE, time(0), rollover=installation)
    window = calendar.window("1h", START, START)
    state = {
        "armed_at": START,
        "window_start": window.start,
        "reset_at": window.end,
        "window_spend_nanos": 7,
        "lifetime_spend_nanos": 7,
        "pending_nanos": 0,
        "pending_lifetime_nanos": 0,
    }

    assert spend_of(state, terms, calendar, START + HOUR).window_nanos == carried


def test_a_window_that_cannot_be_read_carries_nothing_on():
    assert not Terms("1d +rollover more", 1).roll(CALENDAR)

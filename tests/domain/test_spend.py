"""One spend: a window that has passed reads zero, everything else is kept."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.rollover import Terms
from app.domain.spend import Spend, spend_of
from app.domain.windows import Calendar, Window

CALENDAR = Calendar(ZoneInfo("UTC"), time(0))
ARMED = datetime(2026, 11, 18, 13, 47, 33, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 19, tzinfo=UTC)


def state(**changed: Any) -> dict[str, Any]:
    today = CALENDAR.window("1d", ARMED, ARMED)
    return {
        "armed_at": ARMED,
        "window_start": today.start,
        "reset_at": today.end,
        "window_spend_nanos": 7,
        "lifetime_spend_nanos": 12,
        "pending_nanos": 0,
        "pending_lifetime_nanos": 0,
    } | changed


def test_no_state_is_no_spend():
    assert spend_of(None, Terms("1d"), CALENDAR, ARMED) == Spend(0, 0, None)


@pytest.mark.parametrize(
    ("now", "spent"),
    [
        (ARMED, 7),
        (MIDNIGHT - timedelta(microseconds=1), 7),
        (MIDNIGHT, 0),
        (MIDNIGHT + timedelta(days=400), 0),
    ],
)
def test_a_window_that_has_passed_reads_zero_at_its_very_end(now: datetime, spent: int):
    found = spend_of(state(), Terms("1d"), CALENDAR, now)

    assert (found.window_nanos, found.lifetime_nanos) == (spent, 12)
    assert found.window == CALENDAR.window("1d", ARMED, now)
    assert found.reset_at is not None
    assert found.reset_at > now


@pytest.mark.parametrize("spelling", [None, "1d"])
def test_what_was_never_armed_keeps_its_spend_for_ever(spelling: str | None):
    unarmed = state(armed_at=None, window_start=None, reset_at=None)

    found = spend_of(unarmed, Terms(spelling), CALENDAR, MIDNIGHT + timedelta(days=4_000))

    assert (found, found.reset_at) == (Spend(7, 12, None), None)


def test_a_window_that_was_taken_off_keeps_its_last_spend():
    assert spend_of(state(), Terms(None), CALENDAR, MIDNIGHT + timedelta(days=9)) == Spend(7, 12, None)


def test_a_late_job_changes_nothing_that_is_read():
    """The state as the job that moves windows leaves it reads like the one it found."""
    now = MIDNIGHT + timedelta(hours=5)
    window = CALENDAR.window("1d", ARMED, now)
    moved = state(window_start=window.start, reset_at=window.end, window_spend_nanos=0)

    assert spend_of(moved, Terms("1d"), CALENDAR, now) == spend_of(state(), Terms("1d"), CALENDAR, now)


def test_a_clock_that_stood_in_the_next_window_already_shows_nothing_of_it():
    ahead = CALENDAR.window("1d", ARMED, MIDNIGHT)
    written_ahead = state(window_start=ahead.start, reset_at=ahead.end)

    assert spend_of(written_ahead, Terms("1d"), CALENDAR, ARMED).window_nanos == 0


@given(
    st.sampled_from(["1h", "1d", "7d", "30d", "3mo", "1y", "36h", "14d", "45s"]),
    st.timedeltas(timedelta(0), timedelta(days=3_000)),
    st.timedeltas(timedelta(0), timedelta(days=3_000)),
)
def test_spend_is_seen_exactly_while_its_window_lasts(spelling: str, charged: timedelta, later: timedelta):
    charged_at, now = ARMED + charged, ARMED + charged + later
    window = CALENDAR.window(spelling, ARMED, charged_at)
    written = state(window_start=window.start, reset_at=window.end)

    found = spend_of(written, Terms(spelling), CALENDAR, now)

    assert found.window_nanos == (7 if now < window.end else 0)
    assert found.lifetime_nanos == 12
    assert isinstance(found.window, Window)
    assert found.window.start <= now < found.window.end


# --- an installation that is given another calendar ----------------------------------------------------------------

ZONES = ["UTC", "America/New_York", "Asia/Tokyo", "Pacific/Apia", "Australia/Lord_Howe", "Europe/Berlin"]
CALENDARS = st.builds(
    Calendar,
    st.sampled_from(ZONES).map(ZoneInfo),
    st.sampled_from([time(0), time(6), time(23, 30)]),
)
SPELLINGS = ["1d", "7d", "1mo", "3mo", "10d", "2mo", "36h", "1h", "1d 04:00", "1d Asia/Tokyo"]
STEPS = st.one_of(
    st.tuples(st.just("pass_on"), st.timedeltas(timedelta(minutes=1), timedelta(days=40))),
    st.tuples(st.just("pass_on"), st.timedeltas(timedelta(seconds=1), timedelta(hours=30))),
    st.tuples(st.just("charge"), st.integers(1, 9)),
    st.tuples(st.just("change"), CALENDARS),
)


@dataclass
class Kept:
    """An account as it is stored, with all that was ever charged to it."""

    spelling: str
    calendar: Calendar
    stored: dict[str, Any]
    charges: list[tuple[datetime, int]] = field(default_factory=list)

    def read(self, now: datetime) -> Spend:
        return spend_of(self.stored, Terms(self.spelling), self.calendar, now)

    def charge(self, amount: int, now: datetime) -> None:
        self.move(now)
        self.charges.append((now, amount))
        self.stored["window_spend_nanos"] += amount

    def move(self, now: datetime) -> None:
        """As `app.services.accounts.account_windows.move_windows` does."""
        window = self.read(now).window
        assert window is not None
        if self.stored["reset_at"] <= window.start:
            self.stored |= {"window_start": window.start, "reset_at": window.end, "window_spend_nanos": 0}
        elif self.stored["window_start"] == window.start:
            self.stored["reset_at"] = window.end


@given(st.sampled_from(SPELLINGS), CALENDARS, st.lists(STEPS, min_size=3, max_size=20))
def test_each_charge_counts_in_one_window_and_to_its_end_whatever_becomes_of_the_calendar(
    spelling: str, calendar: Calendar, played: list[tuple[str, Any]]
):
    now = ARMED
    first = calendar.window(spelling, ARMED, now)
    opened = state(window_start=first.start, reset_at=first.end, window_spend_nanos=0)
    lazy, eager = (Kept(spelling, calendar, dict(opened)) for _ in range(2))
    seen = first
    for step, what in played:
        if step == "pass_on":
            now += what
        elif step == "change":
            for kept in (lazy, eager):
                # What nobody has moved yet has no window that runs, and goes by the other calendar at once.
                kept.move(now)
                kept.calendar = calendar = what
        else:
            for kept in (lazy, eager):
                kept.charge(what, now)
        eager.move(now)

        found = eager.read(now)
        window = found.window
        assert window is not None
        assert found.window_nanos == sum(amount for at, amount in eager.charges if at in window)
        assert now in window
        if now < seen.end:
            assert window.start == seen.start
            assert window.end in {seen.end, calendar.window(spelling, ARMED, now).end}, "it keeps its end"
            assert window.end >= seen.end
        else:
            assert seen.end <= window.start, "no charge is in two"
            assert window.end == calendar.window(spelling, ARMED, now).end, "and the next is the other calendar's"
        seen = window
        assert lazy.read(now).window_nanos == found.window_nanos

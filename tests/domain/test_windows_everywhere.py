"""Windows in every IANA zone, through sixty years: at every change of every clock, and from end to end.

Zones whose clocks have shown the same at every instant of these years are one here. The windows that are looked at
are those made of local boundaries; exact lengths do not see a clock change.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import cycle, pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest

from app.domain.windows import Window, containing, resets

FIRST, LAST = datetime(1995, 1, 1, tzinfo=UTC), datetime(2055, 1, 1, tzinfo=UTC)
TICK, MINUTE = timedelta(microseconds=1), timedelta(minutes=1)
# Where a clock may skip the start of day, repeat it, or leave it alone.
MIDNIGHT = time(0)
DAY_STARTS = (MIDNIGHT, time(2, 30), time(23, 59, 59))
LOCAL = ("1d", "7d", "1mo", "1y", "3d")


@dataclass(frozen=True)
class Clock:
    """The first zone with this clock, and the instants at which it changes."""

    zone: ZoneInfo
    changes: tuple[datetime, ...]

    def window(self, spelling: str, now: datetime, *, armed_at: datetime, day_start: time = MIDNIGHT) -> Window:
        return containing(spelling, zone=self.zone, day_start=day_start, armed_at=armed_at, now=now)


@lru_cache
def clocks() -> list[Clock]:
    found: dict[tuple[object, ...], Clock] = {}
    for zone in map(ZoneInfo, sorted(available_timezones())):
        changes = tuple(_changes(zone))
        shown = (_offset(FIRST, zone), *((at, _offset(at, zone)) for at in changes))
        found.setdefault(shown, Clock(zone, changes))
    return list(found.values())


def _changes(zone: ZoneInfo) -> Iterator[datetime]:
    """The instants from which the clock is off from UTC by another amount, to the second."""
    offsets = [zone.utcoffset(noon) for noon in _noons()]
    for noon, (before, after) in zip(_noons(), pairwise(offsets), strict=False):
        if before != after:
            yield _first_with(after, zone, noon)


def _first_with(offset: timedelta | None, zone: ZoneInfo, noon: datetime) -> datetime:
    """The first instant at which the clock is so far off from UTC, after its noon of one day and before the next's."""
    start = noon.replace(tzinfo=UTC) - timedelta(days=1)
    # In these years clocks have changed on whole minutes.
    minutes = range(int(timedelta(days=3) / MINUTE))
    return start + MINUTE * bisect_left(
        minutes, True, key=lambda count: _offset(start + MINUTE * count, zone) == offset
    )


@lru_cache
def _noons() -> list[datetime]:
    """Of every day, as a clock on the wall shows it."""
    noon = FIRST.replace(hour=12, tzinfo=None)
    return [noon + timedelta(days=count) for count in range((LAST - FIRST).days)]


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()


def test_every_zone_is_looked_at_for_sixty_years():
    names = {clock.zone.key for clock in clocks()}
    of_madrid = next(clock for clock in clocks() if clock.zone.key == "Africa/Ceuta")

    # The first of a clock is the one by name: Ceuta has Madrid's, and Central Europe's.
    assert len(of_madrid.changes) == 2 * 60
    assert (of_madrid.changes[0], of_madrid.changes[-1]) == (
        datetime(1995, 3, 26, 1, tzinfo=UTC),
        datetime(2054, 10, 25, 1, tzinfo=UTC),
    )
    assert {"Australia/LHI", "Antarctica/Troll", "Asia/Beirut", "Pacific/Apia"} <= names
    assert sum(len(clock.changes) for clock in clocks()) > 9_000
    assert all(
        _offset(change - TICK, clock.zone) != _offset(change, clock.zone)
        for clock in clocks()
        for change in clock.changes
    )


@pytest.mark.parametrize("spelling", LOCAL)
def test_windows_tile_time_at_every_change_of_every_clock(spelling: str):
    starts = cycle(DAY_STARTS)
    for clock in clocks():
        armed_at = datetime(2026, 11, 18, 10, 30, 42, tzinfo=UTC)
        for change, day_start in zip(clock.changes, starts, strict=False):

            def at(moment: datetime) -> Window:
                return clock.window(spelling, moment, armed_at=armed_at, day_start=day_start)  # noqa: B023 - used at once

            found = at(change)
            where = (clock.zone.key, change, day_start)
            assert found.start <= change < found.end, where
            assert at(found.end).start == found.end, where
            assert at(found.start - TICK).end == found.start, where


def test_a_day_in_which_a_clock_changes_begins_at_its_start_of_day_or_as_soon_as_that_is_over():
    for clock in clocks():
        for change in clock.changes:
            day = clock.window("1d", change, armed_at=change)
            where = (clock.zone.key, day)
            assert timedelta(hours=20) <= day.end - day.start <= timedelta(hours=28), where
            assert day.start == change or day.start.astimezone(clock.zone).time() == time(0), where


@pytest.mark.parametrize(("spelling", "days"), [("365d", 365), ("52w", 364)])
def test_days_and_weeks_do_not_drift_in_sixty_years(spelling: str, days: int):
    for clock in clocks():
        armed_at = datetime(1995, 3, 26, 12, tzinfo=UTC)
        first = armed_at.astimezone(clock.zone).date()
        for index, end in enumerate(_walked(clock, spelling, armed_at, LAST.year - FIRST.year - 1), start=1):
            _is_the_start_of(first + timedelta(days=index * days), end, clock)


def test_months_do_not_drift_in_sixty_years():
    for clock in clocks():
        for index, end in enumerate(_walked(clock, "5mo", datetime(1995, 1, 14, tzinfo=UTC), 140), start=1):
            _is_the_start_of(date(1995 + index * 5 // 12, index * 5 % 12 + 1, 1), end, clock)


def _walked(clock: Clock, spelling: str, armed_at: datetime, count: int) -> list[datetime]:
    """The ends of so many windows one after another; the last one is found by asking directly, too."""
    ends = list(
        resets(spelling, zone=clock.zone, day_start=MIDNIGHT, armed_at=armed_at, now=armed_at, count=count)
    )
    assert len(ends) == count
    assert ends[-1] > LAST - timedelta(days=2 * 365), "not sixty years"
    assert clock.window(spelling, ends[-1] - TICK, armed_at=armed_at) == Window(ends[-2], ends[-1])
    return ends


def _is_the_start_of(day: date, moment: datetime, clock: Clock) -> None:
    """Whether it is the midnight with which a local day begins, or, where that is skipped, the end of the gap."""
    local, before = moment.astimezone(clock.zone), (moment - TICK).astimezone(clock.zone)
    where = (clock.zone.key, day, moment)
    assert local.date() >= day > before.date(), where
    assert (local.date(), local.time()) == (day, time(0)) or local.utcoffset() != before.utcoffset(), where

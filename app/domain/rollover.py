"""Rollover: what a window spent beyond its cap is the first spend of the next.

    opening(k + 1) = max(0, opening(k) + spent(k) - cap(k)) = max(0, used(k) - cap(k))

It is a chain, but not one that has to be walked: a window in which nothing was charged only takes its cap off, so
any number of them are one step, and none of it depends on when somebody looks. A charge that comes late for a
window that has passed makes all of the chain behind it anew.

The cap is the one that the budget itself has. A temporary increase is an advance: what it let through is carried.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.windows import Calendar

# Beyond what a column holds nothing is left of any spend.
_EVERYTHING = 2**62


@dataclass(frozen=True, slots=True)
class Terms:
    """By what an account runs: its window's stored spelling and its own cap, each None where it has none."""

    spelling: str | None = None
    cap_nanos: int | None = None

    def roll(self, calendar: Calendar) -> bool:
        """Whether what is spent beyond the cap is carried on."""
        return self.cap_nanos is not None and self.spelling is not None and calendar.rolls(self.spelling)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Windows with one cap, of which only the first, from `start` on, was charged: they end where the next begins.

    `used_nanos` is what the first began with and what was charged to it.
    """

    start: datetime
    used_nanos: int
    cap_nanos: int


@dataclass(frozen=True, slots=True)
class Grid:
    """The windows of one account."""

    calendar: Calendar
    spelling: str
    armed_at: datetime

    def start(self, at: datetime) -> datetime:
        return self.calendar.window(self.spelling, self.armed_at, at).start

    def passed(self, since: datetime, until: datetime) -> int:
        """How many windows on; at least one, for whoever asks knows them to be two."""
        return max(1, self.calendar.passed(self.spelling, self.armed_at, since, until))


def allowance(cap_nanos: int, windows: int) -> int:
    """What so many windows take off a spend, as far as it fits into a column."""
    return min(cap_nanos * windows, _EVERYTHING)


def opening(used_nanos: int, cap_nanos: int, windows: int) -> int:
    """What a window begins with that comes so many after one with this spend, with nothing charged in between."""
    return max(0, used_nanos - cap_nanos * windows)


def opening_at(stretches: Sequence[Stretch], start: datetime, grid: Grid) -> int:
    """What the window that begins at `start` begins with, after these stretches in their order."""
    return _after(_last(stretches, start - timedelta(microseconds=1)), start, grid)


def with_charges(
    stretches: Sequence[Stretch], charges: Iterable[tuple[int, datetime]], grid: Grid
) -> list[Stretch]:
    """These stretches, in their order, after charges to their windows: amounts and when they happened.

    What happened before the first of them counts in none.
    """
    own: dict[datetime, int] = {
        stretch.start: stretch.used_nanos - _after(before, stretch.start, grid)
        for before, stretch in zip((None, *stretches), stretches, strict=False)
    }
    for amount, at in charges:
        within = _last(stretches, at)
        if within is not None:
            # Never before its stretch, where windows are counted otherwise than when that was written.
            start = max(grid.start(at), within.start)
            own[start] = own.get(start, 0) + amount
    made: list[Stretch] = []
    for start in sorted(own):
        within = _last(stretches, start)
        if within is not None:
            before = made[-1] if made else None
            made.append(Stretch(start, _after(before, start, grid) + own[start], within.cap_nanos))
    return made


def _after(before: Stretch | None, start: datetime, grid: Grid) -> int:
    if before is None:
        return 0
    return opening(before.used_nanos, before.cap_nanos, grid.passed(before.start, start))


def _last(stretches: Sequence[Stretch], at: datetime) -> Stretch | None:
    """The last of them that has begun."""
    return next((stretch for stretch in reversed(stretches) if stretch.start <= at), None)

"""Rollover: what a window spent beyond its cap is the first spend of the next.

    opening(k + 1) = max(0, opening(k) + spent(k) - cap(k)) = max(0, used(k) - cap(k))

It is a chain, but not one that has to be walked: a window in which nothing was charged only takes its cap off, so
any number of them are one step, and none of it depends on when somebody looks. A charge that comes late for a
window that has passed makes all of the chain behind it anew.

The cap is the one that the budget itself has. A temporary increase is an advance: what it let through is carried.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter, itemgetter

from app.domain.windows import Calendar, Window

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

    def window(self, at: datetime) -> Window:
        return self.calendar.window(self.spelling, self.armed_at, at)

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

    What happened before the first of them counts in none. Windows are computed once for all charges of one, and of
    stretches for as long as something of a charge is carried into them: the others stay what they are.
    """
    added: dict[datetime, int] = defaultdict(int)
    window: Window | None = None
    for amount, at in sorted(charges, key=itemgetter(1)):
        within = _last(stretches, at)
        if within is not None:
            if window is None or at >= window.end:
                window = grid.window(at)
            # Never before its stretch, where windows are counted otherwise than when that was written.
            added[max(window.start, within.start)] += amount
    standing = {stretch.start: stretch for stretch in stretches}
    made: list[Stretch] = []
    former: Stretch | None = None
    for start in sorted(standing.keys() | added.keys()):
        before, stretch, used = made[-1] if made else None, standing.get(start), added.get(start, 0)
        if stretch is not None:
            used += stretch.used_nanos
            if before is not former:
                used += _after(before, start, grid) - _after(former, start, grid)
            made.append(stretch if used == stretch.used_nanos else Stretch(start, used, stretch.cap_nanos))
            former = stretch
        elif before is not None:  # no charge lies before the first of them
            made.append(Stretch(start, _after(before, start, grid) + used, before.cap_nanos))
    return made


def _after(before: Stretch | None, start: datetime, grid: Grid) -> int:
    if before is None:
        return 0
    return opening(before.used_nanos, before.cap_nanos, grid.passed(before.start, start))


def _last(stretches: Sequence[Stretch], at: datetime) -> Stretch | None:
    """The last of them that has begun."""
    begun = bisect_right(stretches, at, key=attrgetter("start"))
    return stretches[begun - 1] if begun else None

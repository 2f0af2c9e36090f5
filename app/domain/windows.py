"""Budget windows: which stretch of time a charge counts in, and when it ends.

A window is computed from the clock whenever somebody asks, so no job has to run for a budget to reset, and no two
processes can disagree. The invariant: for one spelling, zone, start of day and moment of arming, the windows tile
time. Each starts where the one before ends, none overlaps, none is empty, and none depends on those before it, so
nothing drifts.

| spelling | window |
|---|---|
| 1d, daily | local calendar day |
| 7d, 1w, weekly | local week from Monday |
| 30d, 1mo, monthly | calendar month |
| 3mo / 12mo, 1y | calendar quarter / year |
| any other N d, w | N days or weeks, counted from the local day in which the window was armed |
| any other N mo, y | N months or years, counted from the first of the month in which it was armed |
| N h, m, s, hourly | exact lengths, counted from the start of the local day (h), hour (m), minute (s) of arming |

The first five rows are made of *local boundaries*: wall-clock times, at the start of day on certain dates. With a
start of day of 04:00, what happens at 03:59 on the first of a month belongs to the day, and the month, before.
Exact lengths ignore the start of day, as in LiteLLM: their local day starts at 00:00.

Daylight saving: a local boundary is the first instant at which the local clock shows its time. Where the clock
skips that time it is the first instant after the gap; where the clock shows it twice it is the first one. So

- a day has 23 or 25 hours when the clock changes, or what the zone makes of it (23.5 on Lord Howe Island);
- where the clock goes back over midnight, the repeated end of the evening belongs to the new day;
- a date that a zone skips (Apia, 2011-12-30) has no window; its empty day is part of the next;
- exact lengths never vary: they are fixed to an instant, and move against the wall clock when that changes. Only
  their first start is a wall-clock time, and of a repeated hour or minute it is the one of the arming itself.

Zones come from the machine or, on a slim one, from the `tzdata` package that the project depends on.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from app.domain import durations, spellings
from app.domain.durations import Duration, InvalidDuration, Unit

# Keeps what is accepted today computable for millennia, so that no stored spelling turns bad by ageing.
LONGEST_YEARS = 1_000

# A zone that skips a date moves by a day; none moves as far for another reason.
_DATE_SKIPPED = timedelta(hours=12)
_NONE = timedelta(0)
_EXACT = {Unit.HOUR: timedelta(hours=1), Unit.MINUTE: timedelta(minutes=1), Unit.SECOND: timedelta(seconds=1)}


@dataclass(frozen=True, slots=True)
class Window:
    """The time from `start`, included, to `end`, excluded; both in UTC."""

    start: datetime
    end: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


@dataclass(frozen=True, slots=True)
class _Steps:
    """Dates a fixed number of days apart, or of months; `anchor` is the number of the day or month of date 0."""

    step: int
    anchor: int = 0
    in_months: bool = False

    def day(self, index: int) -> date:
        number = self.anchor + index * self.step
        return date(number // 12, number % 12 + 1, 1) if self.in_months else date.fromordinal(number)

    def index(self, day: date) -> int:
        number = day.year * 12 + day.month - 1 if self.in_months else day.toordinal()
        return (number - self.anchor) // self.step


_DAYS = _Steps(1)
# Day number 1, the first of January of the year 1, is a Monday.
_WEEKS = _Steps(7, anchor=1)
_MONTHS = _Steps(1, in_months=True)
_QUARTERS = _Steps(3, in_months=True)
_YEARS = _Steps(12, in_months=True)

_ALIGNED = {
    Duration(1, Unit.DAY): _DAYS,
    Duration(7, Unit.DAY): _WEEKS,
    Duration(1, Unit.WEEK): _WEEKS,
    # 30 days mean a month, as in LiteLLM.
    Duration(30, Unit.DAY): _MONTHS,
    Duration(1, Unit.MONTH): _MONTHS,
    Duration(3, Unit.MONTH): _QUARTERS,
    Duration(12, Unit.MONTH): _YEARS,
    Duration(1, Unit.YEAR): _YEARS,
}
_SIZES = {Unit.DAY: (_DAYS, 1), Unit.WEEK: (_DAYS, 7), Unit.MONTH: (_MONTHS, 1), Unit.YEAR: (_MONTHS, 12)}


@dataclass(frozen=True, slots=True)
class Calendar:
    """The zone and start of day by which an installation counts windows that have none of their own.

    `rollover` is what becomes of a spend beyond the cap where a window does not say it itself: carried on, or not.
    """

    zone: ZoneInfo
    day_start: time
    rollover: bool = False

    def window(self, spelling: str, armed_at: datetime, now: datetime) -> Window:
        """Return the window that contains `now`, as `containing` does for the parts of a stored spelling."""
        duration, zone, day_start = self._parts(spelling)
        return containing(duration, zone=zone, day_start=day_start, armed_at=armed_at, now=now)

    def resets(self, spelling: str, armed_at: datetime, now: datetime, count: int) -> Iterator[datetime]:
        """Yield the next ends of windows after `now`, as `resets` does for the parts of a stored spelling."""
        duration, zone, day_start = self._parts(spelling)
        return resets(duration, zone=zone, day_start=day_start, armed_at=armed_at, now=now, count=count)

    def passed(self, spelling: str, armed_at: datetime, since: datetime, until: datetime) -> int:
        """How many windows after that of `since` the one of `until` is, as `passed` counts them."""
        duration, zone, day_start = self._parts(spelling)
        return passed(duration, zone=zone, day_start=day_start, armed_at=armed_at, since=since, until=until)

    def rolls(self, spelling: str | None) -> bool:
        """Whether windows of this spelling carry on what was spent beyond their cap; none of an unreadable one."""
        if spelling is None:
            return False
        try:
            own = spellings.read(spelling).rollover
        except InvalidDuration:
            return False
        return self.rollover if own is None else own

    def running(
        self, spelling: str | None, armed_at: datetime | None, now: datetime, stored: Window | None = None
    ) -> Window | None:
        """The window that runs at `now`, None where nothing is armed, or a stored spelling cannot be computed.

        `stored` is what is stored of the account, however long ago: see `follow`.
        """
        if spelling is None or armed_at is None:
            return None
        try:
            return follow(stored, self.window(spelling, armed_at, now), now)
        except InvalidDuration:
            return None

    def _parts(self, spelling: str) -> tuple[str, ZoneInfo, time]:
        own = spellings.read(spelling)
        return own.duration, own.zone or self.zone, self.day_start if own.start is None else own.start


def follow(stored: Window | None, present: Window, now: datetime) -> Window:
    """The window that runs at `now`: the stored one until its end; after it `present`, the calendar's of `now`.

    They differ where the installation was given another zone or start of day. A window that runs keeps its end, so
    nothing that was spent in it is lost; the next one begins there, and ends as the other calendar says. Where
    they begin at once, they are one, to the later end. However often it is stored anew meanwhile, it is the same:
    an instant is in one window.
    """
    if stored is None or now < stored.start:
        return present
    if stored.start == present.start:
        return Window(present.start, max(stored.end, present.end))
    if now < stored.end:
        return stored
    return Window(max(present.start, stored.end), present.end)


def window_of(start: datetime | None, end: datetime | None) -> Window | None:
    """A window as it is stored; None where it has no end, or is none."""
    return None if start is None or end is None else Window(start, end)


def check(spelling: str) -> Duration:
    """Read a spelling that can be a window; what passes has windows until the year 8998 at least.

    Raises InvalidDuration when it cannot be read, is zero, or is longer than 1000 years.
    """
    duration = durations.parse(spelling)
    if duration.count == 0:
        raise InvalidDuration("A window must be longer than zero.")
    if duration.exceeds(years=LONGEST_YEARS):
        raise InvalidDuration(f"A window must not be longer than {LONGEST_YEARS} years.")
    return duration


def containing(spelling: str, *, zone: ZoneInfo, day_start: time, armed_at: datetime, now: datetime) -> Window:
    """Return the window that contains `now`; `armed_at` may be any time before or after it.

    `day_start` is a local time of day. The cost does not grow with the time since arming. Raises InvalidDuration
    as `check` does, and when a boundary lies outside the years 1 to 9999; TypeError when a moment is naive.
    """
    duration = check(spelling)
    if armed_at.utcoffset() is None or now.utcoffset() is None:
        raise TypeError("armed_at and now must be aware")
    try:
        if duration.unit in _EXACT:
            return _exact(duration, zone, armed_at, now)
        return _Local(zone, day_start).window(duration, armed_at, now)
    except (OverflowError, ValueError) as error:
        # Date arithmetic says by either that it left the calendar.
        raise InvalidDuration("The window reaches outside the years 1 to 9999.") from error


def passed(
    spelling: str, *, zone: ZoneInfo, day_start: time, armed_at: datetime, since: datetime, until: datetime
) -> int:
    """Count how many windows after that of `since` the one of `until` is; negative where it lies before.

    The cost does not grow with their number, but where a zone has skipped a date. Raises as `containing` does.
    """
    first, last = (
        containing(spelling, zone=zone, day_start=day_start, armed_at=armed_at, now=at) for at in (since, until)
    )
    duration = check(spelling)
    if duration.unit in _EXACT:
        return (last.start - first.start) // (duration.count * _EXACT[duration.unit])
    return _Local(zone, day_start).passed(duration, armed_at, first.start, last.start)


def resets(
    spelling: str, *, zone: ZoneInfo, day_start: time, armed_at: datetime, now: datetime, count: int
) -> Iterator[datetime]:
    """Yield the next `count` ends of windows after `now`, in UTC, or fewer where the calendar ends.

    Raises InvalidDuration, as `check` does, when the first is asked for.
    """
    check(spelling)
    for _ in range(count):
        try:
            now = containing(spelling, zone=zone, day_start=day_start, armed_at=armed_at, now=now).end
        except InvalidDuration:
            return
        yield now


def _exact(duration: Duration, zone: ZoneInfo, armed_at: datetime, now: datetime) -> Window:
    wall = armed_at.astimezone(zone).replace(tzinfo=None, microsecond=0)
    if duration.unit is Unit.HOUR:
        # A day starts once, even where its midnight is repeated; an hour or a minute starts each time it is shown.
        wall = wall.replace(hour=0, minute=0, second=0, fold=0)
    elif duration.unit is Unit.MINUTE:
        wall = wall.replace(minute=0, second=0)
    else:
        wall = wall.replace(second=0)
    anchor = _instant(wall, zone)
    length = duration.count * _EXACT[duration.unit]
    start = anchor + (now - anchor) // length * length
    return Window(start, start + length)


@dataclass(frozen=True, slots=True)
class _Local:
    """Windows between local boundaries, seen from one zone and start of day."""

    zone: ZoneInfo
    day_start: time

    def window(self, duration: Duration, armed_at: datetime, now: datetime) -> Window:
        steps = _ALIGNED.get(duration) or self._from_arming(duration, armed_at)
        index = self._index(steps, now)
        return Window(self._boundary(steps, index), self._boundary(steps, index + 1))

    def passed(self, duration: Duration, armed_at: datetime, first: datetime, last: datetime) -> int:
        """How many windows lie between two starts of windows."""
        steps = _ALIGNED.get(duration) or self._from_arming(duration, armed_at)
        begin, end = self._index(steps, first), self._index(steps, last)
        moved = (last.astimezone(self.zone).utcoffset() or _NONE) - (
            first.astimezone(self.zone).utcoffset() or _NONE
        )
        if steps.in_months or steps.step > 1 or abs(moved) < _DATE_SKIPPED:
            return end - begin
        # A date that the zone skipped has no window.
        low, high = sorted((begin, end))
        days = len({self._boundary(steps, index) for index in range(low, high + 1)}) - 1
        return days if begin <= end else -days

    def _from_arming(self, duration: Duration, armed_at: datetime) -> _Steps:
        single, size = _SIZES[duration.unit]
        return _Steps(duration.count * size, self._index(single, armed_at), single.in_months)

    def _index(self, steps: _Steps, moment: datetime) -> int:
        """Find the last boundary at or before `moment`: of two that a skipped date makes one, the later.

        The local date is off by a boundary or two at most, as clocks jump by no more than about a day.
        """
        index = steps.index(moment.astimezone(self.zone).date())
        while self._boundary(steps, index) > moment:
            index -= 1
        while self._boundary(steps, index + 1) <= moment:
            index += 1
        return index

    def _boundary(self, steps: _Steps, index: int) -> datetime:
        wall = datetime.combine(steps.day(index), self.day_start, tzinfo=None)
        return _instant(wall.replace(fold=0), self.zone)


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant at which the zone's clock shows `wall`, or the first after it where that is skipped.

    `wall` is naive; its `fold` tells which one where it is shown twice.
    """
    instant = _utc(wall, zone)
    if _wall(instant, zone) == wall:
        return instant
    # In a gap: reading `wall` by the offset after it gives an instant before the change, and the other way round.
    # Changes fall on whole seconds.
    before = _utc(wall.replace(fold=1), zone).replace(microsecond=0)
    seconds = range(int((_utc(wall.replace(fold=0), zone) - before).total_seconds()) + 1)
    skipped = bisect_left(seconds, True, key=lambda count: _wall(before + timedelta(seconds=count), zone) >= wall)
    return before + timedelta(seconds=skipped)


def _utc(wall: datetime, zone: ZoneInfo) -> datetime:
    return wall.replace(tzinfo=zone).astimezone(UTC)


def _wall(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)

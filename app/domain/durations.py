"""Lengths of time as people write them: `30s`, `15m`, `24h`, `7d`, `2w`, `1mo`, `1y`, `daily`.

Every field that takes a length is read here, so that one spelling means one thing everywhere. The whole text
counts: what is not understood to its last character is refused, never cut down to a part that makes sense. A
`Duration` that exists is in range; whether it ends inside the calendar depends on where it starts, and is said by
InvalidDuration, never by an OverflowError.
"""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from enum import StrEnum


class InvalidDuration(ValueError):
    """A length that cannot be read or does not fit into the calendar; the text is fit for the caller."""


class Unit(StrEnum):
    SECOND = "s"
    MINUTE = "m"
    HOUR = "h"
    DAY = "d"
    WEEK = "w"
    MONTH = "mo"
    YEAR = "y"


_SECONDS = {Unit.SECOND: 1, Unit.MINUTE: 60, Unit.HOUR: 3_600, Unit.DAY: 86_400, Unit.WEEK: 604_800}
_MONTHS = {Unit.MONTH: 1, Unit.YEAR: 12}
_SECONDS_PER_YEAR = 365 * 86_400
_MOST_YEARS = MAXYEAR - MINYEAR

# Twelve digits of the smallest unit are more than the calendar holds; an unbounded int() is quadratic.
_GRAMMAR = re.compile(r"([0-9]{1,12})(mo|[smhdwy])")
_TOO_LONG = "It is too long: it would end after the year 9999."


@dataclass(frozen=True, slots=True)
class Duration:
    """`count` units of time; a count of 0 is a length that is over as it begins.

    Raises InvalidDuration for a count below 0 or a length of more than 9998 years.
    """

    count: int
    unit: Unit

    def __post_init__(self) -> None:
        if self.count < 0:
            raise InvalidDuration("It is negative.")
        if self.exceeds(years=_MOST_YEARS):
            raise InvalidDuration(_TOO_LONG)

    def exceeds(self, *, years: int) -> bool:
        """Say whether this is longer than so many years; for bounds, hence with years of 365 days for s to w."""
        if self.unit in _MONTHS:
            return self.count * _MONTHS[self.unit] > years * 12
        return self.count * _SECONDS[self.unit] > years * _SECONDS_PER_YEAR

    def after(self, moment: datetime) -> datetime:
        """Return the instant, in UTC, that lies this long after an aware `moment`.

        s, m, h, d and w are exact seconds; mo and y are calendar months and years of the UTC date, clamped to the
        last day of the month. Raises InvalidDuration when that is past the year 9999, TypeError when `moment` is
        naive.
        """
        if moment.utcoffset() is None:
            raise TypeError("moment must be aware")
        try:
            start = moment.astimezone(UTC)
            if self.unit in _MONTHS:
                return _months_after(start, self.count * _MONTHS[self.unit])
            return start + timedelta(seconds=self.count * _SECONDS[self.unit])
        except OverflowError as error:
            raise InvalidDuration(_TOO_LONG) from error


_WORDS = {
    "hourly": Duration(1, Unit.HOUR),
    "daily": Duration(1, Unit.DAY),
    "weekly": Duration(7, Unit.DAY),
    "monthly": Duration(1, Unit.MONTH),
}


def parse(text: str) -> Duration:
    """Read a whole text as a length: `<int><unit>` in lower case, or hourly, daily, weekly, monthly in any case.

    `0s` is read; who needs a length above zero looks at `count`. Raises InvalidDuration.
    """
    # ASCII first: lower() maps a few foreign letters, such as the Kelvin sign, to Latin ones.
    word = _WORDS.get(text.lower()) if text.isascii() else None
    if word is not None:
        return word
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise InvalidDuration("Use a format like '30s', '15m', '24h', '7d', '2w', '1mo' or '1y'.")
    return Duration(int(match[1]), Unit(match[2]))


def _months_after(start: datetime, months: int) -> datetime:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    if year > MAXYEAR:
        raise InvalidDuration(_TOO_LONG)
    last_day = monthrange(year, month + 1)[1]
    return start.replace(year=year, month=month + 1, day=min(start.day, last_day))

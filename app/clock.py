"""The one place that asks the machine for the time, and the one way to write an instant down.

Everything else receives a `Clock`, so that a test can move time instead of waiting for it.
"""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the present instant, always aware and in UTC."""

    def now(self) -> datetime: ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def iso(moment: datetime | None) -> str | None:
    """The wire's form of an instant: UTC with microseconds and a `Z`, the same text everywhere."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

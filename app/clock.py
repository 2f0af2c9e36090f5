"""The one place that asks the machine for the time.

Everything else receives a `Clock`, so that a test can move time instead of waiting for it.
"""

from datetime import UTC, datetime
from typing import Protocol

from app.domain.instants import iso

__all__ = ["Clock", "SystemClock", "iso"]


class Clock(Protocol):
    """Tells the present instant, always aware and in UTC."""

    def now(self) -> datetime: ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

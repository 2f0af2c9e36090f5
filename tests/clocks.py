"""A clock that moves only when a test moves it."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 18, 13, 47, 33, tzinfo=UTC)


class MovableClock:
    """Stands at one instant until `advance` or `set`; any thread may read it."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta | float) -> datetime:
        """Go on by a length, or by so many seconds; the new instant."""
        self._now += by if isinstance(by, timedelta) else timedelta(seconds=by)
        return self._now

    def set(self, instant: datetime) -> None:
        assert instant.tzinfo is not None
        self._now = instant.astimezone(UTC)

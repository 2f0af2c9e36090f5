"""The one way to write an instant down, and to read one that somebody else may have written."""

from datetime import UTC, datetime
from typing import Any, overload


@overload
def iso(moment: datetime) -> str: ...
@overload
def iso(moment: None) -> None: ...
@overload
def iso(moment: datetime | None) -> str | None: ...


def iso(moment: datetime | None) -> str | None:
    """The wire's form of an instant: UTC with microseconds and a `Z`, the same text everywhere."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def stored_instant(value: Any) -> datetime | None:
    """An instant that stands in stored JSON, in UTC where it names no zone; None for what is none."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None

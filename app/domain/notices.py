"""When somebody is told that a key will expire: so many days before, by a list of days.

A notice whose instant is over when the expiry is set is none: a key of one hour never has a month left.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta


def next_notice(expires_at: datetime | None, now: datetime, days: Iterable[int]) -> datetime | None:
    """The instant of the first notice after `now`; None where there is none left, or no expiry."""
    if expires_at is None:
        return None
    return min((at for _, at in _notices(expires_at, days) if at > now), default=None)


def due_notice(expires_at: datetime, since: datetime, now: datetime, days: Iterable[int]) -> int | None:
    """How many days before the expiry the last notice of those from `since` to `now` was due.

    Of several, as where nobody looked for long, only the last one still tells what is true. None of a key that has
    expired meanwhile.
    """
    if expires_at <= now:
        return None
    return min((days_left for days_left, at in _notices(expires_at, days) if since <= at <= now), default=None)


def _notices(expires_at: datetime, days: Iterable[int]) -> Iterator[tuple[int, datetime]]:
    return ((days_left, expires_at - timedelta(days=days_left)) for days_left in days)

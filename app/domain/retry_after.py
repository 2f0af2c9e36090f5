"""How long another end asks to be left alone: the header Retry-After, in both of its forms (RFC 9110, 10.2.3)."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[0-9]{1,9}")


def seconds_asked(retry_after: str, now: datetime) -> float | None:
    """The wait in seconds, counted from `now` where an instant is given; None where the text is neither form.

    An instant that has passed is no wait. A wait may be years long: how much of it is granted, the sender decides.
    """
    text = retry_after.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    instant = instant_told(text)
    return None if instant is None else max(0.0, (instant - now).total_seconds())


def instant_told(http_date: str) -> datetime | None:
    """The instant of an HTTP date; None where the text is none."""
    try:
        instant = parsedate_to_datetime(http_date)
    except (ValueError, OverflowError):
        return None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)

"""What a budget stores of its window: its length, and a start of day, zone and rollover of its own, as one text.

`1d` is a day of the installation's calendar, `1d 06:00 Asia/Tokyo` one that begins at six in Tokyo. `1d +rollover`
carries what is spent beyond its cap into the next day, and `1d -rollover` does not, whatever the installation
does. What is one text is compared, grouped and replaced as one: another zone is another window.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from app.domain.durations import InvalidDuration

# The names of the parts on the wire.
DURATION, START, ZONE = "budget_duration", "budget_start_time", "budget_timezone"
ROLLOVER = "budget_rollover"
FIELDS = (DURATION, START, ZONE, ROLLOVER)

# No zone begins with a sign, and no time of day.
ROLLS = "+rollover"
_ROLLOVER: Mapping[str, bool] = {ROLLS: True, "-rollover": False}

_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?")


@dataclass(frozen=True, slots=True)
class Spelling:
    """A spelling in its parts; None for a part that is the installation's."""

    duration: str
    start: time | None = None
    zone: ZoneInfo | None = None
    rollover: bool | None = None


def spelled(duration: str | None, start: str | None, zone: str | None, rollover: bool | None = None) -> str | None:
    """The text that is stored for these parts; None where there is no window. It is checked by `read`."""
    if duration is None:
        return None
    sign = next((sign for sign, meant in _ROLLOVER.items() if meant is rollover), None)
    return " ".join(part for part in (duration, start, zone, sign) if part)


@lru_cache(maxsize=1024)
def read(spelling: str) -> Spelling:
    """Read a stored text; raises InvalidDuration where a part of it cannot be read.

    The length itself is read by whoever computes a window of it.
    """
    duration, *rest = spelling.split(" ")
    start = start_of(rest.pop(0)) if rest and rest[0][:1].isdigit() else None
    rollover = _ROLLOVER[rest.pop()] if rest and rest[-1] in _ROLLOVER else None
    zone = zone_of(rest.pop(0)) if rest else None
    if rest:
        raise InvalidDuration("The spelling of the window has a part too many.")
    return Spelling(duration, start, zone, rollover)


def shown(spelling: str | None) -> dict[str, Any]:
    """The parts of a stored text under their wire names, as they were sent."""
    duration, *rest = ("",) if spelling is None else spelling.split(" ")
    start = rest.pop(0) if rest and rest[0][:1].isdigit() else None
    rollover = _ROLLOVER[rest.pop()] if rest and rest[-1] in _ROLLOVER else None
    return {DURATION: duration or None, START: start, ZONE: rest[0] if rest else None, ROLLOVER: rollover}


def changed(sent: Mapping[str, Any], stored: str | None) -> str | None:
    """The text after a change by the sent fields; what was not sent stays, and a null length takes all off.

    Raises InvalidDuration where another part is sent and there is no length.
    """
    # The empty text is none; False is something.
    parts = {
        **shown(stored),
        **{name: None if sent[name] == "" else sent[name] for name in FIELDS if name in sent},
    }
    if parts[DURATION] is None:
        for name in (START, ZONE, ROLLOVER):
            if sent.get(name) not in (None, ""):
                raise InvalidDuration(f"A {name} needs a {DURATION}.")
    return spelled(*(parts[name] for name in FIELDS))


def start_of(text: str) -> time:
    """Read a time of day, `HH:MM` or `HH:MM:SS`; raises InvalidDuration."""
    if _TIME.fullmatch(text) is None:
        raise InvalidDuration("Use a time of day like '06:00' or '06:00:30'.")
    return time.fromisoformat(text)


def zone_of(text: str) -> ZoneInfo:
    """Read the name of an IANA zone; raises InvalidDuration."""
    try:
        return ZoneInfo(text)
    except (OSError, ValueError, KeyError):  # what zoneinfo makes of names that are none, or are paths
        raise InvalidDuration("Use the name of an IANA zone like 'Europe/Berlin' or 'UTC'.") from None

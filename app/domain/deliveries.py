"""What is delivered to the outside, and when a target that failed is tried again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 300.0
LONGEST_RETRY_AFTER_SECONDS = 3600.0


class Subject(StrEnum):
    """What a delivery tells of."""

    EVENT = "event"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as it is told: the same id at every attempt."""

    event_id: str
    kind: str
    entity: str
    entity_id: str
    payload: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Route:
    """Whom a subject goes to: a target and, for mail, the address of the recipient; and when an event happened."""

    target: str
    subject: Subject
    subject_id: str
    recipient: str = ""
    sealed: str | None = field(default=None, repr=False)
    happened_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery in the hands of a sender; `event` is None for a log, and for an event that is kept no longer.

    `sealed` is None, too, once its day is over. `last_error` is what the attempt before this one has met with.
    """

    delivery_id: int
    subject: Subject
    subject_id: str
    recipient: str
    sealed: str | None = field(repr=False)
    created_at: datetime
    event: StoredEvent | None
    last_error: str | None = None


def backoff_seconds(failures: int, retry_after_seconds: float | None, chance: float) -> float:
    """How long a target rests after so many failures one after the other (1 or more).

    Doubles from one second up to five minutes, of which `chance` (0 to 1) takes up to a half away, so that targets
    that failed together do not come back together. What the target itself has asked for is kept, up to an hour.
    """
    doublings = min(failures - 1, 16)
    longest = min(FIRST_BACKOFF_SECONDS * 2.0**doublings, LONGEST_BACKOFF_SECONDS)
    asked = min(retry_after_seconds or 0.0, LONGEST_RETRY_AFTER_SECONDS)
    return max(longest * (1 - chance / 2), asked)

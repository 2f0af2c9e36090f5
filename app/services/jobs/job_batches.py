"""What one batch of a job has done, and what the job has set aside."""

from dataclasses import dataclass
from datetime import datetime

# Between two batches others get their turn at the store's one writing place.
PAUSE_SECONDS = 0.05
# So many of those set aside are told by name.
TOLD = 5


@dataclass(frozen=True, slots=True)
class JobBatch:
    """`rows` dealt with, `parked` set aside with a reason, and whether more is due at once."""

    rows: int
    parked: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """An account that is set aside, in the columns that name it, and why."""

    scope: str
    scope_id: str
    sub: str
    reason: str | None
    parked_at: datetime


@dataclass(frozen=True, slots=True)
class Parked:
    """How many rows are set aside at present, and the first few of them."""

    rows: int = 0
    first: tuple[ParkedRow, ...] = ()

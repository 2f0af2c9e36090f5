"""What one batch of a job has done."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobBatch:
    """`rows` dealt with, `parked` set aside with a reason, and whether more is due at once."""

    rows: int
    parked: int = 0
    more: bool = False

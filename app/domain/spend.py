"""The one number: what a scope has spent, in its present window and ever.

The stored state is only moved when somebody writes it; a window that has passed meanwhile reads as zero here,
so the clock decides and not a job.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.windows import Calendar, Window


@dataclass(frozen=True, slots=True)
class Spend:
    """Nano-dollars spent; `window` is None for a scope whose spend is never reset."""

    window_nanos: int = 0
    lifetime_nanos: int = 0
    window: Window | None = None
    armed_at: datetime | None = None

    @property
    def reset_at(self) -> datetime | None:
        return None if self.window is None else self.window.end


def spend_of(state: Mapping[str, Any] | None, spelling: str | None, calendar: Calendar, now: datetime) -> Spend:
    """Read a scope's account at `now`: its stored state and its charges that are not folded yet, read with it.

    No account is no spend. A window that cannot be computed is none: its spend is kept, and does not stop whoever
    reads many scopes.
    """
    if state is None:
        return Spend()
    spent = state["window_spend_nanos"] + state["pending_nanos"]
    lifetime = state["lifetime_spend_nanos"] + state["pending_lifetime_nanos"]
    window = calendar.running(spelling, state["armed_at"], now)
    if window is None:
        return Spend(spent, lifetime)
    return Spend(spent if state["window_start"] == window.start else 0, lifetime, window, state["armed_at"])

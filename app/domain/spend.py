"""The one number: what a scope has spent, in its present window and ever.

The stored state is only moved when somebody writes it; a window that has passed meanwhile reads here as zero, or
as what it leaves to the present one, so the clock decides and not a job.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.rollover import Grid, Terms, opening, opening_at, with_charges
from app.domain.windows import Calendar, Window, window_of


@dataclass(frozen=True, slots=True)
class Spend:
    """Nano-dollars spent; `window` is None for a scope whose spend is never reset.

    `terms` are told of a scope that carries on what it spends beyond its cap.
    """

    window_nanos: int = 0
    lifetime_nanos: int = 0
    window: Window | None = None
    armed_at: datetime | None = None
    terms: Terms | None = None

    @property
    def reset_at(self) -> datetime | None:
        return None if self.window is None else self.window.end


def spend_of(state: Mapping[str, Any] | None, terms: Terms, calendar: Calendar, now: datetime) -> Spend:
    """Read a scope's account at `now`: its stored state and its charges that are not folded yet, read with it.

    No account is no spend. Where no window can be computed, the stored one has no end: that does not stop whoever
    reads many scopes.

    A stored window runs until its stored end, whatever the installation's calendar is by now.
    """
    if state is None:
        return Spend()
    spent = state["window_spend_nanos"] + state["pending_nanos"]
    lifetime = state["lifetime_spend_nanos"] + state["pending_lifetime_nanos"]
    stored = window_of(state["window_start"], state["reset_at"])
    window = calendar.running(terms.spelling, state["armed_at"], now, stored)
    if window is None:
        return Spend(spent + carried_into(state, state["window_start"], None, calendar), lifetime)
    rolling = terms if terms.roll(calendar) else None
    inside = spent if state["window_start"] is not None and state["window_start"] in window else 0
    carried = carried_into(state, window.start, rolling, calendar)
    return Spend(inside + carried, lifetime, window, state["armed_at"], rolling)


def carried_into(state: Mapping[str, Any], start: datetime | None, terms: Terms | None, calendar: Calendar) -> int:
    """What an account carries into the window that begins at `start`, beside what is stored of that one.

    Of a stored window that has passed by these terms it is all that is left; of the present one, what charges add
    that wait unfolded and come late. Such charges stand in the state as `late`, amounts and when they happened,
    and the windows that they may fall into as `stretches`.
    """
    stored, armed_at = state["window_start"], state["armed_at"]
    if stored is None or armed_at is None or start is None or stored > start:
        return 0
    late = 0
    # By a spelling that can be computed no longer nobody can tell what they carry on.
    if state.get("late") and calendar.running(state["rolled_by"], armed_at, stored) is not None:
        grid = Grid(calendar, state["rolled_by"], armed_at)
        after = with_charges(state["stretches"], state["late"], grid)
        late = opening_at(after, stored, grid) - opening_at(state["stretches"], stored, grid)
    if stored == start or (state["reset_at"] is not None and state["reset_at"] > start):
        return late
    if terms is None or terms.spelling is None or terms.cap_nanos is None:
        return 0
    used = state["window_spend_nanos"] + state["pending_nanos"] + late
    return opening(used, terms.cap_nanos, Grid(calendar, terms.spelling, armed_at).passed(stored, start))

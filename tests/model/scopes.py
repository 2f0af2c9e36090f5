"""What a charge counts in: scopes, their windows, and the counter of each."""

from typing import NamedTuple

# Ticks of the one clock. A window is several leases long, so that leases end both inside and across windows.
WINDOW = 12
LEASE = 3
# How long a mark stands, and how long a commit may take at the most.
CHANGE = 4
COMMIT = 1


class Scope(NamedTuple):
    kind: str
    id: str


class Counter(NamedTuple):
    """The counter of a scope in one window; a scope without windows has one for ever."""

    scope: Scope
    window_start: int | None


KEY = Scope("key", "k")
TEAMS = (Scope("team", "t1"), Scope("team", "t2"))
SCOPES = (KEY, *TEAMS)


def window_start(at: int) -> int:
    return at // WINDOW * WINDOW


def counter(scope: Scope, at: int) -> Counter:
    """The counter that something which happened at `at` counts in: keys have windows, teams have none."""
    return Counter(scope, window_start(at) if scope == KEY else None)

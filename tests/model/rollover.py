"""What a window spent beyond its cap is the first spend of the next: the windows that have passed, as they are kept."""

from collections.abc import Mapping
from typing import NamedTuple

from tests.model.scopes import WINDOW


class Kept(NamedTuple):
    """A window that was charged, and those after it until the next that is kept; `used` with what it began with."""

    used: int
    cap: int


def opening(kept: Mapping[int, Kept], start: int) -> int:
    """What the window that begins at `start` begins with."""
    before = [each for each in kept if each < start]
    if not before:
        return 0
    last = max(before)
    return max(0, kept[last].used - kept[last].cap * ((start - last) // WINDOW))


def charged(kept: Mapping[int, Kept], late: Mapping[int, int]) -> dict[int, Kept]:
    """The windows after charges that come late for some of them, by their starts."""
    made: dict[int, Kept] = {}
    former: dict[int, Kept] = {}
    for start in sorted(kept.keys() | late.keys()):
        own, cap = late.get(start, 0), (kept[start] if start in kept else made[max(made)]).cap
        if start in kept:
            own += kept[start].used - opening(former, start)
            former[start] = kept[start]
        made[start] = Kept(opening(made, start) + own, cap)
    return made

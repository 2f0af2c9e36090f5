"""What becomes of a call that is to be held."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.limits import Numbers
from app.store.balance_names import instant
from app.store.policies import Freshness


@dataclass(frozen=True, slots=True)
class Held:
    """The call is held; `replayed` where it was before, under the reservation of then."""

    numbers: Numbers
    reservation: str
    deadline: datetime
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Full:
    """A limit has no room: `which` of the plan's budgets, rates or slots; `ripe`: holds are past their lease."""

    numbers: Numbers
    limit: str
    which: int
    ripe: bool


@dataclass(frozen=True, slots=True)
class Cold:
    """Some budgets' counters are not seeded yet."""

    which: Sequence[int]


@dataclass(frozen=True, slots=True)
class Lost:
    """Redis is so young that holds of before it may be lost; budgeted calls wait until then."""

    numbers: Numbers
    until: datetime


Outcome = Freshness | Held | Full | Cold | Lost


def outcome(answer: Sequence[Any], reservation: str, deadline: datetime) -> Outcome:
    """What the script says of a call that was to be held under this reservation, until this deadline."""
    kind = answer[0]
    if len(answer) == 1:
        return Freshness(kind)
    budgets, rates, slots, *rest = answer[1:]
    numbers = numbers_of(budgets, rates, slots)
    match kind:
        case "HELD":
            return Held(numbers, reservation, deadline)
        case "REPLAY":
            return Held(numbers, rest[0], instant(rest[1]), replayed=True)
        case "REFUSED":
            return Full(numbers, rest[0], int(rest[1]), ripe=bool(rest[2]))
        case "COLD":
            return Cold([int(which) for which in rest[0]])
        case _:
            return Lost(numbers, instant(rest[0]))


def numbers_of(budgets: Sequence[Any], rates: Sequence[Any], slots: Sequence[Any]) -> Numbers:
    """How full the limits of a plan are, as the scripts tell it."""
    return Numbers(
        used=[int(used) for used, _, _ in budgets],
        held=[int(held) for _, held, _ in budgets],
        confirmed=[bool(confirmed) for _, _, confirmed in budgets],
        rates=[int(count) for count in rates],
        slots=[int(count) for count, _ in slots],
        frees_at=[instant(soonest) if soonest else None for _, soonest in slots],
    )

"""How full each limit of a call is: one list, for the verdict, its refusal and its explanation."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.limits import Numbers, Plan, Unit, admits
from app.domain.scopes import Scope


class LimitKind(StrEnum):
    BUDGET = "budget"
    REQUESTS = "requests"
    TOKENS = "tokens"
    PARALLEL_REQUESTS = "parallel_requests"


@dataclass(frozen=True, slots=True)
class LimitState:
    """Nano-dollars of a budget, counts of anything else; `asked` is what the call would take of it.

    Parallel requests do not end all at once: `frees_at` is when the first is over by time alone.
    """

    scope: Scope
    kind: LimitKind
    limit: int
    used: int
    held: int
    asked: int
    resets_at: datetime | None = None
    frees_at: datetime | None = None

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used - self.held)

    @property
    def fits(self) -> bool:
        return admits(self.used, self.held, self.asked, self.limit)


def states(plan: Plan, numbers: Numbers, amount_nanos: int, tokens: int, now: datetime) -> list[LimitState]:
    """The limits of a plan in the order in which they are checked: budgets, rates, parallel requests."""
    minute_end = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    found = [
        LimitState(
            budget.account.scope,
            LimitKind.BUDGET,
            budget.cap_nanos,
            used,
            held,
            amount_nanos,
            None if budget.account.window is None else budget.account.window.end,
        )
        for budget, used, held in zip(plan.budgets, numbers.used, numbers.held, strict=True)
    ]
    for rate, count in zip(plan.rates, numbers.rates, strict=True):
        asked = tokens if rate.unit is Unit.TOKENS else 1
        found.append(LimitState(rate.scope, LimitKind(rate.unit), rate.limit, count, 0, asked, minute_end))
    for slots, count, frees_at in zip(plan.slots, numbers.slots, numbers.frees_at, strict=True):
        kind = LimitKind.PARALLEL_REQUESTS
        found.append(LimitState(slots.scope, kind, slots.limit, 0, count, 1, frees_at=frees_at))
    return found

"""What is used of a budget beside the one of its holder, and in which window."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.further_budgets import OF_MODELS
from app.domain.instants import iso
from app.domain.money import dollars, shown
from app.domain.rollover import Terms
from app.domain.scopes import Scope
from app.domain.spend import Spend

_OF_MODELS = frozenset(OF_MODELS.values())


@dataclass(frozen=True, slots=True)
class FurtherUsage:
    """That of one account at one instant; the scope's `sub` names the model, or the window by its spelling."""

    scope: Scope
    terms: Terms
    spend: Spend

    @property
    def is_of_model(self) -> bool:
        return self.scope.kind in _OF_MODELS


def usage_fields(further: Sequence[FurtherUsage]) -> dict[str, Any]:
    """The wire fields that tell it; one is there where its holder has such budgets."""
    fields = {
        "model_max_budget_usage": {each.scope.sub: _of_model(each) for each in further if each.is_of_model},
        "budget_limits_usage": {
            each.scope.sub: {"current_spend": dollars(each.spend.window_nanos)}
            for each in further
            if not each.is_of_model
        },
    }
    return {name: entries for name, entries in fields.items() if entries}


def _of_model(used: FurtherUsage) -> dict[str, Any]:
    return {
        "current_spend": dollars(used.spend.window_nanos),
        "budget_limit": shown(used.terms.cap_nanos),
        "time_period": used.terms.spelling,
        "budget_reset_at": iso(used.spend.reset_at),
    }

"""A budget tier as the rest of the service sees it, and the one place that names its fields for the wire."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.clock import iso
from app.domain import spellings
from app.domain.budgets import present_reset
from app.domain.money import shown
from app.domain.windows import Calendar


@dataclass(frozen=True, slots=True)
class BudgetView:
    """A tier at one instant; `reset_at` is its next reset then."""

    budget_id: str
    columns: Mapping[str, Any]
    reset_at: datetime | None

    def fields(self) -> dict[str, Any]:
        """Every field under its wire name, ready for JSON."""
        columns = self.columns
        return {
            **{name: columns[name] for name in _PLAIN},
            **spellings.shown(columns["budget_duration"]),
            "max_budget": shown(columns["max_budget_nanos"]),
            "soft_budget": shown(columns["soft_budget_nanos"]),
            "budget_reset_at": iso(self.reset_at),
            "temp_budget_increase": shown(columns["temp_budget_increase_nanos"]),
            **{name: iso(columns[name]) for name in _INSTANTS},
        }


def budget_view(row: Mapping[str, Any], calendar: Calendar, now: datetime) -> BudgetView:
    return BudgetView(row["budget_id"], row, present_reset(row, calendar, now))


def tier_fields(row: Mapping[str, Any] | None, calendar: Calendar, now: datetime) -> dict[str, Any] | None:
    """The fields of the tier that something is linked to; None where it is linked to none."""
    return None if row is None else budget_view(row, calendar, now).fields()


_PLAIN = (
    "budget_id",
    "max_parallel_requests",
    "tpm_limit",
    "rpm_limit",
    "tpd_limit",
    "model_max_budget",
    "allowed_models",
    "created_by",
    "updated_by",
)
_INSTANTS = ("temp_budget_expiry", "created_at", "updated_at")
TIER_FIELDS = (
    *_PLAIN,
    *spellings.FIELDS,
    *_INSTANTS,
    "max_budget",
    "soft_budget",
    "budget_reset_at",
    "temp_budget_increase",
)

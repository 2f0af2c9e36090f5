"""What a change lifts: the limits that stand higher after it, or not at all.

Whoever manages a team or an organization without being above it may keep its limits or lower them. The rules see
the columns before and after a change, so it does not matter how a request spelled it, and what stays is no change.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from app.domain.budgets import ALL_MODELS, MODEL_RATES, windows_among

_Limit = TypeVar("_Limit", int, datetime)

# Columns that hold one number, by the name of the field that sets each.
CAPS = {
    "max_budget_nanos": "max_budget",
    "soft_budget_nanos": "soft_budget",
    "max_parallel_requests": "max_parallel_requests",
    "tpm_limit": "tpm_limit",
    "rpm_limit": "rpm_limit",
    "tpd_limit": "tpd_limit",
}


def lifted(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The fields that a change from `before` to `after` lifts; columns that neither has are no limits."""
    found = [field for column, field in CAPS.items() if raises(before.get(column), after.get(column))]
    found += [column for column in ("models", "allowed_models") if widens(before.get(column), after.get(column))]
    # Another window may start at zero, or end sooner.
    found += [] if before.get("budget_duration") == after.get("budget_duration") else ["budget_duration"]
    if not _keeps(before.get("model_max_budget"), after.get("model_max_budget")):
        found.append("model_max_budget")
    if _raises_one(_windows(before), _windows(after)):
        found.append("budget_limits")
    metadata = [columns.get("metadata") or {} for columns in (before, after)]
    found += [name for name in MODEL_RATES if _raises_one(*(_numbers(entries.get(name)) for entries in metadata))]
    if _raises_increase(before, after):
        found.append("temp_budget_increase")
    return found


def raises(before: _Limit | None, after: _Limit | None) -> bool:
    """Whether a limit becomes a higher one or none."""
    return before is not None and (after is None or after > before)


def _raises_increase(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a temporary increase is given, or given anew; to take one off lifts nothing."""
    asked = [
        (columns.get("temp_budget_increase_nanos"), columns.get("temp_budget_expiry"))
        for columns in (before, after)
    ]
    return asked[1][0] is not None and asked[0] != asked[1]


def bounded(models: Iterable[str] | None) -> bool:
    """Whether a list of models leaves any out; none at all stands for all."""
    listed = set(models or ())
    return bool(listed) and ALL_MODELS.isdisjoint(listed)


def widens(before: Iterable[str] | None, after: Iterable[str] | None) -> bool:
    """Whether a list of models becomes one that leaves fewer out."""
    return bounded(before) and not (after and set(after) <= set(before or ()))


def _keeps(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> bool:
    """Whether everything that stood there still does, as it was."""
    return (before or {}).items() <= (after or {}).items()


def _raises_one(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether one of some numbers becomes another one than a lower one; what is no number may not change."""
    return any(limit != after.get(name) and not _lowers(limit, after.get(name)) for name, limit in before.items())


def _lowers(before: Any, after: Any) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (before, after))
    return numbers and after < before


def _windows(columns: Mapping[str, Any]) -> dict[str, Any]:
    limits = windows_among(columns.get("budget_limits"))
    return {limit["budget_duration"]: limit.get("max_budget") for limit in limits}


def _numbers(rates: Any) -> Mapping[str, Any]:
    return rates if isinstance(rates, Mapping) else {}

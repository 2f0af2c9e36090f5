"""Temporary increases of a key's budget: two entries of its metadata, effective by the clock."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.domain import money
from app.domain.instants import stored_instant
from app.domain.values import InvalidValue

TEMPORARY_FIELDS = frozenset({"temp_budget_increase", "temp_budget_expiry"})


def temporary_increase(metadata: Mapping[str, Any], now: datetime) -> int:
    """Nano-dollars by which the key's cap is raised at this instant; what cannot be read raises nothing."""
    amount, until = metadata.get("temp_budget_increase"), stored_instant(metadata.get("temp_budget_expiry"))
    if amount is None or until is None or until <= now:
        return 0
    try:
        return money.nanos(money.decimal(amount, "temp_budget_increase"), "temp_budget_increase")
    except InvalidValue:
        return 0


def without_increase(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata without its temporary increase."""
    return {name: value for name, value in metadata.items() if name not in TEMPORARY_FIELDS}


def visible_metadata(metadata: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
    """The metadata as it is at this instant: an increase that is over is no longer there."""
    until = stored_instant(metadata.get("temp_budget_expiry"))
    return metadata if until is None or until > now else without_increase(metadata)

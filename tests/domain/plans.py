"""Snapshots with limits, and the plans that they give to a call."""

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from app.domain.limits import Plan, plan
from app.domain.scopes import Scope
from app.domain.snapshots import Snapshot
from app.domain.windows import Calendar

NOW = datetime(2026, 11, 18, 13, 47, 33, tzinfo=UTC)
ARMED = NOW - timedelta(days=3)
CALENDAR = Calendar(ZoneInfo("UTC"), time(0))
NANOS = 1_000_000_000

RATES = {"max_parallel_requests": None, "tpm_limit": None, "rpm_limit": None}
LIMITS = {"max_budget_nanos": None, "budget_duration": None, **RATES}
FURTHER = {"created_at": ARMED, "model_max_budget": {}, "budget_limits": None}
KEY = {
    "key_id": "k",
    "team_id": None,
    "user_id": None,
    "organization_id": None,
    "metadata": {},
    **FURTHER,
    **LIMITS,
}
TIER = {"model_max_budget": {}, "temp_budget_expiry": None, "temp_budget_increase_nanos": None, **LIMITS}


def snapshot(
    *,
    armed: Mapping[tuple[str, str], datetime] | None = None,
    **rows: Mapping[str, Any] | None,
) -> Snapshot:
    """A key in a team of an organization, with an owner, where rows of these are given."""
    key = {**KEY, **(rows.pop("key", None) or {})}
    found: dict[str, Any] = {}
    for name, row in rows.items():
        found[name] = None if row is None else {**(TIER if "tier" in name else LIMITS), "metadata": {}, **row}
    if "team" in rows:
        key["team_id"] = "t"
        found["team"] = {"team_id": "t", "organization_id": None, **FURTHER, **(found["team"] or {})}
    if "user" in rows:
        key["user_id"] = "u"
        found["user"] = {**FURTHER, **(found["user"] or {})}
    if "organization" in rows:
        key["organization_id"] = "o"
        found["organization"] = {"organization_id": "o", **(found["organization"] or {})}
    return Snapshot(key=key, armed_at=armed or {}, **found)


def planned(found: Snapshot, model: str | None = "gpt-4o", now: datetime = NOW, **options: Any) -> Plan:
    return plan(found, model, CALENDAR, now, **options)


def caps(found: Plan) -> dict[Scope, int]:
    return {budget.account.scope: budget.cap_nanos for budget in found.budgets}

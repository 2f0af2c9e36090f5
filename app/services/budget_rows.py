"""Budget tiers in SQL; a tier is made by its own use case or within that of what it belongs to."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from app.domain.windows import Calendar
from app.models import budgets
from app.services.audit import Act
from app.services.budget_views import BudgetView, budget_view

# A tier as it is where nothing is said of it: rows of one statement have the same columns.
_UNLIMITED: dict[str, Any] = {
    **dict.fromkeys(column.name for column in budgets.columns if column.nullable),
    "model_max_budget": {},
    "allowed_models": [],
}


def put(transaction: Connection, act: Act, tiers: Mapping[str, Mapping[str, Any]]) -> None:
    """Store new tiers, id to columns, in one statement."""
    if not tiers:
        return
    author = act.caller.user_id
    transaction.execute(
        insert(budgets),
        [
            {
                **_UNLIMITED,
                **columns,
                "budget_id": budget_id,
                "created_at": act.at,
                "created_by": author,
                "updated_at": act.at,
                "updated_by": author,
            }
            for budget_id, columns in tiers.items()
        ],
    )


def overlaid(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The limits of a tier of one's own: those of the shared one, with what is one's own in their place."""
    given = {name: value for name, value in own.items() if value not in (None, [], {})}
    return {**{name: value for name, value in shared.items() if name in _UNLIMITED}, **given}


def rows_of(connection: Connection, budget_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The stored rows of the tiers among these ids that exist."""
    wanted = set(budget_ids)
    if not wanted:
        return {}
    rows = connection.execute(select(budgets).where(budgets.c.budget_id.in_(wanted))).mappings()
    return {row["budget_id"]: dict(row) for row in rows}


def load(
    connection: Connection, budget_ids: Iterable[str], calendar: Calendar, now: datetime
) -> dict[str, BudgetView]:
    """The tiers among these ids that exist."""
    rows = rows_of(connection, budget_ids)
    return {budget_id: budget_view(row, calendar, now) for budget_id, row in rows.items()}

"""Budget tiers in SQL; a tier is made by its own use case or within that of what it belongs to."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    union_all,
    update,
)

from app.domain.windows import Calendar
from app.models import budgets, keys, organization_members, organizations, team_members, teams
from app.services.audit.audit import Act
from app.services.budgets.budget_views import BudgetView, budget_view

# A tier as it is where nothing is said of it: rows of one statement have the same columns.
_UNLIMITED: dict[str, Any] = {
    **dict.fromkeys(column.name for column in budgets.columns if column.nullable),
    "model_max_budget": {},
    "allowed_models": [],
}

_AUTHORS = frozenset({"created_by", "updated_by"})
_LINKS = (
    keys.c.budget_id,
    team_members.c.budget_id,
    teams.c.member_budget_id,
    organizations.c.budget_id,
    organization_members.c.budget_id,
)


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


def unlimited(budget_id: str) -> dict[str, Any]:
    """A tier that says nothing as yet."""
    return {**_UNLIMITED, "budget_id": budget_id}


def overlaid(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The limits of a tier of one's own: those of the shared one, with what is one's own in their place."""
    given = {name: value for name, value in own.items() if value not in (None, [], {})}
    return {**limits_in(shared), **given}


def rows_of(connection: Connection, budget_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The stored rows of the tiers among these ids that exist."""
    return _rows(connection, _chosen(budget_ids))


def linked(transaction: Connection, budget_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """As `rows_of`, for something to be linked to them: they stay as they are until the transaction ends."""
    return _rows(transaction, _chosen(budget_ids).with_for_update(read=True))


def locked(
    transaction: Connection, budget_ids: Iterable[str | None], *more: ColumnElement[Any]
) -> dict[str, dict[str, Any]]:
    """As `rows_of`, for a change: nobody else changes them, or links anything to them, until it ends.

    `more` is told of each beside its row. Tiers come after teams, users, organizations and keys in the order of
    locks, and before `budget_state`.
    """
    return _rows(transaction, _chosen(budget_ids).add_columns(*more).with_for_update())


def is_shared(transaction: Connection, budget_id: str) -> bool:
    """Whether more than one thing is linked to a tier: such a one is not changed through one of them."""
    links = union_all(
        *(
            select(literal(1).label("link")).where(column == budget_id).limit(2).subquery().select()
            for column in _LINKS
        )
    ).subquery()
    return transaction.execute(select(func.count()).select_from(links)).scalar_one() > 1


def change(transaction: Connection, act: Act, budget_id: str, columns: Mapping[str, Any]) -> None:
    """Write the columns of a locked tier that change; nothing where none does."""
    if columns:
        transaction.execute(
            update(budgets)
            .where(budgets.c.budget_id == budget_id)
            .values({**columns, "updated_at": act.at, "updated_by": act.caller.user_id})
        )


def remove(transaction: Connection, budget_id: str) -> None:
    """Remove a tier that nothing is linked to any more."""
    transaction.execute(delete(budgets).where(budgets.c.budget_id == budget_id))


def remove_unlinked(transaction: Connection, budget_ids: Collection[str]) -> None:
    """Remove those of these tiers that nothing is linked to any more; the caller holds them by `locked`.

    Holding them takes a statement of its own: whoever is linking something to one is waited for, and then seen.
    """
    if not budget_ids:
        return
    transaction.execute(
        delete(budgets).where(
            budgets.c.budget_id.in_(budget_ids),
            *(~exists().where(column == budgets.c.budget_id) for column in _LINKS),
        )
    )


def limits_in(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a tier says, without its name and its authors: that of a copy."""
    return {name: value for name, value in row.items() if name in _UNLIMITED and name not in _AUTHORS}


def _chosen(budget_ids: Iterable[str | None]) -> Select[Any]:
    return select(budgets).where(budgets.c.budget_id.in_(set(budget_ids))).order_by(budgets.c.budget_id)


def _rows(connection: Connection, statement: Select[Any]) -> dict[str, dict[str, Any]]:
    return {row["budget_id"]: dict(row) for row in connection.execute(statement).mappings()}


def load(
    connection: Connection, budget_ids: Iterable[str], calendar: Calendar, now: datetime
) -> dict[str, BudgetView]:
    """The tiers among these ids that exist."""
    rows = rows_of(connection, budget_ids)
    return {budget_id: budget_view(row, calendar, now) for budget_id, row in rows.items()}

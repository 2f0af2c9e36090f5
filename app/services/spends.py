"""The one number: what a scope has spent in a window, charges that are not folded yet included.

Every statement that shows or compares a spend reads the stored state and the unfolded charges at once, so that a
rollup between two reads can neither hide a charge nor count it twice.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Text,
    and_,
    case,
    cast,
    column,
    func,
    literal,
    null,
    or_,
    select,
    values,
)

from app.db import UtcDateTime
from app.domain.limits import Account
from app.domain.scopes import Scope
from app.models import budget_state, ledger_unfolded
from app.services.rows import labelled, part

ZERO: ColumnElement[Any] = literal(0)
_STORED = func.coalesce(budget_state.c.window_spend_nanos, 0)
# PostgreSQL takes the type of a column of values from its rows.
_NEVER = cast(null(), UtcDateTime)
_PENDING = "state.pending_nanos"
_PENDING_LIFETIME = "state.pending_lifetime_nanos"


def current(connection: Connection, accounts: Sequence[Account]) -> list[int | None]:
    """What each of these accounts has been charged, in nano-dollars, in their order; one statement.

    None where the stored window is a later one already: what the account's held is no longer known, and nothing
    may be decided by it.
    """
    if not accounts:
        return []
    asked = _asked(accounts)
    start = budget_state.c.window_start
    stored = case(
        (or_(start == asked.c.start, and_(start.is_(None), asked.c.start.is_(None))), _STORED),
        (start > asked.c.start, None),
        else_=0,
    )
    found = connection.execute(
        select(stored + unfolded(asked, asked.c.start, asked.c.end))
        .select_from(
            asked.outerjoin(
                budget_state,
                and_(
                    budget_state.c.scope == asked.c.scope,
                    budget_state.c.scope_id == asked.c.scope_id,
                    budget_state.c.sub == asked.c.sub,
                ),
            )
        )
        .order_by(asked.c.position)
    )
    return [None if spend is None else int(spend) for spend in found.scalars()]


def account_columns() -> list[ColumnElement[Any]]:
    """The account that a statement has joined as `budget_state`, its unfolded charges counted beside it."""
    return [
        *labelled({"state": budget_state}),
        unfolded(budget_state, budget_state.c.window_start, budget_state.c.reset_at).label(_PENDING),
        unfolded(budget_state, None, None).label(_PENDING_LIFETIME),
    ]


def account_part(row: Mapping[Any, Any]) -> dict[str, Any] | None:
    """The account in a row of such a statement, as `app.domain.spend` reads it; None where there is none."""
    state = part(row, "state", budget_state, "scope")
    if state is None:
        return None
    # Whoever writes a charge moves the stored window first, so no unfolded charge lies beyond it.
    return {
        **state,
        "pending_nanos": int(row[_PENDING]),
        "pending_lifetime_nanos": int(row[_PENDING_LIFETIME]),
    }


def of_state(scope: str, identity: ColumnElement[str]) -> ColumnElement[bool]:
    """The join of a row to its own account in `budget_state`."""
    return and_(budget_state.c.scope == scope, budget_state.c.scope_id == identity, budget_state.c.sub == "")


def _asked(accounts: Sequence[Account]) -> Any:
    rows = []
    for position, account in enumerate(accounts):
        scope: Scope = account.scope
        window = account.window
        rows.append(
            (
                position,
                scope.kind.value,
                scope.id,
                scope.sub,
                _NEVER if window is None else window.start,
                _NEVER if window is None else window.end,
            )
        )
    return (
        values(
            column("position", Integer),
            column("scope", Text),
            column("scope_id", Text),
            column("sub", Text),
            column("start", UtcDateTime),
            column("end", UtcDateTime),
            name="asked",
        )
        .data(rows)
        .cte("asked")
    )


def unfolded(whose: Any, start: Any, end: Any) -> ColumnElement[Any]:
    """What is not folded yet of the charges to an account, from `start` to before `end`.

    The bounds are instants or columns; where one is None, or a column is NULL, it bounds nothing.
    """
    occurred_at = ledger_unfolded.c.occurred_at
    bounds = []
    if start is not None:
        bounds.append(or_(_instant(start).is_(None), occurred_at >= start))
    if end is not None:
        bounds.append(or_(_instant(end).is_(None), occurred_at < end))
    return (
        select(func.coalesce(func.sum(ledger_unfolded.c.amount_nanos), 0))
        .where(
            ledger_unfolded.c.scope == whose.c.scope,
            ledger_unfolded.c.scope_id == whose.c.scope_id,
            ledger_unfolded.c.sub == whose.c.sub,
            *bounds,
        )
        .correlate_except(ledger_unfolded)
        .scalar_subquery()
    )


def _instant(bound: Any) -> ColumnElement[Any]:
    return literal(bound, UtcDateTime) if isinstance(bound, datetime) else bound

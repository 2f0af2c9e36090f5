"""Charges that come late for a window that rolled over: what they carry into the windows after it.

While they wait unfolded, every reader counts that. The rollup, which folds them, writes down what they change of
the windows that are kept. Whoever arms another window stores what waits: from then on nobody can tell any more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Connection,
    Select,
    Text,
    bindparam,
    column,
    func,
    select,
    update,
    values,
)

from app.db import UtcDateTime, insertion
from app.domain.rollover import Grid, Stretch, opening_at, with_charges
from app.domain.scopes import Scope
from app.domain.spend import carried_into
from app.domain.windows import Calendar
from app.models import budget_state, rolled_windows
from app.services.accounts import account_rows, spends

_NAMES = ("scope", "scope_id", "sub")
_PAGE = 500


def store(transaction: Connection, which: ColumnElement[bool], calendar: Calendar) -> None:
    """Add what waits to the windows of these accounts, which the caller holds; one statement for nothing."""
    kept = spends.rolled_columns()
    found = transaction.execute(
        select(
            *(budget_state.c[name] for name in (*_NAMES, "armed_at", "window_start", "rolled_by")), *kept
        ).where(which, budget_state.c.rolled_by.is_not(None), spends.any_late())
    ).mappings()
    added = []
    for row in found:
        carried = carried_into({**row, **spends.rolled_part(row)}, row["window_start"], None, calendar)
        added.append({**{f"of_{name}": row[name] for name in _NAMES}, "carried": carried})
    if added:
        transaction.execute(_ADD, added)


_ADD = (
    update(budget_state)
    .where(*(budget_state.c[name] == bindparam(f"of_{name}") for name in _NAMES))
    .values(window_spend_nanos=budget_state.c.window_spend_nanos + bindparam("carried"))
)


@dataclass(frozen=True, slots=True)
class Late:
    """The passed windows of an account that rolls over, before and after charges of them that come late."""

    grid: Grid
    before: Sequence[Stretch]
    after: Sequence[Stretch]

    def into(self, start: datetime) -> int:
        """By how much more the window that begins at `start` begins with."""
        return opening_at(self.after, start, self.grid) - opening_at(self.before, start, self.grid)


def load(
    transaction: Connection,
    states: Mapping[Scope, Mapping[str, Any]],
    charges: Mapping[Scope, Sequence[tuple[int, datetime]]],
    calendar: Calendar,
) -> dict[Scope, Late]:
    """What charges make of windows that have passed, of accounts that the caller holds.

    One statement for every 500 that roll over and are charged late; of their windows it reads those that these
    charges can change.
    """
    grids: dict[Scope, Grid] = {}
    for scope, state in states.items():
        start, rolled_by = state["window_start"], state["rolled_by"]
        if rolled_by is None or not any(at < start for _, at in charges[scope]):
            continue
        # By a spelling that can be computed no longer nobody can tell what the charges carry on.
        if calendar.running(rolled_by, state["armed_at"], start) is not None:
            grids[scope] = Grid(calendar, rolled_by, state["armed_at"])
    passed = {
        scope: [(amount, at) for amount, at in charges[scope] if at < states[scope]["window_start"]]
        for scope in grids
    }
    kept = _kept(transaction, {scope: min(at for _, at in late) for scope, late in passed.items()})
    return {
        scope: Late(grid, kept[scope], with_charges(kept[scope], passed[scope], grid))
        for scope, grid in grids.items()
    }


def keep(transaction: Connection, changed: Mapping[Scope, Late]) -> None:
    """Write down the windows that have changed, in one statement where there are any."""
    rows = [
        {
            **account_rows.names(scope),
            "window_start": stretch.start,
            "used_nanos": stretch.used_nanos,
            "cap_nanos": stretch.cap_nanos,
        }
        for scope, found in changed.items()
        for stretch in set(found.after) - set(found.before)
    ]
    if rows:
        statement = insertion(transaction, rolled_windows)
        used = {"used_nanos": statement.excluded.used_nanos}
        place = [*_NAMES, "window_start"]
        transaction.execute(statement.on_conflict_do_update(index_elements=place, set_=used), rows)


def _kept(transaction: Connection, since: Mapping[Scope, datetime]) -> dict[Scope, list[Stretch]]:
    """The windows of each, from the last on that began by then."""
    found: dict[Scope, list[Stretch]] = {scope: [] for scope in since}
    asked = list(since.items())
    for first in range(0, len(asked), _PAGE):
        for row in transaction.execute(_since(asked[first : first + _PAGE])):
            found[account_rows.scope_of(row)].append(Stretch(row.window_start, row.used_nanos, row.cap_nanos))
    return found


def _since(asked: Sequence[tuple[Scope, datetime]]) -> Select[Any]:
    rows = [(scope.kind.value, scope.id, scope.sub, since) for scope, since in asked]
    columns: list[ColumnClause[Any]] = [*(column(name, Text) for name in _NAMES), column("since", UtcDateTime)]
    named = values(*columns, name="asked").data(rows).cte("asked")
    begun = rolled_windows.alias("begun")
    last = (
        select(func.max(begun.c.window_start))
        .where(account_rows.same(begun, named), begun.c.window_start <= named.c.since)
        .correlate(named)
        .scalar_subquery()
    )
    # None began by then: then it is all that began since.
    first = select(named, func.coalesce(last, named.c.since).label("begins")).cte("first_kept")
    return (
        select(rolled_windows)
        .join(first, account_rows.same(rolled_windows, first))
        .where(rolled_windows.c.window_start >= first.c.begins)
        .order_by(rolled_windows.c.window_start)
    )

"""Charges that wait unfolded and come late for a window that rolled over, where that window is to be forgotten.

While they wait, every reader counts what they carry into the present window. Whoever arms another one stores that,
for from then on nobody can tell any more.
"""

from sqlalchemy import ColumnElement, Connection, bindparam, select, update

from app.domain.spend import carried_into
from app.domain.windows import Calendar
from app.models import budget_state
from app.services import spends

_NAMES = ("scope", "scope_id", "sub")


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

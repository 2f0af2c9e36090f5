"""The one number: what a scope has spent in a window, charges that are not folded yet included.

Every statement that shows or compares a spend reads the stored state and the unfolded charges at once, so that a
rollup between two reads can neither hide a charge nor count it twice. What a window carries on is computed from
what the same statement reads: of an account that carries nothing on, it reads nothing more.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Integer,
    Text,
    and_,
    case,
    cast,
    column,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    values,
)

from app.db import UtcDateTime
from app.domain.limits import Account
from app.domain.rollover import Stretch
from app.domain.scopes import Scope
from app.domain.spend import carried_into
from app.domain.windows import Calendar
from app.models import budget_state, ledger_unfolded, rolled_windows
from app.services.accounts import account_rows
from app.services.rows.rows import labelled, part

ZERO: ColumnElement[Any] = literal(0)
_STORED = func.coalesce(budget_state.c.window_spend_nanos, 0)
# PostgreSQL takes the type of a column of values from its rows.
_NEVER = cast(null(), UtcDateTime)
_PENDING = "state.pending_nanos"
_PENDING_LIFETIME = "state.pending_lifetime_nanos"
# So far the text of an instant goes to its second, in either store.
_TO_THE_SECOND = len("2026-11-18 10:00:00")
_LATE, _STRETCHES = "state.late", "state.stretches"


def current(connection: Connection, accounts: Sequence[Account], calendar: Calendar) -> list[int | None]:
    """What each of these accounts has been charged, in nano-dollars, in their order; one statement.

    None where the stored window is a later one already: what the account's held is no longer known, and nothing
    may be decided by it. One that overlaps the account's is the same, of a process with another zone or start of
    day. Of an account in no window, for nothing can be computed, it is the stored one without an end.
    """
    if not accounts:
        return []
    asked = _asked(accounts)
    start = budget_state.c.window_start
    waiting = unfolded(asked, asked.c.start, asked.c.end)
    held = unfolded(budget_state, start, budget_state.c.reset_at)
    spent = case(
        (or_(start == asked.c.start, and_(start.is_(None), asked.c.start.is_(None))), _STORED + waiting),
        (and_(start.is_not(None), asked.c.start.is_(None)), _STORED + held),
        (start >= asked.c.end, None),
        (or_(start > asked.c.start, budget_state.c.reset_at > asked.c.start), _STORED + held),
        else_=waiting,
    )
    rolls_on = and_(asked.c.rolls, start < asked.c.start, budget_state.c.reset_at <= asked.c.start)
    found = connection.execute(
        select(
            spent.label("spent"),
            *(budget_state.c[name] for name in ("window_start", "reset_at", "armed_at")),
            *(budget_state.c[name] for name in ("window_spend_nanos", "rolled_by")),
            case((rolls_on, held), else_=0).label("pending_nanos"),
            *rolled_columns(),
        )
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
    return [_spent(row, account, calendar) for row, account in zip(found.mappings(), accounts, strict=True)]


def _spent(row: Mapping[Any, Any], account: Account, calendar: Calendar) -> int | None:
    if row["spent"] is None:
        return None
    spent = int(row["spent"])
    start = row["window_start"] if account.window is None else account.window.start
    if row["window_start"] is None:
        return spent
    state = {**row, "pending_nanos": int(row["pending_nanos"]), **rolled_part(row)}
    return spent + carried_into(state, start, account.terms, calendar)


def account_columns() -> list[ColumnElement[Any]]:
    """The account that a statement has joined as `budget_state`, its unfolded charges counted beside it."""
    return [
        *labelled({"state": budget_state}),
        unfolded(budget_state, budget_state.c.window_start, budget_state.c.reset_at).label(_PENDING),
        unfolded(budget_state, None, None).label(_PENDING_LIFETIME),
        *rolled_columns(),
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
        **rolled_part(row),
    }


def rolled_columns() -> list[ColumnElement[Any]]:
    """What waits of windows that have passed and are kept, and these windows, as texts; NULL for nothing.

    However much waits, it is summed up by the second: windows begin at whole ones.
    """
    state, charges, kept = budget_state.c, ledger_unfolded.c, rolled_windows.c
    waits = _waits()
    begun = rolled_windows.alias("begun")
    earliest = select(func.min(charges.occurred_at)).where(waits).correlate(budget_state).scalar_subquery()
    first = (
        select(func.max(begun.c.window_start))
        .where(account_rows.same(begun), begun.c.window_start <= earliest)
        .correlate(budget_state)
        .scalar_subquery()
    )
    second = func.substr(cast(charges.occurred_at, Text), 1, _TO_THE_SECOND).label("second")
    timed = select(charges.amount_nanos, second).where(waits).correlate(budget_state).subquery()
    sums = select(func.sum(timed.c.amount_nanos).label("amount"), timed.c.second).group_by(timed.c.second)
    summed = sums.correlate(budget_state).subquery()
    late = select(_joined(summed.c.amount, summed.c.second))
    stretches = select(_joined(kept.used_nanos, kept.window_start, kept.cap_nanos)).where(
        account_rows.same(rolled_windows), kept.window_start >= func.coalesce(first, earliest)
    )
    rolled = state.rolled_by.is_not(None)
    return [
        case((rolled, late.correlate(budget_state).scalar_subquery())).label(_LATE),
        case((and_(rolled, any_late()), stretches.correlate(budget_state).scalar_subquery())).label(_STRETCHES),
    ]


def any_late() -> ColumnElement[bool]:
    """Whether anything waits of windows that have passed."""
    return exists().where(_waits()).correlate(budget_state)


def _waits() -> ColumnElement[bool]:
    charges, state = ledger_unfolded.c, budget_state.c
    return and_(account_rows.same(ledger_unfolded), charges.occurred_at < state.window_start)


def rolled_part(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The same as `app.domain.spend` reads it."""
    return {
        "late": [(int(amount), read_instant(at)) for amount, at in _parted(row[_LATE])],
        "stretches": sorted(
            (Stretch(read_instant(at), int(used), int(cap)) for used, at, cap in _parted(row[_STRETCHES])),
            key=lambda stretch: stretch.start,
        ),
    }


def _joined(*columns: ColumnElement[Any]) -> ColumnElement[str]:
    """All rows in one text: it is asked for where there is next to none."""
    parts = [cast(column, Text) for column in columns]
    entry: ColumnElement[str] = parts[0]
    for other in parts[1:]:
        entry = entry + literal("|") + other
    return func.aggregate_strings(entry, ",")


def _parted(text: str | None) -> list[list[str]]:
    return [entry.split("|") for entry in text.split(",")] if text else []


def read_instant(instant: str) -> datetime:
    """An instant as a store writes it in text, or the beginning of that: without an offset it is UTC."""
    found = datetime.fromisoformat(instant)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


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
                account.terms is not None,
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
            column("rolls", Boolean),
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

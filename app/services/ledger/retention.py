"""Retention: old rows of the ledger are summed up in checkpoints, so that it need not grow for ever.

A checkpoint holds what the rows of one scope came to. So every balance can still be recomputed from the ledger, by
adding up the rows by scope: over a lifetime, because a checkpoint holds the sum of what it replaces; and within a
window, because a row inside the stored window of any of its scopes stays as it is. Two more stay: rows that are
not folded yet, and rows younger than `days`, by when they were recorded too. A settle is told from an earlier one
by its row, so `days` must be more than the 31 days for which a reservation can be settled; a charge without a
reservation that is sent again after `days` is a new one.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
)

from app.clock import Clock
from app.db import Database, Json
from app.models import budget_state, ledger, ledger_unfolded
from app.services.jobs.job_batches import JobBatch

PURGE_BATCH = 500

Scope = tuple[str, str, str]
# Where a row of the ledger names these scopes, its checkpoint does too: sums by column stay true as well.
_COLUMNS = {"key": "key_id", "team": "team_id", "user": "user_id", "organization": "organization_id"}
# Of a scope: its kind, its id, its sub.
_NAMES = 3
# Any number that nobody else takes: only one purge runs at a time.
_LOCK = 6_130_247_912


@dataclass(slots=True)
class _Collapsed:
    amount_nanos: int
    occurred_at: datetime

    def add(self, row: Any) -> None:
        self.amount_nanos += row.amount_nanos
        self.occurred_at = max(self.occurred_at, row.occurred_at)


class Retention:
    def __init__(self, database: Database, clock: Clock, *, days: int | None) -> None:
        self._database = database
        self._clock = clock
        self._days = days
        # Behind this row the next batch begins, so that rows which must stay do not hold up those behind them.
        self._seen: tuple[datetime, int] | None = None

    def purge_due(self) -> JobBatch:
        """Look at the next PURGE_BATCH old rows and sum up those that no balance needs one by one.

        One transaction of six statements at the most. Run twice, late or killed half-way it leaves the same sums;
        of two at once, one does nothing. Without `days` everything is kept.
        """
        if self._days is None:
            return JobBatch(0)
        now = self._clock.now()
        with self._database.transaction() as transaction:
            if not self._is_alone(transaction):
                return JobBatch(0)
            rows = transaction.execute(_old(now - timedelta(days=self._days), self._seen)).all()
            purged = _collapse(transaction, [row.ledger_id for row in rows], now)
        more = len(rows) == PURGE_BATCH
        self._seen = (rows[-1].occurred_at, rows[-1].ledger_id) if more else None
        return JobBatch(purged, more=more)

    def _is_alone(self, transaction: Connection) -> bool:
        """SQLite has one writer at a time anyway; PostgreSQL gives the lock back with the transaction."""
        if self._database.is_sqlite:
            return True
        return bool(transaction.execute(select(func.pg_try_advisory_xact_lock(_LOCK))).scalar_one())


def _old(before: datetime, seen: tuple[datetime, int] | None) -> Any:
    place = (ledger.c.occurred_at, ledger.c.ledger_id)
    statement = select(ledger.c.ledger_id, ledger.c.occurred_at).where(
        ledger.c.occurred_at < before, ledger.c.recorded_at < before, ledger.c.kind != "checkpoint"
    )
    if seen is not None:
        behind = (literal(value, column.type) for value, column in zip(seen, place, strict=True))
        statement = statement.where(tuple_(*place) > tuple_(*behind))
    return statement.order_by(*place).limit(PURGE_BATCH)


def _collapse(transaction: Connection, ledger_ids: Sequence[int], now: datetime) -> int:
    """Put checkpoints in the place of those of the rows that may go; how many went."""
    if not ledger_ids:
        return 0
    gone = transaction.execute(
        delete(ledger)
        .where(
            ledger.c.ledger_id.in_(ledger_ids),
            ~exists().where(ledger_unfolded.c.ledger_id == ledger.c.ledger_id),
            ~_in_window(transaction),
        )
        .returning(ledger.c.key_id, ledger.c.scopes, ledger.c.amount_nanos, ledger.c.occurred_at)
    ).all()
    sums: dict[Scope, _Collapsed] = {}
    _add_up(sums, gone)
    if sums:
        earlier = transaction.execute(
            delete(ledger)
            .where(
                ledger.c.kind == literal_column("'checkpoint'"),  # as its index has it
                ledger.c.scopes.in_([[list(scope)] for scope in sums]),
                ~_in_window(transaction),
            )
            .returning(ledger.c.key_id, ledger.c.scopes, ledger.c.amount_nanos, ledger.c.occurred_at)
        ).all()
        _add_up(sums, earlier)
        transaction.execute(insert(ledger), [_checkpoint(scope, sums[scope], now) for scope in sorted(sums)])
    return len(gone)


def _in_window(transaction: Connection) -> ColumnElement[bool]:
    """Whether the row happened after the start of the stored window of a scope that it counts in.

    A stored window that has passed counts too, until it is moved: its spend still holds the row.
    """
    sqlite = transaction.dialect.name == "sqlite"
    elements = func.json_each if sqlite else func.jsonb_array_elements
    length = func.json_array_length if sqlite else func.jsonb_array_length
    # What is no list names none; the row is of its key then.
    is_list = func.json_type(ledger.c.scopes) if sqlite else func.jsonb_typeof(ledger.c.scopes)
    listed = case((is_list == "array", ledger.c.scopes), else_=literal([], Json))
    scope = elements(listed).table_valued("value").c.value
    state = budget_state.c
    named = and_(
        state.scope == scope.op("->>")(0), state.scope_id == scope.op("->>")(1), state.sub == scope.op("->>")(2)
    )
    unnamed = and_(
        length(listed) == 0,
        state.scope == "key",
        state.scope_id == ledger.c.key_id,
        state.sub == "",
    )
    return or_(
        *(exists().where(of_row, state.window_start <= ledger.c.occurred_at) for of_row in (named, unnamed))
    )


def _add_up(sums: dict[Scope, _Collapsed], rows: Iterable[Any]) -> None:
    for row in rows:
        for scope in _scopes_of(row):
            if scope in sums:
                sums[scope].add(row)
            else:
                sums[scope] = _Collapsed(row.amount_nanos, row.occurred_at)


def _scopes_of(row: Any) -> list[Scope]:
    """A correction of a former release names no scope; it is of its key."""
    named = row.scopes if isinstance(row.scopes, list) else []
    if not named and row.key_id is not None:
        return [("key", row.key_id, "")]
    return [
        (str(each[0]), str(each[1]), str(each[2]))
        for each in named
        if isinstance(each, list) and len(each) == _NAMES
    ]


def _checkpoint(scope: Scope, collapsed: _Collapsed, now: datetime) -> Mapping[str, Any]:
    named = dict.fromkeys(_COLUMNS.values())
    if scope[0] in _COLUMNS:
        named[_COLUMNS[scope[0]]] = scope[1]
    return {
        **named,
        "kind": "checkpoint",
        "request_id": f"checkpoint-{uuid.uuid4()}",
        "scopes": [list(scope)],
        "amount_nanos": collapsed.amount_nanos,
        "occurred_at": collapsed.occurred_at,
        "recorded_at": now,
    }

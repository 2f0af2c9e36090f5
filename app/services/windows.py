"""Moving budget windows that have passed: bookkeeping only, for every reader computes the window by the clock."""

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select, update

from app.clock import Clock, iso
from app.db import Database
from app.domain.durations import InvalidDuration
from app.domain.windows import Calendar, Window
from app.models import budget_state, budgets, keys
from app.services import accounts, audit, delivery
from app.services.audit import SYSTEM, Act, Changed
from app.services.delivery import Event
from app.services.job_batches import JobBatch

RESET_BATCH = 500


class Windows:
    def __init__(self, database: Database, clock: Clock, calendar: Calendar) -> None:
        self._database = database
        self._clock = clock
        self._calendar = calendar

    def move_due(self) -> JobBatch:
        """Move up to RESET_BATCH key windows that have passed, or were never computed, into the present one.

        The spend of a passed window becomes zero, exactly once: it is kept where the window's start is the
        present one already, as every reader has it. Run twice, late, killed half-way or side by side, it leaves
        the same state. A window whose spelling cannot be computed is parked and does not keep the others.
        """
        now = self._clock.now()
        with self._database.transaction() as transaction:
            due = transaction.execute(_due(now)).mappings().all()
            if not due:
                return JobBatch(0)
            moves, parked = self._moves(due, now)
            for window, rows in moves.items():
                _move(transaction, window, rows)
            _park(transaction, parked, now)
            moved = sum(map(len, moves.values()))
            _tell(transaction, moves, now)
            return JobBatch(moved, parked=len(parked), more=len(due) == RESET_BATCH)

    def _moves(
        self, due: Sequence[Mapping[Any, Any]], now: datetime
    ) -> tuple[dict[Window, list[Mapping[Any, Any]]], list[Mapping[Any, Any]]]:
        """The due rows by the window they belong in; keys with one spelling share theirs, so groups are few."""
        moves: dict[Window, list[Mapping[Any, Any]]] = defaultdict(list)
        parked = []
        for row in due:
            try:
                window = self._calendar.window(row["spelling"], row["armed_at"], now)
            except InvalidDuration:
                parked.append(row)
            else:
                moves[window].append(row)
        return moves, parked


def _due(now: datetime) -> Any:
    return (
        select(
            budget_state.c.scope_id,
            budget_state.c.armed_at,
            func.coalesce(keys.c.budget_duration, budgets.c.budget_duration).label("spelling"),
        )
        .select_from(
            budget_state.join(keys, keys.c.key_id == budget_state.c.scope_id).outerjoin(
                budgets, budgets.c.budget_id == keys.c.budget_id
            )
        )
        .where(
            budget_state.c.scope == "key",
            budget_state.c.sub == "",
            budget_state.c.armed_at.is_not(None),
            budget_state.c.parked_at.is_(None),
            or_(budget_state.c.reset_at.is_(None), budget_state.c.reset_at <= now),
            func.coalesce(keys.c.budget_duration, budgets.c.budget_duration).is_not(None),
        )
        .order_by(budget_state.c.reset_at)
        .limit(RESET_BATCH)
        .with_for_update(of=budget_state, skip_locked=True)
    )


def _move(transaction: Connection, window: Window, rows: Sequence[Mapping[Any, Any]]) -> None:
    """Open the window for all of its rows in one statement, so that none of them is due any longer.

    The rows are held: nobody has moved one since it was found due. What was spent in this very window stays; its
    end alone may differ, as where the zone or the start of day of the installation was changed.
    """
    inside = budget_state.c.window_start == window.start
    transaction.execute(
        update(budget_state)
        .where(_of_keys(rows))
        .values(
            window_start=window.start,
            reset_at=window.end,
            window_spend_nanos=case((inside, budget_state.c.window_spend_nanos), else_=0),
            carried_nanos=case((inside, budget_state.c.carried_nanos), else_=0),
            **accounts.passed(window.start),
        )
    )


def _park(transaction: Connection, rows: Sequence[Mapping[Any, Any]], now: datetime) -> None:
    if rows:
        transaction.execute(update(budget_state).where(_of_keys(rows)).values(parked_at=now))


def _of_keys(rows: Sequence[Mapping[Any, Any]]) -> ColumnElement[bool]:
    return and_(
        budget_state.c.scope == "key",
        budget_state.c.sub == "",
        budget_state.c.scope_id.in_([row["scope_id"] for row in rows]),
    )


def _tell(transaction: Connection, moves: Mapping[Window, Sequence[Mapping[Any, Any]]], now: datetime) -> None:
    """One audit row and one event for the batch: a million keys at midnight are no million messages."""
    count = sum(map(len, moves.values()))
    if not count:
        return
    batch = str(uuid.uuid4())
    summary = {
        "keys": count,
        "windows": [
            {"start": iso(window.start), "end": iso(window.end), "keys": len(rows)}
            for window, rows in moves.items()
        ],
    }
    audit.record(transaction, Act(SYSTEM, now), "reset", "budget", [Changed(batch, None, summary)])
    delivery.enqueue(transaction, [Event("budget_reset", "budget", batch, summary)], now)

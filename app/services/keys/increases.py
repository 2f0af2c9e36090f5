"""The end of temporary budget increases: bookkeeping only, for the clock ends each at its instant.

A cap is lower afterwards, so whatever it caps is looked at: its spend may stand above thresholds that no charge
will cross any more.
"""

from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Connection, Text, case, cast, func, select, update

from app.clock import Clock, iso
from app.db import Database
from app.domain.increases import TEMPORARY_FIELDS, without_increase
from app.domain.money import shown
from app.domain.scopes import Scope, ScopeKind
from app.domain.windows import Calendar
from app.models import budgets, keys
from app.services.audit import audit
from app.services.audit.audit import SYSTEM, Act, Changed
from app.services.events import delivery
from app.services.events.delivery import Event
from app.services.jobs.job_batches import JobBatch
from app.services.keys import key_events, key_rows
from app.services.thresholds import watched

INCREASE_BATCH = 500


class Increases:
    def __init__(self, database: Database, clock: Clock, calendar: Calendar) -> None:
        self._database = database
        self._clock = clock
        self._calendar = calendar

    def end_due(self) -> JobBatch:
        """Take up to INCREASE_BATCH increases of keys that are over away, and as many of tiers, each exactly once.

        Those of tiers are the increases of members and organizations, too.
        """
        now = self._clock.now()
        with self._database.transaction() as transaction:
            ended = (self._of_keys(transaction, Act(SYSTEM, now)), self._of_tiers(transaction, Act(SYSTEM, now)))
        return JobBatch(sum(ended), more=INCREASE_BATCH in ended)

    def _of_keys(self, transaction: Connection, act: Act) -> int:
        due = (
            select(keys.c.key_id, keys.c.metadata)
            .where(keys.c.increase_ends_at <= act.at)
            .order_by(keys.c.increase_ends_at)
            .limit(INCREASE_BATCH)
            .with_for_update(skip_locked=True)
        )
        rows = transaction.execute(due).all()
        if not rows:
            return 0
        key_ids = [row.key_id for row in rows]
        transaction.execute(
            update(keys)
            .where(keys.c.key_id.in_(key_ids))
            .values(metadata=_metadata_without_increase(transaction), increase_ends_at=None)
        )
        watched.watch(transaction, [Scope(ScopeKind.KEY, key_id) for key_id in key_ids])
        views = key_rows.load(transaction, key_ids, self._calendar, act.at)
        changes = [
            Changed(row.key_id, {"metadata": row.metadata}, {"metadata": without_increase(row.metadata)})
            for row in rows
        ]
        audit.record(transaction, act, "end_increase", "key", changes)
        delivery.enqueue(transaction, [key_events.of_key("increase_ended", view) for view in views], act.at)
        return len(rows)

    def _of_tiers(self, transaction: Connection, act: Act) -> int:
        due = (
            select(
                budgets.c.budget_id,
                budgets.c.max_budget_nanos,
                budgets.c.temp_budget_increase_nanos,
                budgets.c.temp_budget_expiry,
            )
            .where(budgets.c.temp_budget_expiry <= act.at)
            .order_by(budgets.c.temp_budget_expiry)
            .limit(INCREASE_BATCH)
            .with_for_update(skip_locked=True)
        )
        rows = transaction.execute(due).all()
        if not rows:
            return 0
        budget_ids = [row.budget_id for row in rows]
        transaction.execute(
            update(budgets)
            .where(budgets.c.budget_id.in_(budget_ids))
            .values(temp_budget_increase_nanos=None, temp_budget_expiry=None)
        )
        watched.watch_linked(transaction, budget_ids)
        changes = [
            Changed(
                row.budget_id,
                {
                    "temp_budget_increase": shown(row.temp_budget_increase_nanos),
                    "temp_budget_expiry": iso(row.temp_budget_expiry),
                },
                {"temp_budget_increase": None, "temp_budget_expiry": None},
            )
            for row in rows
        ]
        audit.record(transaction, act, "end_increase", "budget", changes)
        events = [
            Event("increase_ended", "budget", row.budget_id, {"max_budget": shown(row.max_budget_nanos)})
            for row in rows
        ]
        delivery.enqueue(transaction, events, act.at)
        return len(rows)


def _metadata_without_increase(transaction: Connection) -> ColumnElement[Any]:
    """`without_increase`, for the store to work out, so that one statement serves the whole batch."""
    names = sorted(TEMPORARY_FIELDS)
    stored = keys.c.metadata
    # What is no object holds no increase, and stays as it is.
    if transaction.dialect.name == "sqlite":
        removed = func.json_remove(stored, *(f"$.{name}" for name in names))
        return case((func.json_valid(stored) == 1, removed), else_=stored)
    left = stored.op("-")(cast(names, ARRAY(Text)))
    return case((func.jsonb_typeof(stored) == "object", left), else_=stored)

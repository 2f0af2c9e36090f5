"""Rows by the hundred that are due for a job, and what the job has done to each of them."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from sqlalchemy import Table, insert, update

from app.container import Services
from app.db import Database, metadata
from app.dispatch import TaskName
from app.models import audit, budget_state, events, key_secrets, keys
from app.services.accounts.windows import RESET_BATCH
from app.services.keys.graces import GRACE_BATCH
from app.services.keys.increases import INCREASE_BATCH
from app.services.keys.key_ends import EXPIRY_BATCH
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import NANOS, copy_key, everything, rows

Stored = dict[str, list[dict[str, Any]]]


class Due(ABC):
    """One job: how a key becomes due for it, and how to tell that each was dealt with exactly once."""

    task: TaskName
    action: str
    kind: str
    most: int

    def batch(self, database: Database) -> int:
        """How many the job deals with at once on this store."""
        return self.most

    def make(self, api: Api, services: Services, clock: MovableClock, count: int) -> None:
        """Make so many keys that are due at the clock's new instant, alike but for their ids."""
        key_id = self._make_one(api, clock)
        copy_key(services.database, key_id, count - 1)

    @abstractmethod
    def _make_one(self, api: Api, clock: MovableClock) -> str:
        """Make one key and move the clock to the instant at which it is due; its id."""

    @abstractmethod
    def is_done(self, database: Database) -> bool:
        """Whether every row is as the job leaves it."""

    def check_once(self, database: Database) -> None:
        """Fail unless every key was dealt with, and told of, exactly once."""
        assert self.is_done(database)
        once = Counter(row["key_id"] for row in rows(database, keys))
        assert _counted(database, audit, action=self.action) == once
        assert _counted(database, events, kind=self.kind) == once


class Expiry(Due):
    task, action, kind = TaskName.EXPIRE_KEYS, "expire", "key_expired"
    most = EXPIRY_BATCH

    def _make_one(self, api: Api, clock: MovableClock) -> str:
        made = api.generate(duration="2s")
        clock.advance(2)
        return made["key_id"]

    def is_done(self, database: Database) -> bool:
        return all(row["expiry_recorded_at"] for row in rows(database, keys))


class Increase(Due):
    task, action, kind = TaskName.END_INCREASES, "end_increase", "increase_ended"
    most = INCREASE_BATCH

    def _make_one(self, api: Api, clock: MovableClock) -> str:
        made = api.generate(max_budget=1, metadata={"app": "ü", "ratio": 0.1, "deep": {"temp_budget_expiry": 7}})
        until = (clock.now() + timedelta(seconds=3)).isoformat()
        api.post("/key/update", {"key": made["key"], "temp_budget_increase": 5, "temp_budget_expiry": until})
        clock.advance(3)
        return made["key_id"]

    def is_done(self, database: Database) -> bool:
        kept = {"app": "ü", "ratio": 0.1, "deep": {"temp_budget_expiry": 7}}
        return all((row["metadata"], row["increase_ends_at"]) == (kept, None) for row in rows(database, keys))


class Grace(Due):
    task, action, kind = TaskName.END_GRACES, "end_grace", "grace_ended"
    most = GRACE_BATCH

    def _make_one(self, api: Api, clock: MovableClock) -> str:
        made = api.generate()
        api.post("/key/regenerate", {"key": made["key"], "grace_period": "10s"})
        clock.advance(10)
        return made["key_id"]

    def is_done(self, database: Database) -> bool:
        left = rows(database, key_secrets)
        return len(left) == len(rows(database, keys)) and not any(row["revoke_at"] for row in left)


class Reset(Due):
    """A batch of windows has one audit row and one event together, which say how many keys they stand for."""

    task, action, kind = TaskName.RESET_BUDGETS, "reset", "budget_reset"
    spent = 3 * NANOS // 2

    def batch(self, database: Database) -> int:
        return RESET_BATCH["sqlite" if database.is_sqlite else "postgresql"]

    def make(self, api: Api, services: Services, clock: MovableClock, count: int) -> None:
        super().make(api, services, clock, count)
        self.at = clock.now()
        with services.database.transaction() as transaction:
            transaction.execute(
                update(budget_state).values(window_spend_nanos=self.spent, lifetime_spend_nanos=self.spent)
            )

    def _make_one(self, api: Api, clock: MovableClock) -> str:
        made = api.generate(budget_duration="5s")
        clock.advance(11)
        return made["key_id"]

    def is_done(self, database: Database) -> bool:
        return not self.still_due(database)

    def still_due(self, database: Database) -> set[str]:
        """The keys whose windows nobody has moved yet."""
        return {row["scope_id"] for row in rows(database, budget_state) if row["reset_at"] <= self.at}

    def first_and_last(self, database: Database) -> tuple[str, str]:
        """Two keys, of which the job moves one before all others and one after them."""
        first, *_, last = sorted(self.still_due(database))
        with database.transaction() as transaction:
            for key_id, reset_at in ((first, self.at - timedelta(minutes=1)), (last, self.at)):
                transaction.execute(
                    update(budget_state).where(budget_state.c.scope_id == key_id).values(reset_at=reset_at)
                )
        return first, last

    def check_once(self, database: Database, *, charged: Collection[str] = (), moved: int | None = None) -> None:
        """The same; what the `charged` have spent is not looked at, `moved` windows were left to the job."""
        assert self.is_done(database)
        states = rows(database, budget_state)
        spent = {
            (row["window_spend_nanos"], row["lifetime_spend_nanos"])
            for row in states
            if row["scope_id"] not in charged
        }
        assert spent == {(0, self.spent)}
        batches = rows(database, audit, action=self.action)
        assert sum(batch["after"]["scopes"]["key"] for batch in batches) == (
            len(states) if moved is None else moved
        )
        assert _counted(database, events, kind=self.kind) == Counter(batch["entity_id"] for batch in batches)


DUE = (Expiry(), Reset(), Increase(), Grace())


def restore(database: Database, stored: Stored) -> None:
    """Make the store what `everything` said of it; a table is left alone that is so, as those that it refers to."""
    found = everything(database)
    changed: list[Table] = []
    for table in metadata.sorted_tables:
        referred = {key.column.table for key in table.foreign_keys}
        if found[table.name] != stored[table.name] or not referred.isdisjoint(changed):
            changed.append(table)
    with database.transaction() as transaction:
        for table in reversed(changed):
            transaction.execute(table.delete())
        for table in changed:
            if stored[table.name]:
                transaction.execute(insert(table), stored[table.name])


def _counted(database: Database, table: Table, **equal: Any) -> Counter[str]:
    return Counter(row["entity_id"] for row in rows(database, table, **equal))

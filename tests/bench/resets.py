"""A store full of keys whose windows have passed, and what it takes to move them, in several ways.

The keys are made by a handful of statements. Their windows are a day, a week and a month by turns, each of which
ended as the present one began, and all have spent something.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from sqlalchemy import event, select, text

from app.container import Services
from app.db import Database
from app.dispatch import TaskName
from app.domain.limits import Account
from app.domain.scopes import Scope, ScopeKind
from app.domain.windows import Calendar
from app.models import budget_state
from app.services.accounts import account_windows, spellings
from tests.environment import ENVIRONMENT

# How the statements of the job begin that find, read and write the state of windows, as opposed to its records.
STATE = ("WITH passed", "SELECT keys.", "UPDATE budget_state")
RECORDS = ("INSERT INTO audit", "INSERT INTO events", "INSERT INTO job_runs")
_CALENDAR = Calendar(ZoneInfo("UTC"), datetime.min.time())
# No statement may take longer than one of the service.
_AT_ONCE = 50_000
_MADE = """
INSERT INTO keys (key_id, models, max_budget_nanos, budget_duration, created_at, updated_at)
SELECT 'key-' || n, '["gpt-4o"]', 1000000000000, (ARRAY['1d', '7d', '30d'])[n % 3 + 1], :made_at, :made_at
FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n
"""
_OPENED = """
INSERT INTO key_secrets (token, key_id, key_name, created_at)
SELECT encode(sha256(convert_to('sk-of-key-' || n, 'UTF8')), 'hex'), 'key-' || n, 'sk-...' || n, :made_at
FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n
"""
_SPENT = """
INSERT INTO budget_state
    (scope, scope_id, sub, window_start, reset_at, armed_at, window_spend_nanos, lifetime_spend_nanos)
SELECT 'key', 'key-' || n, '', passed_at - CAST('1 ' || unit AS interval), passed_at, :made_at, 1000000 + n, 2000000 + n
FROM (
    SELECT n, unit, date_trunc(unit, CAST(:now AS timestamptz), 'UTC') AS passed_at
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n,
        LATERAL (SELECT (ARRAY['day', 'week', 'month'])[n % 3 + 1] AS unit) AS of_n
) AS passed
"""
_OTHER_INDEXES = """
SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename IN ('keys', 'key_secrets')
AND indexname NOT IN (SELECT conname FROM pg_constraint)
"""


def plaintext(number: int) -> str:
    """What opens the key of this number."""
    return f"sk-of-key-{number}"


def environment(url: str, redis_url: str) -> dict[str, str]:
    """What the processes of the service over such a store are told."""
    return {**ENVIRONMENT, "DATABASE_URL": url, "REDIS_URL": redis_url}


def fill(database: Database, rows: int, now: datetime) -> None:
    """Put keys, numbered from 1, into an empty store; none of their windows has been moved into that of `now`."""
    at = {"made_at": now - timedelta(days=100), "now": now}
    with database.transaction() as transaction:
        # What nobody here looks for is built at once at the end.
        indexes = transaction.execute(text(_OTHER_INDEXES)).all()
        for name, _ in indexes:
            transaction.execute(text(f'DROP INDEX "{name}"'))
    for first in range(1, rows + 1, _AT_ONCE):
        numbers = {"first": first, "last": min(first + _AT_ONCE - 1, rows)}
        with database.transaction() as transaction:
            for statement in (_MADE, _OPENED, _SPENT):
                transaction.execute(text(statement), {**at, **numbers})
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for _, definition in indexes:
            connection.execute(text(definition))
        connection.execute(text("VACUUM (ANALYZE)"))


# --- by the job ------------------------------------------------------------------------------------------------------


@dataclass
class Taken:
    """Seconds that statements took, as their sender sees them, and how many there were, by how they begin."""

    seconds: dict[str, float] = field(default_factory=dict)
    statements: dict[str, int] = field(default_factory=dict)

    def of(self, *beginnings: str) -> float:
        return sum(self.seconds.get(each, 0.0) for each in beginnings)


def by_the_job(services: Services, go_on: Callable[[], bool] = lambda: True) -> tuple[int, Taken]:
    """Run the job as a worker does, its pauses included, until nothing is due; the rows, and what its statements took.

    The time of a statement is that from its sending until its whole answer is there. Commits belong to none.
    """

    with _timing(services.database) as taken:
        rows = services.jobs.run(TaskName.RESET_BUDGETS, go_on)
    return rows, taken


@contextmanager
def _timing(database: Database) -> Iterator[Taken]:
    taken = Taken()
    began: list[float] = []

    def before(*_: Any) -> None:
        began.append(time.perf_counter())

    def after(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seconds = time.perf_counter() - began.pop()
        kind = next((each for each in (*STATE, *RECORDS) if statement.startswith(each)), statement)
        taken.seconds[kind] = taken.seconds.get(kind, 0.0) + seconds
        taken.statements[kind] = taken.statements.get(kind, 0) + 1

    event.listen(database.engine, "before_cursor_execute", before)
    event.listen(database.engine, "after_cursor_execute", after)
    try:
        yield taken
    finally:
        event.remove(database.engine, "before_cursor_execute", before)
        event.remove(database.engine, "after_cursor_execute", after)


# --- in other ways ---------------------------------------------------------------------------------------------------


def by_one_update(url: str, start: datetime) -> tuple[int, float]:
    """Move all that is due by one raw statement into the day that begins at `start`; the rows, and its seconds."""
    with psycopg.connect(url) as connection:
        began = time.perf_counter()
        cursor = connection.execute(
            "UPDATE budget_state SET window_start = %s, reset_at = %s, window_spend_nanos = 0 WHERE reset_at <= %s",
            (start, start + timedelta(days=1), start),
        )
        return cursor.rowcount, time.perf_counter() - began


def by_a_loop(url: str, now: datetime, rows: int) -> tuple[int, float]:
    """Move so many of those that are due as one alone is moved: by its spelling, in a transaction of its own.

    The rows, and the seconds with commits.
    """
    database = Database(url)
    with database.read() as connection:
        due = connection.execute(
            select(budget_state.c.scope_id, budget_state.c.armed_at)
            .where(budget_state.c.reset_at <= now)
            .order_by(budget_state.c.reset_at)
            .limit(rows)
        ).all()
    began = time.perf_counter()
    for scope_id, armed_at in due:
        scope = Scope(ScopeKind.KEY, scope_id)
        with database.transaction() as transaction:
            spelling = spellings.load(transaction, [scope])[scope].spelling
            account = Account(scope, _CALENDAR.running(spelling, armed_at, now), armed_at)
            account_windows.move_windows(transaction, [account])
    seconds = time.perf_counter() - began
    database.close()
    return len(due), seconds

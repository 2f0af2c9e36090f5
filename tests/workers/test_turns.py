"""Jobs with much to do leave the others their turn."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from app.db import Database
from app.dispatch import TaskName
from app.migrate import upgrade
from tests.servers import eventually
from tests.workers.running import Up

pytestmark = pytest.mark.processes

# Far more than one run does of each, and done within the minute.
ROWS = 60_000
# Two or three may slip in before every process of the worker is at the heavy ones.
TURNS = 6
LONG_AGO = "2026-01-18 13:47:33.000000"
# What each heavy job is behind with.
BEHIND = ("ledger_unfolded", "audit", "events", "retired_secrets")


@pytest.fixture
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """What an outage of the worker leaves behind, and retention that was just set: all is due in one moment."""
    settings = {
        "KEYLEDGER_FOLD_INTERVAL_SECONDS": "1",
        "KEYLEDGER_REAP_INTERVAL_SECONDS": "1",
        # Seldom, so that nothing but the length of a run ends it.
        "KEYLEDGER_PURGE_INTERVAL_SECONDS": "30",
        "KEYLEDGER_AUDIT_DAYS": "1",
        "KEYLEDGER_EVENT_DAYS": "1",
        "KEYLEDGER_ARCHIVE_DAYS": "32",
    }
    with Up(tmp_path_factory.mktemp("turns"), **settings) as up:
        leave_work(up)
        up.start()
        yield up


def leave_work(up: Up) -> None:
    """Charges that nobody has folded, and what was kept long enough, in the store before its first start."""
    store = up.data / "keyledger.sqlite3"
    up.data.mkdir(mode=0o700)
    database = Database(f"sqlite:///{store}")
    upgrade(database)
    database.close()
    numbers = f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {ROWS})"
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.executescript(
            f"""INSERT INTO ledger (ledger_id, kind, request_id, key_id, amount_nanos, scopes, occurred_at,
                                    recorded_at)
                {numbers} SELECT n, 'charge', 'request ' || n, 'key ' || n, 1,
                                 '[["key", "key ' || n || '", ""]]', '{LONG_AGO}', '{LONG_AGO}' FROM numbers;
                INSERT INTO ledger_unfolded (ledger_id, scope, scope_id, sub, amount_nanos, occurred_at)
                SELECT ledger_id, 'key', key_id, '', amount_nanos, occurred_at FROM ledger;
                INSERT INTO audit (at, actor_role, action, entity, entity_id)
                {numbers} SELECT '{LONG_AGO}', 'system', 'create', 'key', 'key ' || n FROM numbers;
                INSERT INTO events (event_id, kind, entity, entity_id, payload, created_at, routed_at)
                {numbers} SELECT 'event ' || n, 'key_created', 'key', 'key ' || n, '{{}}', '{LONG_AGO}', '{LONG_AGO}'
                FROM numbers;
                INSERT INTO retired_secrets (token, key_id, retired_at)
                {numbers} SELECT 'token ' || n, 'key ' || n, '{LONG_AGO}' FROM numbers;"""
        )


def test_holds_are_reaped_at_their_interval_while_many_jobs_have_much_to_do(up: Up) -> None:
    runs: set[str] = set()

    def is_behind(table: str) -> bool:
        """Whether a job has old rows left; what it writes down itself is new."""
        at = {"ledger_unfolded": "occurred_at", "audit": "at", "retired_secrets": "retired_at"}
        return bool(up.rows(f"SELECT 1 FROM {table} WHERE {at.get(table, 'created_at')} = ? LIMIT 1", LONG_AGO))

    def has_turns() -> bool:
        found = up.rows("SELECT last_finished_at FROM job_runs WHERE name = ?", TaskName.REAP_HOLDS.value)
        runs.update(at for (at,) in found)
        assert len(runs) >= TURNS or any(map(is_behind, BEHIND)), f"{len(runs)} turns only"
        return len(runs) >= TURNS

    eventually(has_turns, 120)

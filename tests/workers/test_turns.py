"""A job with much to do leaves the others their turn."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from app.dispatch import TaskName
from tests.servers import eventually
from tests.workers.running import Up

pytestmark = pytest.mark.processes

# Far more than one run folds, and folded within the minute.
CHARGES = 60_000
# Two or three may slip in before every process of the worker is at the charges.
TURNS = 6


@pytest.fixture
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    often = {"KEYLEDGER_FOLD_INTERVAL_SECONDS": "1", "KEYLEDGER_REAP_INTERVAL_SECONDS": "1"}
    with Up(tmp_path_factory.mktemp("turns"), **often) as up:
        up.start()
        yield up


def leave_charges(up: Up) -> None:
    """What an outage of the worker leaves behind: charges that nobody has folded."""
    numbers = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)"
    at = "2026-11-18 13:47:33.000000"
    with closing(sqlite3.connect(up.data / "keyledger.sqlite3", timeout=30)) as connection, connection:
        connection.execute(
            f"""INSERT INTO ledger (ledger_id, kind, request_id, key_id, amount_nanos, scopes, occurred_at,
                                    recorded_at)
                {numbers} SELECT n, 'charge', 'request ' || n, 'key ' || n, 1,
                                 '[["key", "key ' || n || '", ""]]', ?, ? FROM numbers""",
            (CHARGES, at, at),
        )
        connection.execute(
            """INSERT INTO ledger_unfolded (ledger_id, scope, scope_id, sub, amount_nanos, occurred_at)
               SELECT ledger_id, 'key', key_id, '', amount_nanos, occurred_at FROM ledger"""
        )


def test_holds_are_reaped_at_their_interval_while_a_day_of_charges_is_folded(up: Up) -> None:
    runs: set[str] = set()

    def has_turns() -> bool:
        found = up.rows("SELECT last_finished_at FROM job_runs WHERE name = ?", TaskName.REAP_HOLDS.value)
        runs.update(at for (at,) in found)
        assert len(runs) >= TURNS or up.rows("SELECT 1 FROM ledger_unfolded LIMIT 1"), f"{len(runs)} turns only"
        return len(runs) >= TURNS

    leave_charges(up)

    eventually(has_turns, 120)

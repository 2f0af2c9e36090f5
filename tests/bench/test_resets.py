"""The bench of resets in small: the job moves what the other ways move, by as many statements as it has batches."""

from collections.abc import Iterator

import pytest
from sqlalchemy import func, select

from app.clock import SystemClock
from app.config import Settings
from app.container import build
from app.db import Database
from app.migrate import upgrade
from app.models import budget_state
from app.services.accounts.windows import RESET_BATCH
from tests.bench import resets
from tests.servers import PostgresServer, RedisServer

BATCH = RESET_BATCH["postgresql"]
ROWS = 3 * BATCH + 1
LOOPED = 7
MIDNIGHT = SystemClock().now().replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def due(postgres_server: PostgresServer) -> Iterator[str]:
    """A store of keys none of whose windows is that of today."""
    url = postgres_server.create_database("due")
    database = Database(url, busy_seconds=60)
    upgrade(database)
    resets.fill(database, ROWS, MIDNIGHT)
    database.close()
    yield url
    postgres_server.drop_database("due")


def left(url: str) -> tuple[int, int]:
    """How many windows are still due, and what all have spent in theirs."""
    database = Database(url)
    over = func.count().filter(budget_state.c.reset_at <= MIDNIGHT)
    with database.read() as connection:
        found = connection.execute(select(over, func.sum(budget_state.c.window_spend_nanos))).one()
    database.close()
    return found[0], int(found[1])


def test_every_way_moves_every_window_once(due: str, postgres_server: PostgresServer, redis_server: RedisServer):
    other = postgres_server.copy_database("otherwise", "due")
    looped, _ = resets.by_a_loop(other, MIDNIGHT, LOOPED)
    updated, _ = resets.by_one_update(other, MIDNIGHT)
    assert (looped, updated, left(other)) == (LOOPED, ROWS - LOOPED, (0, 0))
    postgres_server.drop_database("otherwise")
    services = build(Settings.parse(resets.environment(due, redis_server.url)))
    asked: list[bool] = []

    def go_on() -> bool:
        asked.append(True)
        return True

    moved, taken = resets.by_the_job(services, go_on)

    services.close()
    assert (moved, left(due)) == (ROWS, (0, 0))
    # The run of a batch is written down in a transaction of its own; what is due is found in one, the last included.
    assert len(asked) == ROWS // BATCH
    assert taken.seconds.keys() == {*resets.STATE, *resets.RECORDS}
    assert [taken.statements[kind] for kind in ("WITH passed", "SELECT keys.", "INSERT INTO job_runs")] == [
        4,
        4,
        4,
    ]
    # A window each for a day, a week and a month; a batch takes the longest ago first, and so seldom two of them.
    assert taken.statements["UPDATE budget_state"] <= 4 + 2
    assert 0 < taken.of(*resets.STATE) < sum(taken.seconds.values())

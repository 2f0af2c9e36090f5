"""A page of any list costs the same over a hundred thousand rows as over a few: an index serves it."""

from collections.abc import Iterator

import pytest

from app import create_app
from app.config import Settings
from app.container import Services, build
from app.db import Database
from app.migrate import upgrade
from tests import leaks
from tests.bench import populations
from tests.bench.lists import LISTS
from tests.bench.plans import plan_of, sent_to
from tests.clients import Api
from tests.clocks import MovableClock
from tests.environment import ENVIRONMENT
from tests.servers import PostgresServer, RedisServer

ROWS = 100_000
# What a page of a hundred with all that belongs to it may read, join and sort.
MOST_READ = 5_000


@pytest.fixture(scope="module")
def full_url() -> Iterator[str]:
    """A server of its own, whose little WAL is searched for keys sooner than that of so many rows."""
    with PostgresServer("max_wal_size=64MB") as server:
        url = server.create_database("full")
        # Filling it takes as long as it takes.
        database = Database(url, busy_seconds=60)
        upgrade(database)
        populations.fill(database, ROWS)
        database.close()
        yield url
        server.drop_database("full")
        assert not leaks.in_folder(server.folder), "a plaintext key was stored"


@pytest.fixture
def full(full_url: str, redis_server: RedisServer) -> Iterator[Services]:
    redis_server.clear()
    settings = Settings.parse(
        {
            "DATABASE_URL": full_url,
            "REDIS_URL": redis_server.url,
            **ENVIRONMENT,
        }
    )
    services = build(settings, MovableClock())
    yield services
    services.close()


def test_an_index_serves_every_order_and_every_filter_of_every_list(full: Services) -> None:
    api = Api(create_app(full))
    slow = []
    for each in LISTS:
        for query in (*each.requests(), *each.growing):
            with sent_to(full.database) as first:
                answer = api.call("GET", each.path, query=query)
            assert answer.status == 200, (each.path, query, answer.body)
            cursor = answer.headers.get("x-keyledger-next-cursor")
            with sent_to(full.database) as second:
                if cursor is not None:
                    assert api.call("GET", each.path, query={**query, "cursor": cursor}).status == 200
            for statement in (*first, *second):
                if statement.counts:
                    continue
                plan = plan_of(full.database, statement)
                if max(plan.scanned, plan.sorted, plan.read) > MOST_READ:
                    slow.append((each.path, query, plan, statement.text))
    assert slow == []

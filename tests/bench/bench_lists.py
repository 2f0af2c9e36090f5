"""What a page of each list costs over a thousand rows and over a hundred thousand, side by side (`make bench`).

The total is counted apart: it is no part of what must not grow. Times are milliseconds, the least of some requests:
whatever else a machine does adds to them. Their ratio is what counts, and a page that costs more than twice as much
ends the bench with status 1. So does one that is longer over one of the two: its cost tells of its length.

`python -m tests.bench.bench_lists /events` times this list alone, on both stores; several paths, these.
"""

import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import event

from app import create_app
from app.config import Settings
from app.container import build
from app.db import Database
from app.migrate import upgrade
from tests.bench import populations
from tests.bench.lists import LISTS
from tests.clients import MASTER_KEY, Api
from tests.clocks import MovableClock
from tests.environment import ENVIRONMENT
from tests.servers import PostgresServer, RedisServer
from tests.stores import sqlite_url

SIZES = (1_000, 100_000)
REPEATS = 15
# What seems to have grown is timed again so often, should the machine have been busy with something else.
MOST_TURNS = 4
MOST = 2.0
# Below this a ratio tells of the machine and not of the page.
NOISE_MS = 1.0
# The members and teams of whatever stands on a page, or the digits of its numbers, differ so much at the most.
MOST_UNLIKE = 1.25


@dataclass(frozen=True)
class _Populated:
    """The service over a population; it is timed by a client that looks at no answer."""

    database: Database
    api: Api
    client: FlaskClient

    def behind(self, path: str, query: dict[str, Any]) -> dict[str, Any]:
        """The request of the second page; of the first again where there is no other."""
        answer = self.api.call("GET", path, query=query)
        assert answer.status == 200, (path, query, answer.body)
        cursor = answer.headers.get("x-keyledger-next-cursor")
        return {**query, "cursor": cursor} if cursor else query

    def timed(self, path: str, query: dict[str, Any]) -> tuple[float, int]:
        """How many seconds a page took, and how many bytes it has."""
        with _counting_apart(self.database) as counting:
            began = time.perf_counter()
            answer = self.client.get(path, query_string=query, headers={"Authorization": f"Bearer {MASTER_KEY}"})
            taken = time.perf_counter() - began - sum(counting)
        assert answer.status_code == 200, (path, query, answer.text)
        return taken, len(answer.data)


def main(paths: Collection[str]) -> int:
    """Print a line per list, order and filter; 1 where a page grew. Of these paths alone, if there are any."""
    lists = [each for each in LISTS if not paths or each.path in paths]
    grown = 0
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        postgres = stack.enter_context(PostgresServer())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for store in ("sqlite", "postgresql"):
            urls = [
                sqlite_url(folder / f"{size}.db") if store == "sqlite" else postgres.create_database(f"rows{size}")
                for size in SIZES
            ]
            both = [stack.enter_context(_started(url, redis, size)) for url, size in zip(urls, SIZES, strict=True)]
            for each in lists:
                for query in each.requests():
                    grown += _compare(store, each.path, query, both)
    sys.stdout.write(f"{grown} pages grew by more than {MOST:g} times, or were not alike\n")
    return 1 if grown else 0


def _compare(store: str, path: str, query: dict[str, Any], both: list[_Populated]) -> int:
    """Time the first page, and one behind a cursor, over few rows and many by turns: the machine tires of neither."""
    told = {
        name: value for name, value in query.items() if name not in {"size", "page_size", "return_full_object"}
    }
    cells = []
    grew = 0
    for page, asked in (("first", [query, query]), ("next", [each.behind(path, query) for each in both])):
        runs: list[list[tuple[float, int]]] = []
        slow = True
        while slow and len(runs) < REPEATS * MOST_TURNS:
            runs += [[one.timed(path, it) for one, it in zip(both, asked, strict=True)] for _ in range(REPEATS)]
            few, many = (min(run[of][0] for run in runs) * 1000 for of in (0, 1))
            slow = many > few * MOST and many - few > NOISE_MS
        lengths = [length for _, length in runs[-1]]
        unlike = max(lengths) > min(lengths) * MOST_UNLIKE
        grew += slow or unlike
        mark = "!" if slow else "?" if unlike else " "
        cells.append(f"{page} {few:6.2f} {many:6.2f} x{many / few:4.2f} {mark}")
    sys.stdout.write(f"{store:10} {path:20} {'  '.join(cells)}  {told}\n")
    sys.stdout.flush()
    return grew


@contextmanager
def _counting_apart(database: Database) -> Iterator[list[float]]:
    """Collect how long the totals took to count."""
    counting: list[float] = []
    begun: list[float] = []

    def before(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        begun.append(time.perf_counter() if statement.startswith("SELECT count(") else 0.0)

    def after(*_: Any) -> None:
        if began := begun.pop():
            counting.append(time.perf_counter() - began)

    event.listen(database.engine, "before_cursor_execute", before)
    event.listen(database.engine, "after_cursor_execute", after)
    try:
        yield counting
    finally:
        event.remove(database.engine, "before_cursor_execute", before)
        event.remove(database.engine, "after_cursor_execute", after)


@contextmanager
def _started(url: str, redis: RedisServer, rows: int) -> Iterator[_Populated]:
    database = Database(url)
    upgrade(database)
    populations.fill(database, rows)
    database.close()
    settings = {
        "DATABASE_URL": url,
        "REDIS_URL": redis.url,
        **ENVIRONMENT,
    }
    services = build(Settings.parse(settings), MovableClock())
    app = create_app(services)
    yield _Populated(services.database, Api(app), app.test_client())
    services.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What the reset of a million keys at once costs, beside what it could cost (`make bench-resets`).

Each round works on copies of one store of keys whose windows passed at the last midnight, on a PostgreSQL that waits
for its disk as one in production does, without autovacuum, so that each way meets the same rows:

- a loop over some thousands of them, each moved alone as the service moves one, with a commit of its own; its time
  is scaled to all;
- one raw UPDATE of all others;
- the job, batch after batch with its pauses.

All the while a web process of its own decides calls with some of the same keys.

Told apart by their text, the statements of the job that find, read and write the state of windows are timed, each
from its sending to its whole answer; its pauses, its commits and the rows that it writes down of its batches (audit,
event, run) are not. A verify is timed from the moment at which it was due to be sent, so that one that waits for
another is slow as well, at a steady pace, before, during and after the job. Keys join it one by one: all read anew
from SQL in one second would be a queue that the job has nothing to do with.

The ratios of a round come from the same minutes beside the same calls: whatever else the machine does slows all of
it. The medians of the rounds count, and one beyond its bound ends the bench with status 1.
"""

import argparse
import http.client
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection

from app.clock import SystemClock
from app.config import Settings
from app.container import build
from app.db import Database
from app.migrate import upgrade
from tests.bench import resets
from tests.clients import MASTER_KEY
from tests.faults.web import Web
from tests.servers import PostgresServer, RedisServer

MOST_OF_RAW = 1.5
LEAST_OF_LOOP = 20.0
MOST_OF_REST = 3.0

LOOPED = 5_000
# Less than one call in a hundred meets a key whose snapshot has become too old, at rest as during the job.
CALLERS = 25
CALLS_A_SECOND = 50
JOINING_SECONDS = RESTING_SECONDS = 60
LONGEST_SECONDS = 60.0
# As in production; and room for a million rows, which take as long on any server that has none.
SERVER = ("fsync=on", "full_page_writes=on", "shared_buffers=1GB", "max_wal_size=8GB", "checkpoint_timeout=1h")


@dataclass(frozen=True)
class Round:
    raw: float
    loop: float
    state: float
    records: float
    resting: float
    during: float

    @property
    def ratios(self) -> tuple[float, float, float]:
        return self.state / self.raw, self.loop / self.state, self.during / self.resting


def main() -> int:
    """Print a line per round, then the medians; 1 where one is beyond its bound."""
    parser = argparse.ArgumentParser(description="What the reset of many keys at once costs.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    # The processes of the service go by the machine's clock, and so does what is due.
    midnight = SystemClock().now().replace(hour=0, minute=0, second=0, microsecond=0)
    with RedisServer() as redis, PostgresServer(*SERVER) as postgres:
        _tell(f"Making {options.rows:,} keys")
        database = Database(postgres.create_database("due"), busy_seconds=600)
        upgrade(database)
        resets.fill(database, options.rows, midnight)
        database.close()
        rounds = [_round(postgres, redis, midnight, options.rows) for _ in range(options.rounds)]
    medians = [statistics.median(found) for found in zip(*(each.ratios for each in rounds), strict=True)]
    _tell(
        f"medians: state statements x{medians[0]:.2f} of one raw UPDATE (at most {MOST_OF_RAW:g}), "
        f"x{medians[1]:.1f} less than a loop (at least {LEAST_OF_LOOP:g}), "
        f"p99 of verify x{medians[2]:.2f} of that at rest (at most {MOST_OF_REST:g})"
    )
    kept = medians[0] <= MOST_OF_RAW and medians[1] >= LEAST_OF_LOOP and medians[2] <= MOST_OF_REST
    return 0 if kept else 1


def _round(postgres: PostgresServer, redis: RedisServer, midnight: datetime, rows: int) -> Round:
    with _copy(postgres, "otherwise") as url, _verifying(url, redis, rows):
        looped, loop = resets.by_a_loop(url, midnight, min(LOOPED, rows // 2))
        updated, raw = resets.by_one_update(url, midnight)
    assert looped + updated == rows
    with _copy(postgres, "moved") as url, _verifying(url, redis, rows) as calls:
        before = _times(calls, RESTING_SECONDS)
        moved, taken = _by_the_job(url, redis)
        during = _times(calls, 0)
        resting = before + _times(calls, RESTING_SECONDS)
    assert moved == rows
    found = Round(
        raw / updated,
        loop / looped,
        taken.of(*resets.STATE) / rows,
        taken.of(*resets.RECORDS) / rows,
        _p99(resting),
        _p99(during),
    )
    assert taken.seconds.keys() == {*resets.STATE, *resets.RECORDS}, "the job has a statement that is neither"
    parts = ", ".join(
        f"{each.split()[0]} {taken.seconds[each] / rows * 1e6:.1f} ({taken.statements[each]})"
        for each in resets.STATE
    )
    ratios = found.ratios
    _tell(
        f"x{ratios[0]:.2f} of raw, x{ratios[1]:.1f} less than the loop, p99 x{ratios[2]:.2f}  |  us a key: "
        f"raw {found.raw * 1e6:.1f}, state {found.state * 1e6:.1f}: {parts}, records {found.records * 1e6:.1f}, "
        f"loop {found.loop * 1e6:.0f} (of {looped:,})  |  verify's p99: {found.resting * 1e3:.1f} ms at rest "
        f"(of {len(resting):,}), {found.during * 1e3:.1f} during (of {len(during):,})"
    )
    return found


def _by_the_job(url: str, redis: RedisServer) -> tuple[int, resets.Taken]:
    services = build(Settings.parse(resets.environment(url, redis.url)))
    moved = resets.by_the_job(services)
    services.close()
    return moved


@contextmanager
def _verifying(url: str, redis: RedisServer, rows: int) -> Iterator[Connection]:
    """A web process of its own decides calls, and all keys have joined them."""
    redis.clear()
    with Web(resets.environment(url, redis.url)) as web, _calls(web.port, rows) as calls:
        calls.recv()
        yield calls


def _times(calls: Connection, seconds: float) -> list[float]:
    """How long each verify has taken since they were asked for last, and for so long from now."""
    time.sleep(seconds)
    calls.send(None)
    found: list[float] = calls.recv()
    return found


@contextmanager
def _calls(port: int, rows: int) -> Iterator[Connection]:
    """Calls that are decided in a process of their own, at a steady pace."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_decide, args=(theirs, port, rows), daemon=True)
    process.start()
    theirs.close()  # so that we hear of its end
    try:
        yield ours
    finally:
        process.terminate()
        process.join()


def _decide(told: Connection, port: int, rows: int) -> None:
    web = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {MASTER_KEY}", "Content-Type": "application/json"}
    step = max(1, rows // CALLERS)
    bodies = [
        json.dumps({"key": resets.plaintext(number), "model": "gpt-4o", "estimate": {"cost": 1e-9}})
        for number in range(1, rows + 1, step)
    ][:CALLERS]

    def verify(body: str) -> None:
        """Decide a call; one that could not be decided in time is sent again, as a gateway would."""
        until = time.perf_counter() + LONGEST_SECONDS
        while True:
            web.request("POST", "/key/verify", body, headers)
            answer = web.getresponse()
            content = answer.read()
            if answer.status == HTTPStatus.OK:
                break
            assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE, content
            assert time.perf_counter() < until, content
        assert json.loads(content)["allowed"], content

    taken: list[float] = []
    began = time.perf_counter()
    for call in count():
        due = began + call / CALLS_A_SECOND
        time.sleep(max(0.0, due - time.perf_counter()))
        # One key after another joins, so that a process has them to read anew one by one as well.
        joined = int(CALLERS * min(1.0, (due - began) / JOINING_SECONDS)) or 1
        verify(bodies[call % joined])
        taken.append(time.perf_counter() - due)
        if call == JOINING_SECONDS * CALLS_A_SECOND:
            told.send(None)
            taken = []
        if told.poll():
            told.recv()
            told.send(taken)
            taken = []


@contextmanager
def _copy(postgres: PostgresServer, name: str) -> Iterator[str]:
    """A copy of the store, read once and written out."""
    url = postgres.copy_database(name, "due")
    postgres.execute("SELECT sum(window_spend_nanos), count(DISTINCT scope_id) FROM budget_state", name)
    postgres.execute("CHECKPOINT")
    try:
        yield url
    finally:
        postgres.drop_database(name)


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

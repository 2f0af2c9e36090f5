"""A small world in which requests of several processes go on one step at a time, in any order.

Each request runs the real code in a thread of its own and stops before and after every call of Redis, before a
commit and after a read, until it is told to go on. So an order of events that a loaded machine meets once a year
is one that a test chooses.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Semaphore, Thread
from typing import Any

from redis import Redis
from sqlalchemy import Connection, update

from app.config import Settings
from app.container import build
from app.db import Database
from app.errors import RedisUnavailable
from app.models import keys
from app.services.audit.audit import SYSTEM, Act
from app.services.decisions.snapshots import Snapshots
from app.store import policies
from app.store.connection import HotRedis, Lease
from app.store.policies import Policies
from tests.clocks import START

CHANGE_SECONDS = 60.0
COMMIT_SECONDS = 20.0
PROCESSES = 2
ACT = Act(SYSTEM, START)


class Killed(BaseException):
    """The process of this request is gone: nothing of it runs any more."""


class Request:
    """One request, which goes on only when told."""

    def __init__(self, process: int, work: Callable[[], Any]) -> None:
        self.process = process
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False
        self.may_commit = False
        self.lost_its_mark = False
        self._work = work
        self._killed = False
        self._go, self._stopped = Semaphore(0), Semaphore(0)
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()
        self._wait()

    def step(self) -> None:
        """Go on to the next gate, or to the end."""
        self._go.release()
        self._wait()

    def finish(self) -> None:
        while not self.done:
            self.step()

    def kill(self) -> None:
        self._killed = True
        self.finish()

    def _wait(self) -> None:
        self._stopped.acquire()
        if self.done:
            self._thread.join()

    def pass_gate(self) -> None:
        if not self._killed:
            self._stopped.release()
            self._go.acquire()
        if self._killed:
            raise Killed

    def _run(self) -> None:
        _here.request = self
        try:
            self.result = self._work()
        except BaseException as error:  # noqa: BLE001 - it is judged by whoever waits for the request
            self.error = error
        self.done = True
        self._stopped.release()


_here = threading.local()


def gate() -> None:
    """Wait here until the request of this thread is told to go on."""
    request: Request | None = getattr(_here, "request", None)
    if request is not None:
        request.pass_gate()


class SteppedRedis(HotRedis):
    """Redis as one process sees it, which a test can take away from it for one call."""

    def __init__(self, url: str, lease: type[Lease] = Lease) -> None:
        super().__init__(url, seconds=5)
        self.fails_next = False
        self._kind = lease

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        gate()
        if self.fails_next:
            self.fails_next = False
            raise RedisUnavailable
        with super().lease() as lease:
            yield self._kind(lease._connection)
        gate()


class SteppedDatabase(Database):
    @contextmanager
    def read(self) -> Iterator[Connection]:
        with super().read() as connection:
            yield connection
        gate()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with super().transaction() as connection:
            yield connection
            gate()


class World:
    """Two processes over one SQLite file and one Redis, and one key whose `rpm_limit` names its state."""

    def __init__(
        self,
        settings: Settings,
        *,
        protocol: type[Policies] = Policies,
        snapshots: type[Snapshots] = Snapshots,
        lease: type[Lease] = Lease,
        clock_stands: bool = False,
    ) -> None:
        self._settings = settings
        self._kinds = (protocol, snapshots)
        self._clock_stands = clock_stands
        self._seconds = 0.0
        self._services = build(settings)
        self._redis = Redis.from_url(settings.redis_url)
        generated = self._services.keys.generate(ACT, {"rpm_limit": 0}, "/key/generate")
        self._token, self._key_id = generated.view.token, generated.view.key_id
        self.stores = [SteppedRedis(settings.redis_url, lease) for _ in range(PROCESSES)]
        # A request that meets another's transaction gives up at once: nobody may wait for who does not run.
        self._databases = [SteppedDatabase(settings.database_url, busy_seconds=0.001) for _ in range(PROCESSES)]
        self._sql = sqlite3.connect(self._services.database.url.database or "")
        self._snapshots: list[Snapshots] = []

    def close(self) -> None:
        self._services.close()
        self._redis.close()
        self._sql.close()
        for store, database in zip(self.stores, self._databases, strict=True):
            store.close()
            database.close()

    def reset(self) -> None:
        """An empty Redis, seen by all, and processes that have just been started."""
        self._redis.flushall()
        self._snapshots = [self._new_snapshots(process) for process in range(PROCESSES)]
        for store in self.stores:
            store.fails_next = False

    def restart(self, process: int) -> None:
        """A new process in the place of one that was killed: it remembers nothing."""
        self.stores[process].fails_next = False
        self._snapshots[process] = self._new_snapshots(process)

    def read(self, process: int) -> Request:
        snapshots = self._snapshots[process]
        return Request(process, lambda: self._state_in(snapshots))

    def write(self, process: int, state: int) -> Request:
        return Request(process, lambda: self._change(process, state))

    def state(self) -> int:
        """What is committed."""
        return int(self._sql.execute("SELECT rpm_limit FROM keys").fetchone()[0])

    def flush(self) -> None:
        self._redis.flushall()

    def let_marks_lapse(self) -> None:
        """So much time goes by, for Redis and for every writer."""
        self._seconds += 0 if self._clock_stands else CHANGE_SECONDS
        for name in self._redis.scan_iter("keyledger:*:policy:*"):
            for field in self._redis.hkeys(name):
                if field != b"token":
                    self._redis.hset(name, field, "1")

    def _change(self, process: int, state: int) -> None:
        """What every writer does."""
        with (
            self._policies(process).change([policies.key(self._key_id)]) as before_commit,
            self._databases[process].transaction() as transaction,
        ):
            transaction.execute(update(keys).values(rpm_limit=state))
            before_commit()
            _here.request.may_commit = True

    def _state_in(self, snapshots: Snapshots) -> int:
        snapshot = snapshots.of(self._token, START)
        assert snapshot is not None
        return int(snapshot.key["rpm_limit"])

    def _new_snapshots(self, process: int) -> Snapshots:
        return self._kinds[1](self._databases[process], self._policies(process), seconds=3600)

    def _policies(self, process: int) -> Policies:
        return self._kinds[0](
            self.stores[process],
            change_seconds=CHANGE_SECONDS,
            commit_seconds=COMMIT_SECONDS,
            monotonic=lambda: self._seconds,
        )

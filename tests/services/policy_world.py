"""A small world in which requests of several processes go on one step at a time, in any order.

Each request runs the real code in a thread of its own and stops before and after every call of Redis, before a
commit and after a read, until it is told to go on. So an order of events that a loaded machine meets once a year
is one that a test chooses.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import time
from threading import Semaphore, Thread
from typing import Any
from zoneinfo import ZoneInfo

from redis import Redis
from sqlalchemy import Connection, select

from app.config import Settings
from app.container import build
from app.db import Database
from app.domain.minting import Secret
from app.domain.windows import Calendar
from app.errors import StoreUnavailable
from app.models import keys
from app.services.audit import SYSTEM, Act
from app.services.callers import Callers
from app.services.key_changes import KeyChanges
from app.services.snapshots import Snapshots
from app.store.connection import HotRedis, Lease
from app.store.policies import Policies
from tests.clocks import START

CHANGE_SECONDS = 60.0
COMMIT_SECONDS = 20.0
CALENDAR = Calendar(ZoneInfo("UTC"), time(0))
ACT = Act(SYSTEM, START)


class Killed(BaseException):
    """The process of this request is gone: nothing of it runs any more."""


class Request:
    """One request, which goes on only when told."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False
        self.lost_its_mark = False
        self.missed_redis = False
        self._work = work
        self._killed = False
        self._go, self._stopped = Semaphore(0), Semaphore(0)
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()
        self._stopped.acquire()

    def step(self) -> None:
        """Go on to the next gate, or to the end."""
        self._go.release()
        self._stopped.acquire()
        if self.done:
            self._thread.join()

    def finish(self) -> None:
        while not self.done:
            self.step()

    def kill(self) -> None:
        self._killed = True
        self.finish()

    def pass_gate(self) -> None:
        if not self._killed:
            self._stopped.release()
            self._go.acquire()
        if self._killed:
            raise Killed

    def _run(self) -> None:
        _here.request = self
        try:
            self.pass_gate()
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
    """Redis as one process sees it, which a test can take away from it."""

    def __init__(self, url: str, lease: type[Lease] = Lease) -> None:
        super().__init__(url, timeout_seconds=5)
        self.away = False
        self._kind = lease

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        gate()
        if self.away:
            _here.request.missed_redis = True
            raise StoreUnavailable
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
        policies: type[Policies] = Policies,
        snapshots: type[Snapshots] = Snapshots,
        lease: type[Lease] = Lease,
        clock_stands: bool = False,
    ) -> None:
        self._settings = settings
        self._kinds = (policies, snapshots)
        self._clock_stands = clock_stands
        self._seconds = 0.0
        self._services = build(settings)
        self._redis = Redis.from_url(settings.redis_url)
        generated = self._services.keys.generate(ACT, {"rpm_limit": 0}, "/key/generate")
        self.token = generated.view.token
        self.stores = [SteppedRedis(settings.redis_url, lease) for _ in range(2)]
        # A request that meets another's transaction gives up at once: nobody may wait for who does not run.
        self._databases = [SteppedDatabase(settings.database_url, busy_seconds=0.01) for _ in range(2)]
        self._read: list[Snapshots] = []
        self._written: list[KeyChanges] = []

    def close(self) -> None:
        self._services.close()
        self._redis.close()
        for opened in (*self.stores, *self._databases):
            opened.close()

    def reset(self) -> None:
        """An empty Redis, seen by all, and processes that have just been started."""
        self._redis.flushall()
        self._read, self._written = [], []
        for process, (redis, database) in enumerate(zip(self.stores, self._databases, strict=True)):
            redis.away = False
            self._read.append(self._snapshots(process))
            callers = Callers(self._read[-1], master_key=Secret("sk-none"))
            self._written.append(KeyChanges(database, self._policies(process), callers, CALENDAR))

    def restart(self, process: int) -> None:
        """A new process in the place of one that was killed: it remembers nothing."""
        self.stores[process].away = False
        self._read[process] = self._snapshots(process)

    def read(self, process: int) -> Request:
        return Request(lambda: self._state(self._read[process]))

    def write(self, process: int, state: int) -> Request:
        changed = {"key": self.token, "rpm_limit": state}
        return Request(lambda: self._written[process].update(ACT, changed, "/key/update"))

    def state(self) -> int:
        """What is committed."""
        with self._services.database.read() as connection:
            return int(connection.execute(select(keys.c.rpm_limit)).scalar_one())

    def flush(self) -> None:
        self._redis.flushall()

    def let_marks_lapse(self) -> None:
        """So much time goes by, for Redis and for every writer."""
        self._seconds += 0 if self._clock_stands else CHANGE_SECONDS
        for name in self._redis.scan_iter("keyledger:*:policy:*"):
            for field in self._redis.hkeys(name):
                if field != b"token":
                    self._redis.hset(name, field, "1")

    def _state(self, snapshots: Snapshots) -> int:
        snapshot = snapshots.of(self.token, START)
        assert snapshot is not None
        return int(snapshot.key["rpm_limit"])

    def _snapshots(self, process: int) -> Snapshots:
        kind = self._kinds[1]
        return kind(self._databases[process], self._policies(process), seconds=3600)

    def _policies(self, process: int) -> Policies:
        return self._kinds[0](
            self.stores[process],
            change_seconds=CHANGE_SECONDS,
            commit_seconds=COMMIT_SECONDS,
            monotonic=lambda: self._seconds,
        )

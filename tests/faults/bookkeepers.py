"""Processes that charge, fold and reset without a pause, and that may be killed at any moment.

What they share is memory without a lock: a killed process would keep one for ever.
"""

import os
import random
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Event as Waiter
from typing import Any

from sqlalchemy import event

from app.config import Settings
from app.container import build
from app.dispatch import TaskName
from app.errors import StoreUnavailable
from app.processes import die_with_parent
from app.services.audit.audit import SYSTEM, Act
from app.services.decisions.charges import Settled, Usage
from app.services.decisions.reservations import Subject
from app.services.jobs.job_batches import PAUSE_SECONDS
from tests.faults import families
from tests.forks import forks

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Charges in one call; how far back the one that is latest to come has happened.
MOST_AT_ONCE, LATE = 8, timedelta(hours=2)


class SharedClock:
    """Stands until it is set, in every process that has it."""

    def __init__(self, start: datetime) -> None:
        self._micros: Any = forks.RawValue("q")
        self.set(start)

    def now(self) -> datetime:
        return _EPOCH + self._micros.value * _MICROSECOND

    def set(self, instant: datetime) -> None:
        self._micros.value = (instant - _EPOCH) // _MICROSECOND


@dataclass(frozen=True)
class Surroundings:
    """What a process works with."""

    environment: Mapping[str, str]
    clock: SharedClock
    stopped: Any  # set to make it end
    log: Path


class Process:
    """One process, whose `work` begins anew when it is started again; what it writes is in its log."""

    def __init__(self, name: str, around: Surroundings, work: Callable[..., None], *arguments: Any) -> None:
        self.name = name
        self._around = around
        self._work = work
        self._arguments = arguments
        self._process: BaseProcess | None = None

    def start(self) -> None:
        self._process = forks.Process(
            target=_begin, args=(self._around, self._work, self._arguments), name=self.name, daemon=True
        )
        self._process.start()

    def kill(self) -> None:
        """SIGKILL, wherever it is."""
        self.check()
        assert self._process is not None
        self._process.kill()
        self._process.join()
        assert self._process.exitcode == -signal.SIGKILL, self.tail()

    def check(self) -> None:
        """Fail where it has ended by itself."""
        assert self._process is not None
        assert self._process.is_alive(), f"{self.name} has ended by itself: {self.tail()}"

    def end(self, seconds: float) -> None:
        """Wait until it has ended, as it was asked to."""
        assert self._process is not None
        self._process.join(seconds)
        assert self._process.exitcode == 0, f"{self.name} does not end ({self._process.exitcode}): {self.tail()}"

    def abandon(self) -> None:
        """Leave nothing running, whatever has happened."""
        if self._process is not None:
            self._process.kill()
            self._process.join()

    def tail(self) -> str:
        """The end of its log."""
        log = self._around.log
        return log.read_text(errors="replace")[-3000:] if log.exists() else "nothing logged"


class Worker(Process):
    """Runs one job again and again, as the pool of a worker does."""

    def __init__(self, name: str, around: Surroundings, task: TaskName) -> None:
        self._words, self._writes = forks.RawValue("q"), forks.RawValue("b")
        super().__init__(name, around, _work, task, self._words, self._writes)
        self.undone = 0

    @property
    def words(self) -> int:
        """How many statements and commits it has sent, in all its lives."""
        return int(self._words.value)

    @property
    def writes(self) -> bool:
        """Whether it has sent something that it has not committed yet."""
        return bool(self._writes.value)

    def kill(self) -> None:
        """The same; `undone` counts the kills between a write and its commit."""
        super().kill()
        self.undone += self.writes


class Gateway(Process):
    """Charges keys at random, some of them late; `calls` and `nanos` are what was acknowledged."""

    def __init__(self, name: str, around: Surroundings, keys: int, seed: int) -> None:
        self._acknowledged: Any = forks.RawArray("q", 2)
        super().__init__(name, around, _charge, keys, name, seed, self._acknowledged)

    @property
    def calls(self) -> int:
        return int(self._acknowledged[0])

    @property
    def nanos(self) -> int:
        return int(self._acknowledged[1])


def flag() -> Any:
    """Something that all processes see set once it is."""
    return forks.RawValue("b", 0)


def _begin(around: Surroundings, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    die_with_parent()
    with around.log.open("ab") as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
    work(around, *arguments)


def _work(around: Surroundings, task: TaskName, words: Any, writes: Any) -> None:
    services = build(Settings.parse(around.environment), around.clock)

    def sends(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        words.value += 1
        if statement.startswith(("INSERT", "UPDATE", "DELETE")):
            writes.value = 1

    def commits(_: Any) -> None:
        words.value += 1
        writes.value = 0

    writes.value = 0
    event.listen(services.database.engine, "before_cursor_execute", sends)
    event.listen(services.database.engine, "commit", commits)
    while not around.stopped.value:
        with suppress(StoreUnavailable):  # the next run goes on
            services.jobs.run(task, lambda: not around.stopped.value)
        Waiter().wait(PAUSE_SECONDS)
    services.close()


def _charge(around: Surroundings, keys: int, name: str, seed: int, acknowledged: Any) -> None:
    services = build(Settings.parse(around.environment), around.clock)
    chance, number = random.Random(seed), 0
    while not around.stopped.value:
        now = around.clock.now()
        usages = []
        for _ in range(chance.randint(1, MOST_AT_ONCE)):
            number += 1
            # Every other call is of one of a few keys, so that the charges of an account meet.
            key = families.token(chance.randrange(min(keys, 5) if number % 2 else keys))
            usages.append(
                Usage(
                    Subject(key=key, request_id=f"{name} {number}"),
                    cost_nanos=chance.randint(1, 90_000),
                    model=families.MODEL,
                    occurred_at=max(families.MADE_AT, now - chance.random() * LATE),
                )
            )
        while True:
            try:
                answers = services.settlements.settle(Act(SYSTEM, now), usages)
                break
            except StoreUnavailable:  # whether it was charged, nobody knows: it is sent again
                Waiter().wait(PAUSE_SECONDS)
        for answer in answers:
            assert isinstance(answer, Settled), answer
            acknowledged[0] += 1
            acknowledged[1] += answer.amount_nanos
    services.close()

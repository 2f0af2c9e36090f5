"""Jobs in processes of their own, as the pool of a worker has them: forked from one that has loaded everything.

A process can be told to kill itself, as a power cut would, at any point between two of its words with the store.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from sqlalchemy import event, text

from app.config import Settings
from app.container import Services, build
from app.db import Database
from app.dispatch import TaskName
from tests.clocks import MovableClock
from tests.environment import ENVIRONMENT
from tests.factories import everything
from tests.forks import forks
from tests.servers import eventually
from tests.services.due import Stored

PROCESS_SECONDS = 60.0
COMMIT = "COMMIT"


def environment_of(settings: Settings) -> dict[str, str]:
    """What another process needs to work on the same stores."""
    return {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        **ENVIRONMENT,
        "KEYLEDGER_MAIL_KEYS": "true" if settings.messages.mail_keys else "",
        "SMTP_HOST": settings.messages.smtp_host or "",
        "SMTP_PORT": str(settings.messages.smtp_port),
        "SMTP_SENDER_EMAIL": settings.messages.smtp_sender or "",
        "SMTP_TLS": str(settings.messages.smtp_starttls),
    }


class JobProcess:
    """One run of a job at an instant, in a process of its own that builds the services for itself."""

    def __init__(
        self,
        task: TaskName,
        settings: Settings,
        now: datetime,
        listen: Callable[..., None] | None = None,
        *told: Any,
    ) -> None:
        self._told, tell = forks.Pipe(duplex=False)
        environment = {
            **environment_of(settings),
            "KEYLEDGER_EXPIRED_KEY_DAYS": str(settings.expired_key_days or ""),
            "KEYLEDGER_ARCHIVE_DAYS": str(settings.archive_days or ""),
            "KEYLEDGER_AUDIT_DAYS": str(settings.audit_days or ""),
            "KEYLEDGER_OUTBOUND_SECONDS": str(settings.outbound_seconds),
            "KEYLEDGER_KEY_HEALTH_SECONDS": str(settings.key_health_seconds),
        }
        self._process: BaseProcess = forks.Process(
            target=_run, args=(tell, task, environment, now, listen, told), daemon=True
        )
        self._process.start()
        tell.close()

    def result(self) -> Any:
        """What it has to tell in the end: the rows that it dealt with or, killed, the point at which it was."""
        assert self._told.poll(PROCESS_SECONDS), "a job does not end"
        told = self._told.recv()
        self._process.join(PROCESS_SECONDS)
        assert self._process.exitcode == (-signal.SIGKILL if isinstance(told, str) else 0), told
        return told


def _run(
    tell: Connection,
    task: TaskName,
    environment: Mapping[str, str],
    now: datetime,
    listen: Callable[..., None] | None,
    told: tuple[Any, ...],
) -> None:
    services = build(Settings.parse(environment), MovableClock(now))
    if listen is not None:
        listen(services.database, tell, *told)
    tell.send(services.jobs.run(task, lambda: True))
    services.close()


def die_at(database: Database, tell: Connection, number: int, *, commits_alone: bool = False) -> None:
    """Die at this point of the run: before a statement or a commit, by whose text it is known.

    What stands after one of them stands before the next, so these are all the states that a run goes through.
    """
    points = 0

    def reach(point: str) -> None:
        nonlocal points
        points += 1
        if points == number:
            tell.send(point)
            os.kill(os.getpid(), signal.SIGKILL)

    if not commits_alone:
        _listen(database, "before_cursor_execute", reach)
    event.listen(database.engine, "commit", lambda _: reach(COMMIT))


def die_before_commit(database: Database, tell: Connection, number: int) -> None:
    """Die before this commit of the run: these are all the states that it leaves to others."""
    die_at(database, tell, number, commits_alone=True)


def kills(
    services: Services,
    settings: Settings,
    clock: MovableClock,
    task: TaskName,
    stored: Stored,
    die: Callable[[Database, Connection, int], None] = die_at,
) -> Iterator[tuple[str, bool]]:
    """Kill the job at its first point, its second, …, until a run ends by itself; each finds the store as `stored`.

    Tells the point, and whether the run has left anything behind. What the test then does it undoes itself.
    """
    for number in count(1):
        point = JobProcess(task, settings, clock.now(), die, number).result()
        if isinstance(point, int):
            return
        wait_for_the_locks(services.database)
        yield point, everything(services.database) != stored


def check_one_batch(found: Sequence[tuple[str, bool]]) -> None:
    """Fail unless those kills went through one batch and its record, and only its commit left something behind."""
    commits = [index for index, (point, _) in enumerate(found) if point == COMMIT]
    assert len(commits) == 2
    assert [left for _, left in found] == [index > commits[0] for index in range(len(found))]


def meet(database: Database, _tell: Connection, barrier: Any) -> None:
    """Wait for the other process once: with rows in hand where the store locks rows, else before it begins."""
    met = False

    def wait(statement: str) -> None:
        nonlocal met
        if not met and (database.is_sqlite or "FOR UPDATE" in statement):
            met = True
            barrier.wait(PROCESS_SECONDS)

    _listen(database, "before_cursor_execute" if database.is_sqlite else "after_cursor_execute", wait)


def together(task: TaskName, settings: Settings, now: datetime) -> tuple[int, int]:
    """Run a job in two processes at once; the rows that each dealt with."""
    barrier = forks.Barrier(2)
    first, second = (JobProcess(task, settings, now, meet, barrier) for _ in range(2))
    return first.result(), second.result()


def wait_for_the_locks(database: Database) -> None:
    """What a dead process held is free once PostgreSQL has noticed; SQLite's locks end with the process."""
    others = text(
        "SELECT count(*) FROM pg_stat_activity WHERE state LIKE '%transaction%' AND pid <> pg_backend_pid()"
    )

    def are_free() -> bool:
        with database.read() as connection:
            return connection.execute(others).scalar_one() == 0

    if not database.is_sqlite:
        eventually(are_free)


def _listen(database: Database, name: str, tell: Callable[[str], None]) -> None:
    def hear(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        tell(statement)

    event.listen(database.engine, name, hear)

"""Whatever befalls those who do the bookkeeping of time, it leaves the state of an undisturbed run.

On PostgreSQL, where several may be at work in one moment. How often a worker is killed is the option `--kills`.
"""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from redis import Redis

from app.clock import SystemClock
from app.config import Settings
from app.container import Services, build
from app.db import metadata
from app.dispatch import TaskName
from app.domain.event_kinds import MAIL_KINDS
from app.store.heartbeats import Part
from tests.clocks import MovableClock
from tests.factories import JOBS
from tests.faults import due_world
from tests.faults.due_world import ENDS, HOUR, REST, World
from tests.faults.parts import Process
from tests.integrations.mailboxes import Mailbox, mail_server
from tests.servers import eventually
from tests.services.due import restore
from tests.services.job_processes import JobProcess, die_at, environment_of, together, wait_for_the_locks
from tests.services.rotating import mailing

pytestmark = [
    pytest.mark.processes,
    pytest.mark.parametrize("store_url", ["postgresql"], indirect=True),
]

LAST = max(ENDS)
# Jobs that hold rows while they work, so that two of them can be brought to meet.
MEETING = (
    TaskName.EXPIRE_KEYS,
    TaskName.RESET_BUDGETS,
    TaskName.END_INCREASES,
    TaskName.END_GRACES,
    TaskName.ANNOUNCE_EXPIRY,
    TaskName.FOLD_LEDGER,
    TaskName.ROTATE_KEYS,
)
MOST_POINTS = 16
PATIENCE_SECONDS = 240.0

State = dict[str, Any]


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server(keys_allowed=True) as mailbox:
        yield mailbox


@pytest.fixture
def settings(settings: Settings, mailbox: Mailbox) -> Settings:
    return replace(settings, messages=replace(mailing(mailbox), mail_events=MAIL_KINDS))


@pytest.fixture
def world(services: Services, clock: MovableClock, mailbox: Mailbox) -> World:
    return due_world.make(services, clock, mailbox)


@pytest.fixture
def again(services: Services, clock: MovableClock, world: World, redis_url: str) -> Iterator[Callable[[], None]]:
    """Make everything in both stores, and the clock, what it was when the world was made."""
    with Redis.from_url(redis_url) as redis:
        held = {name: (redis.dump(name), redis.pttl(name)) for name in redis.scan_iter()}

        def restored() -> None:
            restore(services.database, world.made)
            redis.flushall()
            for name, (value, lasts) in held.items():
                redis.restore(name, max(0, lasts), value)
            clock.set(world.origin)

        yield restored


@pytest.fixture
def undisturbed(services: Services, clock: MovableClock, world: World, again: Callable[[], None]) -> State:
    """The state in which it is left where every job runs whenever something has ended."""
    for end in ENDS:
        clock.set(world.origin + end)
        due_world.run_all(services)
    found = due_world.state(services, world)
    again()
    assert due_world.state(services, world) != found
    return found


def test_a_clock_that_is_five_hours_late_leaves_the_state_of_one_that_is_not(
    services: Services, clock: MovableClock, world: World, undisturbed: State
) -> None:
    clock.set(world.origin + LAST + 5 * HOUR)

    for _ in range(2):
        due_world.run_all(services)

        assert due_world.state(services, world) == undisturbed


def test_two_workers_on_every_job_leave_the_state_of_one(
    services: Services, settings: Settings, clock: MovableClock, world: World, undisturbed: State
) -> None:
    clock.set(world.origin + LAST)

    for job in MEETING:
        together(job, settings, clock.now())
    due_world.run_all(services)

    assert due_world.state(services, world) == undisturbed


def test_a_worker_that_is_killed_at_any_statement_leaves_the_state_of_one_that_lives(
    services: Services,
    settings: Settings,
    clock: MovableClock,
    world: World,
    undisturbed: State,
    again: Callable[[], None],
    kills: int,
) -> None:
    seed = random.randrange(2**32)
    chance, points = random.Random(seed), list[str]()
    while len(points) < kills:
        clock.set(world.origin + LAST)
        job = chance.choice(JOBS)
        point = JobProcess(job, settings, clock.now(), die_at, chance.randint(1, MOST_POINTS)).result()
        if isinstance(point, str):
            points.append(f"{job}: {point[:60]}")
        wait_for_the_locks(services.database)
        clock.advance(REST)

        due_world.run_all(services)

        assert due_world.state(services, world) == undisturbed, (seed, points)
        again()
    sys.stdout.write("\n".join([f"seed {seed}: {kills} kills", *points]) + "\n")


def test_two_beats_and_two_workers_leave_the_state_of_one_of_each(
    services: Services, settings: Settings, mailbox: Mailbox, undisturbed: State
) -> None:
    real = SystemClock()
    zone, origin = early_afternoon_of_yesterday(real.now())
    environment = environment_of(settings) | {"KEYLEDGER_TIMEZONE": zone.key}
    restore(services.database, {table.name: [] for table in metadata.sorted_tables})
    with Redis.from_url(settings.redis_url) as redis:
        redis.flushall()
    clock = MovableClock(origin)
    beside = build(Settings.parse(environment), clock)
    try:
        world = due_world.make(beside, clock, mailbox)
        clock.set(real.now())
        with processes(environment) as running:

            def is_left() -> bool:
                assert all(process.pids() for process in running), logs(running)
                return due_world.state(beside, world) == undisturbed

            def shows() -> str:
                left = otherwise(due_world.state(beside, world), undisturbed)
                return f"what is otherwise: {left}\nthe jobs: {beside.jobs.records()}\n{logs(running)}"

            eventually(is_left, PATIENCE_SECONDS, shows=shows)
            done = real.now()
            eventually(lambda: have_run_since(beside, done), PATIENCE_SECONDS, shows=shows)
            assert due_world.state(beside, world) == undisturbed
    finally:
        beside.close()


# --- true processes ------------------------------------------------------------------------------------------------


def early_afternoon_of_yesterday(now: datetime) -> tuple[ZoneInfo, datetime]:
    """A zone in which it is between two and three in the afternoon, and the origin of a world that has just ended.

    So midnight is as far from these processes as from the clocks that stand, and passes once for both.
    """
    east = 14 - now.hour
    zone = ZoneInfo(f"Etc/GMT{-east:+d}")
    ended = now.astimezone(zone).replace(hour=13, minute=47, second=33, microsecond=0)
    return zone, ended.astimezone(UTC) - LAST


@contextmanager
def processes(environment: dict[str, str]) -> Iterator[list[Process]]:
    """Two beats and two workers."""
    seconds = {
        f"KEYLEDGER_{job}_INTERVAL_SECONDS": "1" for job in ("EXPIRY", "RESET", "ROTATION", "WATCH", "DELIVERY")
    }
    with ExitStack() as stack:
        running = [Process({**environment, **seconds}, part) for part in (Part.BEAT, Part.WORKER) * 2]
        for process in running:
            stack.callback(process.close)
            process.lives()
        yield running


def otherwise(found: State, meant: State) -> State:
    """What stands in only one of two states; of tables, the rows."""
    return {
        name: set(found[name]) ^ set(meant[name]) if isinstance(meant[name], list) else (found[name], meant[name])
        for name in meant
        if found[name] != meant[name]
    }


def logs(running: list[Process]) -> str:
    return "\n".join(f"--- {process.log()}" for process in running)


def have_run_since(services: Services, instant: datetime) -> bool:
    """Whether every job has, but those that come once an hour."""
    return all(
        record.last_started_at is not None and record.last_started_at > instant
        for record in services.jobs.records()
        if record.interval_seconds < 60
    )

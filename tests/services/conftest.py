"""Processes of the service in this one: each has its own connections, memory and stopwatch."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from redis import Redis

from app.config import Settings
from app.container import Services, build
from app.db import Database
from app.services.audit.audit import SYSTEM, Act
from app.services.decisions.snapshots import Snapshots
from app.store.connection import HotRedis
from app.store.policies import Policies
from tests.clocks import MovableClock
from tests.environment import REDIS_SECONDS
from tests.faults.proxy import RedisProxy
from tests.servers import RedisServer


@pytest.fixture
def opened(redis_url: str) -> Iterator[Callable[..., Policies]]:
    """Make the policies of one more process; by default a mark stands long and a commit takes little."""
    with ExitStack() as stack:

        def make(
            url: str = redis_url, change: float = 60.0, waits: float = REDIS_SECONDS, **options: object
        ) -> Policies:
            redis = HotRedis(url, seconds=waits)
            stack.callback(redis.close)
            return Policies(redis, change_seconds=change, commit_seconds=change / 3, **options)  # type: ignore[arg-type]

        yield make


@pytest.fixture
def writer(opened: Callable[..., Policies]) -> Policies:
    return opened()


@pytest.fixture
def reader(opened: Callable[..., Policies]) -> Policies:
    return opened()


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def proxy(redis_server: RedisServer, redis_url: str) -> Iterator[RedisProxy]:
    with RedisProxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def act(clock: MovableClock) -> Act:
    return Act(SYSTEM, clock.now())


@pytest.fixture
def elsewhere(settings: Settings, clock: MovableClock) -> Iterator[Services]:
    """Another process, which changes keys."""
    services = build(settings, clock)
    yield services
    services.close()


@pytest.fixture
def new(database: Database, redis_url: str) -> Iterator[Callable[..., Snapshots]]:
    """Make the memory of one more process."""
    opened: list[HotRedis] = []

    def make(redis: HotRedis | None = None, seconds: float = 60) -> Snapshots:
        opened.append(redis or HotRedis(redis_url, seconds=REDIS_SECONDS))
        return Snapshots(database, Policies(opened[-1], change_seconds=60, commit_seconds=1), seconds=seconds)

    yield make
    for redis in opened:
        redis.close()


@pytest.fixture
def snapshots(new: Callable[..., Snapshots]) -> Snapshots:
    return new()

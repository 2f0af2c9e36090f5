"""One stage per worker: the application over a store in memory, where the machine has room for files there."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from app import create_app
from app.config import Settings
from app.container import build
from tests.clients import Api
from tests.clocks import MovableClock
from tests.environment import ENVIRONMENT
from tests.rights import world
from tests.rights.play import Stage, Store
from tests.servers import RedisServer
from tests.stores import copy_of

_MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def stage(migrated_file: Path) -> Iterator[Stage]:
    where = _MEMORY if _MEMORY.is_dir() else None
    with RedisServer() as redis, tempfile.TemporaryDirectory(dir=where) as name:
        folder = Path(name)
        settings = Settings.parse(
            {
                "DATABASE_URL": copy_of(migrated_file, folder),
                "REDIS_URL": redis.url,
                **ENVIRONMENT,
                "KEYLEDGER_DATA_DIR": name,
            }
        )
        services = build(settings, MovableClock())
        app = create_app(services)
        base = world.base()
        world.settle(base, Api(app), services.database)
        with Redis.from_url(redis.url) as connection:
            store = Store(folder / "keyledger.db", connection)
            played = Stage(app, store, base)
            played.open()
            yield played
            store.close()
        services.close()

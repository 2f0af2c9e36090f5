"""One application and one company per worker: access does not depend on the store, so SQLite is enough."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app import create_app
from app.config import Settings
from app.container import Services
from app.container import build as build_services
from tests import leaks
from tests.access.world import Watch, World, build
from tests.clients import MASTER_KEY, Api
from tests.clocks import MovableClock
from tests.servers import RedisServer
from tests.stores import copy_of


@pytest.fixture(scope="module")
def company_services(
    migrated_file: Path, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("access")
    settings = Settings.parse(
        {
            "DATABASE_URL": copy_of(migrated_file, folder),
            "REDIS_URL": redis_server.url,
            "KEYLEDGER_MASTER_KEY": MASTER_KEY,
            "KEYLEDGER_SALT_KEY": "salt-of-the-tests-0123456789",
            "KEYLEDGER_DATA_DIR": str(folder),
        }
    )
    services = build_services(settings, MovableClock())
    yield services
    services.close()
    assert not leaks.in_redis(redis_server.url), "a plaintext key was stored"


@pytest.fixture(scope="module")
def company_api(company_services: Services) -> Api:
    return Api(create_app(company_services))


@pytest.fixture(scope="module")
def world(company_api: Api, company_services: Services) -> World:
    return build(company_api, company_services)


@pytest.fixture(scope="module")
def watch(world: World, company_services: Services, redis_server: RedisServer) -> Iterator[Watch]:
    watch = Watch(Path(company_services.database.url.database or ""), redis_server)
    yield watch
    watch.close()

"""One company per module: access does not depend on the store, so SQLite is enough."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.container import Services
from tests.access.world import Watch, World, build
from tests.clients import Api
from tests.servers import RedisServer


@pytest.fixture(scope="module")
def world(shared_api: Api, shared_services: Services) -> World:
    return build(shared_api, shared_services)


@pytest.fixture(scope="module")
def watch(world: World, shared_services: Services, redis_server: RedisServer) -> Iterator[Watch]:
    watch = Watch(Path(shared_services.database.url.database or ""), redis_server)
    yield watch
    watch.close()

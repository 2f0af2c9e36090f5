"""One application that the tests of a module share, for rows of tables that leave nothing behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app import create_app
from app.config import Settings
from app.container import Services, build
from tests import leaks
from tests.clients import MASTER_KEY, Api
from tests.clocks import MovableClock
from tests.factories import add_organization, add_person, add_team
from tests.servers import RedisServer
from tests.stores import copy_of


@pytest.fixture(scope="module")
def shared_services(
    migrated_file: Path, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Services]:
    """Over SQLite, its clock standing; what earlier tests of the module wrote is still there."""
    folder = tmp_path_factory.mktemp("shared")
    settings = Settings.parse(
        {
            "DATABASE_URL": copy_of(migrated_file, folder),
            "REDIS_URL": redis_server.url,
            "KEYLEDGER_MASTER_KEY": MASTER_KEY,
            "KEYLEDGER_SALT_KEY": "salt-of-the-tests-0123456789",
            "KEYLEDGER_DATA_DIR": str(folder),
        }
    )
    services = build(settings, MovableClock())
    yield services
    services.close()
    assert not leaks.in_redis(redis_server.url), "a plaintext key was stored"


@pytest.fixture(scope="module")
def shared_api(shared_services: Services) -> Api:
    return Api(create_app(shared_services))


@pytest.fixture(scope="module")
def company(shared_api: Api, shared_services: Services) -> dict[str, str]:
    """Everybody in one team of one organization, or outside of it; a key of each."""
    database = shared_services.database
    add_organization(database, "company", {"chief": "org_admin"})
    add_team(
        database, "team", {"lead": "admin", "member": "user", "you": "user"}, organization_id="company"
    )  # fmt: skip
    add_team(database, "other team", {"you": "user"})
    add_team(
        database, "granting team", {"granted": "user", "you": "user"},
        grants=["/key/generate", "/key/update", "/key/delete", "/key/block", "/key/unblock"],
    )  # fmt: skip
    roles = {"chief": "org_admin", "viewer": "proxy_admin_viewer", "admin": "proxy_admin"}
    keys = {
        name: add_person(shared_api, database, name, roles.get(name, "internal_user"))
        for name in ("user", "lead", "member", "granted", "chief", "viewer", "admin")
    }
    robot = shared_api.generate(team_id="team", metadata={"service_account_id": "r"})
    return {**keys, "robot": robot["key"]}

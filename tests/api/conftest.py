"""Everybody that tests of rights tell apart, and applications with settings of their own."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from app.config import Settings
from app.container import Services, build
from tests.apps import app_over
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import add_organization, add_person, add_team


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


@pytest.fixture
def serving(settings: Settings, clock: MovableClock) -> Iterator[Callable[..., Api]]:
    """Makes an application with some settings changed."""
    built: list[Services] = []

    def make(**changed: Any) -> Api:
        built.append(build(replace(settings, **changed), clock))
        return Api(app_over(built[-1]))

    yield make
    for services in built:
        services.close()

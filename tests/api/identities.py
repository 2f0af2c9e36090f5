"""The callers that identity endpoints tell apart, each with a key: who they are is all that differs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from app.config import Settings
from app.container import Services, build
from app.db import Database
from tests.api.counting import statements
from tests.apps import app_over
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
from tests.factories import add_organization, add_people, add_team, add_user

TEAM = "crew"
ORGANIZATION = "acme"

# What each caller is answered who asks for a change of the team that is for those who manage it.
MANAGING_THE_TEAM = {
    "master": 200,
    "proxy admin": 200,
    "org admin": 200,
    "team admin": 200,
    "member": 403,
    "team key": 403,
    "viewer": 403,
    "org member": 404,
    "other org admin": 404,
    "stranger": 404,
}


@dataclass(frozen=True)
class People:
    """Plaintext keys by what their owner is to the team `crew` of the organization `acme`."""

    keys: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.keys[name]


def gather(api: Api, database: Database) -> People:
    add_organization(
        database,
        ORGANIZATION,
        {"org admin": "org_admin", "org member": "internal_user"},
    )
    add_organization(database, "other", {"other org admin": "org_admin"})
    add_team(
        database,
        TEAM,
        {"team admin": "admin", "member": "user", "second": "user"},
        organization_id=ORGANIZATION,
    )
    add_team(database, "elsewhere", {"stranger": "admin"}, organization_id="other")
    add_user(database, "second")
    keys = add_people(
        api,
        database,
        {
            "team admin": "internal_user",
            "member": "internal_user",
            "org admin": "internal_user",
            "org member": "internal_user",
            "other org admin": "internal_user",
            "stranger": "internal_user",
            "viewer": "proxy_admin_viewer",
            "proxy admin": "proxy_admin",
        },
    )
    keys["team key"] = api.generate(team_id=TEAM)["key"]
    keys["master"] = MASTER_KEY
    return People(keys)


def about_the_team(services: Services, ask: Callable[[str, str], Answer], caller: str) -> Answer:
    """The answer of `ask(team_id, caller)` about `crew`.

    Where that is "not found", it is as of a team that is not there: in words, and in the statements that it took.
    """
    ask("warm-up", caller)
    with statements(services.database) as of_unknown:
        unknown = ask("hidden", caller)
    with statements(services.database) as of_known:
        answer = ask(TEAM, caller)
    if answer.status == 404:
        assert answer.summary == unknown.summary == (404, "not_found_error", "team_id")
        assert answer.error["message"].replace(TEAM, "hidden") == unknown.error["message"]
        assert len(of_known) == len(of_unknown) == 1
    return answer


@contextmanager
def without_redis(settings: Settings, clock: MovableClock) -> Iterator[Api]:
    """The application over the same store, with a Redis that nobody can reach."""
    services = build(replace(settings, hot_redis_url="redis://127.0.0.1:1/0"), clock)
    yield Api(app_over(services))
    services.close()

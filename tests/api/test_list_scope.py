"""GET /key/list: which keys each kind of caller gets to see."""

import pytest

from app.container import Services
from app.db import Database
from tests.api.listing import aliases, listed
from tests.clients import Api
from tests.factories import add_organization, add_person, add_team, add_user, change_key


@pytest.fixture(scope="module")
def world(shared_api: Api, shared_services: Services) -> Api:
    fill(shared_api, shared_services.database)
    return shared_api


def fill(api: Api, database: Database) -> None:
    """Four teams, a stranger's key, and keys of `me` in and out of the teams."""
    add_user(database, "me")
    add_organization(database, "acme", {"me": None})
    add_organization(database, "other", {"you": None})
    add_team(database, "led", {"me": "admin"})
    add_team(database, "granting", {"me": "user"}, grants=["/key/list"])
    add_team(database, "joined", {"me": "user"})
    add_team(database, "foreign", {"you": "admin"})
    api.generate(key_alias="mine", user_id="me")
    api.generate(key_alias="mine of acme", user_id="me", organization_id="acme")
    api.generate(key_alias="yours", user_id="you")
    for team in ("led", "granting", "joined", "foreign"):
        api.generate(key_alias=f"{team}/yours", team_id=team, user_id="you")
        api.generate(key_alias=f"{team}/robot", team_id=team)


OWN = {"mine", "mine of acme"}
TEAMS = {f"{team}/{who}" for team in ("led", "granting", "joined", "foreign") for who in ("yours", "robot")}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, OWN),
        ({"user_id": "me"}, OWN),
        ({"include_team_keys": "false"}, OWN),
        (
            {"include_team_keys": "true"},
            OWN | {"led/yours", "led/robot", "granting/yours", "granting/robot", "joined/robot"},
        ),
        ({"include_created_by_keys": "true"}, OWN | {"led/robot", "granting/robot", "joined/robot"}),
        ({"include_team_keys": "true", "team_id": "led"}, {"led/yours", "led/robot"}),
        ({"include_team_keys": "true", "team_id": "joined"}, {"joined/robot"}),
        ({"team_id": "led"}, set()),
        ({"organization_id": "acme"}, {"mine of acme"}),
        ({"key_alias": "yours"}, set()),
        ({"search": "yours"}, set()),
        ({"search": "yours", "include_team_keys": "true"}, {"led/yours", "granting/yours"}),
    ],
)
def test_a_user_sees_its_own_keys_and_those_of_its_teams_that_it_asks_for(
    world: Api, query: dict[str, str], expected: set[str]
):
    me = world.generate(user_id="me")["key"]

    assert set(aliases(world, caller=me, **query)) == expected


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"user_id": "you"}, "user_id"),
        ({"user_id": "nobody"}, "user_id"),
        ({"team_id": "foreign"}, "team_id"),
        ({"team_id": "no such team"}, "team_id"),
        ({"organization_id": "other"}, "organization_id"),
        ({"organization_id": "no such organization"}, "organization_id"),
        ({"key_hash": "0" * 64}, "key_hash"),
    ],
)
def test_a_user_cannot_ask_beyond_its_own(world: Api, query: dict[str, str], param: str):
    me = world.generate(user_id="me")["key"]

    assert listed(world, caller=me, **query).summary == (403, "bad_request_error", param)


def test_a_hash_out_of_sight_answers_like_one_that_does_not_exist(world: Api):
    me = world.generate(user_id="me")["key"]
    (foreign,) = listed(world, key_alias="yours").body["keys"]

    hidden, unknown = (listed(world, caller=me, key_hash=token) for token in (foreign, "0" * 64))

    assert (hidden.status, hidden.body) == (unknown.status, unknown.body)


def test_keys_that_a_user_made_for_others_are_listed_where_it_may_still_see_them(api: Api, services: Services):
    fill(api, services.database)
    for alias in ("yours", "led/robot", "foreign/yours"):
        change_key(services.database, alias, created_by="me")
    me = api.generate(user_id="me")["key"]

    created = set(aliases(api, caller=me, include_created_by_keys="true"))
    all_of_it = set(aliases(api, caller=me, include_created_by_keys="true", include_team_keys="true"))

    assert created == OWN | {"yours", "led/robot", "granting/robot", "joined/robot"}
    assert all_of_it == created | {"led/yours", "granting/yours"}


@pytest.mark.parametrize("role", ["proxy_admin", "proxy_admin_viewer"])
def test_an_administrator_and_a_viewer_see_every_key(world: Api, shared_services: Services, role: str):
    caller = add_person(world, shared_services.database, f"the {role}", role)

    assert set(aliases(world, caller=caller)) == OWN | TEAMS | {"yours"}
    assert set(aliases(world, caller=caller, user_id="me")) == OWN
    assert set(aliases(world, caller=caller, include_team_keys="true")) == OWN | TEAMS | {"yours"}


def test_an_administrator_may_ask_for_what_somebody_owns_or_made(api: Api, services: Services):
    ann = add_person(api, services.database, "ann")
    api.generate(key_alias="made for ann", user_id="ann")
    api.generate(key_alias="made by ann", caller=ann)
    api.post("/key/update", {"key_alias": "made by ann", "user_id": "somebody else"})

    assert set(aliases(api, user_id="ann")) == {"made for ann"}
    assert set(aliases(api, user_id="ann", include_created_by_keys="true")) == {"made for ann", "made by ann"}


@pytest.mark.parametrize("owner", [None, "no such user"])
def test_a_key_without_an_owner_cannot_list(api: Api, owner: str | None):
    caller = api.generate(user_id=owner)["key"]

    assert listed(api, caller=caller).summary == (403, "bad_request_error", "user_id")


def test_a_service_account_cannot_list(api: Api, services: Services):
    add_team(services.database, "team")
    robot = api.generate(team_id="team", metadata={"service_account_id": "robot"})["key"]

    assert listed(api, caller=robot).summary == (403, "bad_request_error", "user_id")

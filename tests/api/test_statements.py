"""What an operation costs in SQL statements and Redis commands: fixed numbers, whatever the size of the call."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from app.container import Services
from app.db import Database
from app.services.audit.audit import SYSTEM, Act
from tests.api.costs import Cost, Measure, measuring
from tests.clients import MASTER_KEY, Api
from tests.factories import add_organization, add_person, add_team, add_tier, add_user
from tests.faults.proxy import RedisProxy
from tests.servers import RedisServer

CHANGE = ("mark", "publish")
# The counters are looked for afterwards, and set where Redis has any.
SPEND_CHANGE = (*CHANGE, "note")


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[RedisProxy]:
    redis_server.clear()
    with RedisProxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def redis_url(proxy: RedisProxy) -> str:
    """Redis, reached through what counts the commands."""
    return proxy.url


@pytest.fixture
def cost(services: Services, proxy: RedisProxy) -> Iterator[Measure]:
    with measuring(services, proxy) as measure:
        yield measure


@pytest.fixture(autouse=True)
def _warm(api: Api, services: Services) -> None:
    """Opens the connections and teaches Redis the scripts, which later calls find there."""
    key = api.generate()["key"]
    api.call("GET", "/key/info", key=key)
    api.call("GET", "/key/info", key=key)
    assert api.post("/key/update", {"key": key, "spend": 1}).status == 200


def made(services: Services, count: int, **fields: Any) -> list[str]:
    """Plaintexts of new keys, made faster than over HTTP."""
    act = Act(SYSTEM, services.clock.now())
    return [services.keys.generate(act, fields, "/key/generate").secret.reveal() for _ in range(count)]


# --- writing -----------------------------------------------------------------------------------------------


def test_generating_a_key(api: Api, cost: Measure):
    assert cost(api.generate) == Cost(6, 1)


def test_generating_a_key_that_refers_to_everything(api: Api, cost: Measure, database: Database):
    references = _everything_to_refer_to(database)

    found = cost(lambda: api.generate(**references, key_alias="a", user_id="u", spend=1, budget_duration="1d"))

    assert found == Cost(14, 1)


def test_generating_a_custom_key_makes_its_absence_stale(api: Api, cost: Measure):
    assert cost(lambda: api.generate(key="sk-custom-0123456789")) == Cost(6, 1, ("publish",))


def test_updating_a_key(api: Api, services: Services, cost: Measure):
    (key,) = made(services, 1)

    assert cost(lambda: api.post("/key/update", {"key": key, "tags": ["a"]})) == Cost(7, 1, CHANGE)


def test_updating_a_key_to_refer_to_everything(api: Api, services: Services, cost: Measure, database: Database):
    references = _everything_to_refer_to(database)
    (key,) = made(services, 1)

    found = cost(lambda: api.post("/key/update", {"key": key, **references, "spend": 3, "budget_duration": "1d"}))

    # What its new caps leave crossed is to be looked at.
    assert found == Cost(20, 1, SPEND_CHANGE)


@pytest.mark.parametrize("path", ["/key/block", "/key/unblock"])
def test_blocking_and_unblocking_a_key(api: Api, services: Services, cost: Measure, path: str):
    (key,) = made(services, 1, blocked=path == "/key/unblock")

    assert cost(lambda: api.post(path, {"key": key})) == Cost(7, 1, CHANGE)
    # Again, there is nothing to write.
    assert cost(lambda: api.post(path, {"key": key})) == Cost(3, 1, CHANGE)


@pytest.mark.parametrize("count", [1, 50])
def test_deleting_keys_takes_as_many_statements_for_fifty_as_for_one(
    api: Api, services: Services, cost: Measure, count: int
):
    keys = made(services, count)

    assert cost(lambda: api.post("/key/delete", {"keys": keys})) == Cost(11, 1, CHANGE)


@pytest.mark.parametrize("count", [1, 50])
def test_deleting_keys_by_alias_takes_as_many_statements_for_fifty_as_for_one(
    api: Api, services: Services, cost: Measure, count: int
):
    aliases = [f"alias {index}" for index in range(count)]
    for alias in aliases:
        made(services, 1, key_alias=alias)

    assert cost(lambda: api.post("/key/delete", {"key_aliases": aliases})) == Cost(11, 1, CHANGE)


@pytest.mark.parametrize("count", [1, 50])
def test_deleting_a_teams_keys_takes_as_many_statements_for_fifty_as_for_one(
    api: Api, services: Services, cost: Measure, database: Database, count: int
):
    add_team(database, "t", {"ann": "admin"})
    ann = add_person(api, database, "ann")
    api.get("/models", key=ann)
    keys = made(services, count, team_id="t", object_permission={"models": ["m"]})

    found = cost(lambda: api.post("/key/delete", {"keys": keys}, key=ann))

    assert found == Cost(15, 1, ("check", *CHANGE))


def test_making_a_service_account(api: Api, cost: Measure, database: Database):
    add_team(database, "t")

    found = cost(lambda: api.post("/key/service-account/generate", {"team_id": "t"}))

    # As for any key, and its team: held, then read.
    assert found == Cost(8, 1)


@pytest.mark.parametrize("count", [1, 50])
def test_updating_keys_in_bulk_takes_as_many_statements_for_fifty_as_for_one(
    api: Api, services: Services, cost: Measure, count: int
):
    keys = made(services, count)

    found = cost(lambda: api.post("/key/bulk_update", {"keys": [{"key": key, "max_budget": 1} for key in keys]}))

    # As any change, and what the new caps leave crossed is to be looked at.
    assert found == Cost(8, 1, CHANGE)


@pytest.mark.parametrize("count", [1, 50])
def test_updating_keys_in_bulk_to_refer_to_everything(
    api: Api, services: Services, cost: Measure, database: Database, count: int
):
    add_team(database, "t", {"u": "user"})
    add_tier(database, "b", budget_duration="1d")
    keys = made(services, count, user_id="u") + made(
        services, count, user_id="u", object_permission={"models": []}
    )
    wanted = {"team_id": "t", "budget_id": "b", "tags": ["a"], "object_permission": {"models": ["m"]}}

    found = cost(lambda: api.post("/key/bulk_update", {"keys": [{"key": key, **wanted} for key in keys]}))

    # The team and its lock, the tier, the memberships, new and changed object permissions, the windows and theirs,
    # and what the new caps leave crossed.
    assert found == Cost(16, 1, CHANGE)


def test_updating_in_bulk_what_does_not_exist_writes_and_announces_nothing(api: Api, cost: Measure):
    assert cost(lambda: api.post("/key/bulk_update", {"keys": [{"key": "sk-unknown"}] * 9})) == Cost(1)


def test_resetting_the_spend_of_a_key(api: Api, cost: Measure):
    key = api.generate(spend=2)["key"]

    assert cost(lambda: api.post(f"/key/{key}/reset_spend", {"reset_to": 1})) == Cost(13, 1, SPEND_CHANGE)
    # Again, there is nothing to write; what the first time could not tell Redis is told now.
    assert cost(lambda: api.post(f"/key/{key}/reset_spend", {"reset_to": 1})) == Cost(4, 1, SPEND_CHANGE)


def test_deleting_what_does_not_exist_writes_and_announces_nothing(api: Api, cost: Measure):
    assert cost(lambda: api.post("/key/delete", {"keys": ["sk-unknown"]})) == Cost(2)


@pytest.mark.parametrize("count", [1, 50])
def test_deleting_what_is_deleted_already_announces_it_again(
    api: Api, services: Services, cost: Measure, count: int
):
    keys = made(services, count)
    assert api.post("/key/delete", {"keys": keys}).status == 200

    assert cost(lambda: api.post("/key/delete", {"keys": keys})) == Cost(2, 0, ("publish",))


def test_giving_a_key_another_secret(api: Api, services: Services, cost: Measure):
    (key,) = made(services, 1)
    new, sent = "sk-another-0123456789", {"key": key, "new_key": "sk-another-0123456789"}

    assert cost(lambda: api.post("/key/regenerate", sent)) == Cost(11, 1, CHANGE)
    assert cost(lambda: api.post("/key/regenerate", sent)) == Cost(2, 0, ("publish",))
    assert cost(lambda: api.post("/key/regenerate", {"key": new, "grace_period": "1h"})) == Cost(10, 1, CHANGE)


# --- reading -----------------------------------------------------------------------------------------------


def test_reading_a_key(api: Api, services: Services, cost: Measure, database: Database):
    (key,) = made(services, 1)
    ann = add_person(api, database, "ann")
    api.get("/models", key=ann)

    assert cost(lambda: api.info(key)) == Cost(2)
    assert cost(lambda: api.info(ann, caller=ann)) == Cost(3, 0, ("check",))


def test_a_key_out_of_sight_costs_what_one_that_does_not_exist_costs(
    api: Api, services: Services, cost: Measure, database: Database
):
    ann = add_person(api, database, "ann")
    foreign, gone, rotated = made(services, 3, team_id="t")
    api.post("/key/delete", {"keys": [gone]})
    api.post("/key/regenerate", {"key": rotated})
    api.get("/models", key=ann)

    for path, body in (
        ("/key/update", {"tags": ["a"]}),
        ("/key/block", {}),
        ("/key/delete", {}),
        ("/key/regenerate", {}),
    ):
        costs = []
        for key in (foreign, gone, rotated, "sk-unknown"):
            named = {"keys": [key]} if path == "/key/delete" else {"key": key}
            costs.append(cost(lambda path=path, sent={**named, **body}: api.post(path, sent, key=ann)))
        assert costs == costs[:1] * 4, path
    looks = [
        cost(lambda key=key: api.call("GET", "/key/info", key=ann, query={"key": key}))
        for key in (foreign, "sk-unknown")
    ]
    assert looks[0] == looks[1]


@pytest.mark.parametrize("count", [1, 50])
def test_what_is_used_of_any_number_of_further_budgets_is_one_statement(
    api: Api, services: Services, cost: Measure, count: int
):
    further = {
        "model_max_budget": {f"m{index}": {"max_budget": 1} for index in range(count)},
        "budget_limits": [{"budget_duration": "1d", "max_budget": Decimal(1)}],
    }
    services.teams.new(Act(SYSTEM, services.clock.now()), {"team_id": "t", **further})
    keys = made(services, count, **further)

    assert cost(lambda: api.info(keys[0])) == Cost(3)
    assert cost(lambda: api.post("/v2/key/info", {"keys": keys})) == Cost(3)
    assert cost(lambda: api.get("/team/info", team_id="t")) == Cost(5)


def test_a_page_of_a_hundred_takes_as_many_statements_as_one_of_ten(
    api: Api, services: Services, cost: Measure, database: Database
):
    add_user(database, "ann")
    add_team(database, "t", {"ann": "admin"})
    made(services, 100, user_id="ann", team_id="t")

    for size in (10, 100):
        for query, statements in (
            ({}, 3),
            ({"return_full_object": True}, 3),
            ({"return_full_object": True, "expand": "user"}, 4),
        ):
            assert cost(lambda asked={"size": size, **query}: api.get("/key/list", **asked)) == Cost(statements)


def test_a_page_of_ones_own_keys(api: Api, cost: Measure, database: Database):
    ann = add_person(api, database, "ann")
    api.get("/models", key=ann)

    assert cost(lambda: api.get("/key/list", ann)) == Cost(4, 0, ("check",))
    assert cost(lambda: api.get("/key/list", ann, include_team_keys=True)) == Cost(4, 0, ("check",))


# --- who is calling ----------------------------------------------------------------------------------------


def test_the_master_key_is_known_without_any_store(api: Api, cost: Measure):
    assert cost(lambda: api.get("/models", MASTER_KEY)) == Cost(0)


def test_a_key_is_read_from_sql_once_and_then_held_against_redis_alone(
    api: Api, cost: Measure, database: Database
):
    ann = add_person(api, database, "ann")

    assert cost(lambda: api.get("/models", ann)) == Cost(2, 0, ("adopt",))
    assert cost(lambda: api.get("/models", ann)) == Cost(0, 0, ("check",))


def test_a_key_that_does_not_exist_is_looked_for_once(api: Api, cost: Measure):
    assert cost(lambda: api.get("/models", "sk-unknown")) == Cost(2, 0, ("adopt",))
    assert cost(lambda: api.get("/models", "sk-unknown")) == Cost(0, 0, ("check",))


def test_a_key_that_was_changed_is_read_again_once(api: Api, cost: Measure, database: Database):
    ann = add_person(api, database, "ann")
    api.get("/models", ann)
    assert api.post("/key/update", {"key": ann, "tags": ["a"]}).status == 200

    assert cost(lambda: api.get("/models", ann)) == Cost(2, 0, ("check", "adopt"))
    assert cost(lambda: api.get("/models", ann)) == Cost(0, 0, ("check",))


def test_being_alive_asks_no_store(api: Api, cost: Measure):
    assert cost(lambda: api.get("/health/liveness", None)) == Cost(0)


def _everything_to_refer_to(database: Database) -> dict[str, Any]:
    return {
        "team_id": add_team(database, "t", {"u": "user"}),
        "budget_id": add_tier(database, "b"),
        "organization_id": add_organization(database, "o"),
        "object_permission": {"models": ["m"]},
    }

"""Ways to more than one holds, each of them shut: by making keys, by rotating them, by making users."""

from typing import Any

import pytest

from app.container import Services
from tests.clients import Api
from tests.factories import NANOS, add_organization, add_person, add_team, add_tier, on_one_store, unchanged

pytestmark = on_one_store
NO = (403, "auth_error")


@pytest.fixture
def people(api: Api, services: Services) -> dict[str, str]:
    """The admin of a team, and those whose keys are in it."""
    database = services.database
    add_organization(database, "company", {"chief": "org_admin", "hand": "internal_user"})
    add_team(database, "team", dict.fromkeys(("boss", "chief", "head", "mate"), "user") | {"lead": "admin"})
    add_team(database, "other team", {"head": "admin"})
    roles = {"boss": "proxy_admin"}
    return {
        name: add_person(api, database, name, roles.get(name, "internal_user"))
        for name in ("boss", "chief", "head", "mate", "lead", "hand")
    }


@pytest.mark.parametrize(("owner", "expected"), [("boss", NO), ("chief", NO), ("head", NO), ("mate", None)])
def test_a_team_admin_rotates_no_key_of_one_who_stands_higher(
    api: Api, services: Services, people: dict[str, str], owner: str, expected: Any
):
    target = api.generate(user_id=owner, team_id="team")["key"]

    if expected is None:
        assert api.post("/key/regenerate", {"key": target}, key=people["lead"]).status == 200
        return
    with unchanged(services.database):
        answer = api.post("/key/regenerate", {"key": target}, key=people["lead"])

    assert answer.summary == (*expected, "user_id")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"permissions": {"gateway": True}}, "permissions"),
        ({"allowed_routes": ["/user/new"]}, "allowed_routes"),
        ({"key_type": "management"}, "allowed_routes"),
    ],
)
def test_a_team_admin_rotates_no_key_with_rights_of_its_own(
    api: Api, people: dict[str, str], fields: dict[str, Any], param: str
):
    target = api.generate(team_id="team", **fields)["key"]

    assert api.post("/key/regenerate", {"key": target}, key=people["lead"]).summary == (*NO, param)


@pytest.mark.parametrize(
    ("own", "param"),
    [
        ({"max_budget": 1}, "max_budget"),
        ({"models": ["a"]}, "models"),
        ({"tpm_limit": 1}, "tpm_limit"),
        ({"rpm_limit": 1}, "rpm_limit"),
        ({"max_parallel_requests": 1}, "max_parallel_requests"),
        ({"duration": "1h"}, "duration"),
        ({"allowed_routes": ["/key/regenerate"]}, "allowed_routes"),
    ],
)
def test_a_bound_key_rotates_itself_and_no_wider_key_of_its_owner(
    api: Api, people: dict[str, str], own: dict[str, Any], param: str
):
    caller = api.generate(user_id="mate", **own)["key"]

    assert api.post("/key/regenerate", {"key": people["mate"]}, key=caller).summary == (*NO, param)
    assert api.post("/key/regenerate", {"key": caller}, key=caller).status == 200


def test_a_key_bound_by_rates_makes_keys_bound_by_them(api: Api, people: dict[str, str]):
    caller = api.generate(user_id="mate", tpm_limit=10, rpm_limit=5)["key"]

    made = api.generate(caller=caller, rpm_limit=4)
    above = api.post("/key/generate", {"tpm_limit": 11}, key=caller)
    freed = api.post("/key/update", {"key": made["key"], "tpm_limit": None}, key=caller)

    assert (made["tpm_limit"], made["rpm_limit"]) == (10, 4)
    assert above.summary == freed.summary == (400, "invalid_request_error", "tpm_limit")


def test_a_key_that_expires_makes_keys_that_expire_with_it(api: Api, people: dict[str, str]):
    caller = api.generate(user_id="mate", duration="1h", max_parallel_requests=2)
    own = caller["key"]

    made = api.generate(caller=own)
    sooner = api.generate(caller=own, duration="30m", max_parallel_requests=1)
    refused = [
        api.post(path, fields, key=own)
        for path, fields in (
            ("/key/generate", {"duration": "2h"}),
            ("/key/update", {"key": made["key"], "duration": "2h"}),
            ("/key/update", {"key": made["key"], "duration": None}),
        )
    ]
    busier = api.post("/key/generate", {"max_parallel_requests": 3}, key=own)

    assert (made["expires"], made["max_parallel_requests"]) == (caller["expires"], 2)
    assert (sooner["expires"] < caller["expires"], sooner["max_parallel_requests"]) == (True, 1)
    assert [answer.summary for answer in refused] == [(400, "invalid_request_error", "duration")] * 3
    assert busier.summary == (400, "invalid_request_error", "max_parallel_requests")


def test_a_key_bound_by_its_tier_makes_keys_bound_by_it(api: Api, services: Services, people: dict[str, str]):
    add_tier(services.database, "gold", max_budget_nanos=2 * NANOS, rpm_limit=5)
    caller = api.generate(user_id="mate", budget_id="gold", tpm_limit=9)["key"]

    made = api.generate(caller=caller)
    above = api.post("/key/generate", {"max_budget": 3}, key=caller)
    faster = api.post("/key/generate", {"rpm_limit": 6}, key=caller)

    assert (made["max_budget"], made["rpm_limit"], made["tpm_limit"]) == (2, 5, 9)
    assert above.summary == (400, "invalid_request_error", "max_budget")
    assert faster.summary == (400, "invalid_request_error", "rpm_limit")


def test_a_key_bound_to_routes_makes_keys_bound_to_them(api: Api, people: dict[str, str]):
    caller = api.generate(user_id="mate", allowed_routes=["/key/generate", "info_routes"])["key"]

    assert api.generate(caller=caller)["allowed_routes"] == ["/key/generate", "info_routes"]
    assert api.generate(caller=caller, key_type="read_only")["allowed_routes"] == ["info_routes"]
    assert api.post("/key/generate", {"key_type": "llm_api"}, key=caller).summary == (*NO, "key_type")


def test_a_member_with_the_route_makes_no_admin_of_its_organization(api: Api, people: dict[str, str]):
    caller = api.generate(user_id="hand", allowed_routes=["/user/new"])["key"]
    asked = {"organizations": ["company"], "user_role": "org_admin"}

    assert api.post("/user/new", asked, key=caller).summary == (*NO, "user_role")
    assert api.post("/user/new", {**asked, "user_role": "internal_user"}, key=caller).status == 200


def test_the_first_key_of_a_user_is_bound_as_the_key_that_makes_it(api: Api, people: dict[str, str]):
    bounds = {"max_budget": 1, "models": ["a"], "rpm_limit": 3, "duration": "1h"}
    caller = api.generate(user_id="hand", allowed_routes=["/user/new"], **bounds)

    made = api.post("/user/new", {"organizations": ["company"]}, key=caller["key"])
    longer = api.post("/user/new", {"organizations": ["company"], "duration": "2h"}, key=caller["key"])
    first = api.info(made.body["key"])

    assert (first["allowed_routes"], first["max_budget"], first["models"]) == (["/user/new"], 1, ["a"])
    assert (first["rpm_limit"], first["expires"]) == (3, caller["expires"])
    assert longer.summary == (400, "invalid_request_error", "duration")

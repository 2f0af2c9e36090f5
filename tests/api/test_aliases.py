"""GET /key/aliases: the names of the keys that a caller may see."""

from typing import Any

import pytest

from app.container import Services
from app.domain.teams import DASHBOARD_TEAM
from tests.api.counting import statements
from tests.clients import MASTER_KEY, Answer, Api
from tests.factories import add_organization, add_person, add_team, add_user


def asked(api: Api, caller: str = MASTER_KEY, **query: Any) -> Answer:
    return api.call("GET", "/key/aliases", key=caller, query=query)


def named(api: Api, caller: str = MASTER_KEY, **query: Any) -> list[str]:
    answer = asked(api, caller, **query)
    assert answer.status == 200, answer
    found: list[str] = answer.body["aliases"]
    return found


def test_they_come_in_their_order_with_what_a_pager_needs(api: Api):
    for alias in ("b", "c", "a"):
        api.generate(key_alias=alias)

    assert asked(api).body == {
        "aliases": ["a", "b", "c"],
        "total_count": 3,
        "current_page": 1,
        "total_pages": 1,
        "size": 50,
    }


def test_pages_never_overlap_and_one_past_the_end_is_empty(api: Api):
    for number in range(7):
        api.generate(key_alias=f"a{number}")

    pages = [asked(api, size=3, page=page).body for page in range(1, 5)]

    assert [page["aliases"] for page in pages] == [["a0", "a1", "a2"], ["a3", "a4", "a5"], ["a6"], []]
    assert {(page["total_count"], page["total_pages"], page["size"]) for page in pages} == {(7, 3, 3)}
    assert [page["current_page"] for page in pages] == [1, 2, 3, 4]


def test_nothing_is_no_page(api: Api):
    assert asked(api).body == {"aliases": [], "total_count": 0, "current_page": 1, "total_pages": 0, "size": 50}


def test_keys_without_a_name_of_the_dashboard_and_deleted_ones_are_left_out(api: Api):
    api.generate()
    api.generate(key_alias="")
    api.generate(key_alias="session", team_id=DASHBOARD_TEAM)
    api.generate(key_alias="gone")
    api.generate(key_alias="blocked", blocked=True)
    api.generate(key_alias="expired", duration="0s")
    api.post("/key/delete", {"key_aliases": ["gone"]})

    assert named(api) == ["blocked", "expired"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"search": "BILL"}, ["Billing", "a_bill", "axbill"]),
        ({"search": "a_b"}, ["a_bill"]),
        ({"search": "%"}, ["100%"]),
        ({"search": "/"}, []),
        ({"search": "' OR 1=1 --"}, []),
        ({"search": ""}, ["100%", "Billing", "a_bill", "axbill"]),
        ({"team_id": "t"}, ["Billing"]),
        ({"team_id": "t", "search": "x"}, []),
        ({"team_id": ""}, ["100%", "Billing", "a_bill", "axbill"]),
        ({"team_id": "no such team"}, []),
    ],
)
def test_a_search_is_part_of_a_name_in_any_case_and_knows_no_wildcards(
    api: Api, query: dict[str, str], found: list[str]
):
    for alias in ("a_bill", "axbill", "100%"):
        api.generate(key_alias=alias)
    api.generate(key_alias="Billing", team_id="t")

    assert sorted(named(api, **query)) == found
    assert asked(api, **query).body["total_count"] == len(found)


@pytest.mark.parametrize(
    "query",
    [
        {"page": 0}, {"page": -1}, {"page": "x"}, {"page": 1.5}, {"page": 2**63}, {"page": ""},
        {"size": 0}, {"size": 101}, {"size": "x"}, {"search": "a\x00b"}, {"team_id": "a\x00b"},
    ],
)  # fmt: skip
def test_a_query_out_of_bounds_is_told_by_its_parameter(shared_api: Api, query: dict[str, Any]):
    answer = asked(shared_api, **query)

    (name,) = query
    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["query", name])


@pytest.mark.parametrize("query", [{"page": 10**9}, {"size": 1}, {"size": 100}, {"page": 10**9, "size": 100}])
def test_the_bounds_themselves_are_taken(shared_api: Api, query: dict[str, Any]):
    assert asked(shared_api, **query).status == 200


# --- who sees what -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def callers(shared_api: Api, shared_services: Services) -> dict[str, str]:
    """A key of each caller; `ghost` and `stray` are nobody's, and reach this route because they list it."""
    api, database = shared_api, shared_services.database
    add_organization(database, "company", {"chief": "org_admin"})
    add_team(database, "crew", {"ann": "user", "lead": "admin"}, organization_id="company")
    add_team(database, "elsewhere", {"bob": "user"})
    add_user(database, "cyd")
    here = ["/key/aliases"]
    keys = {
        "master": MASTER_KEY,
        "viewer": add_person(api, database, "viewer", "proxy_admin_viewer"),
        "ann": add_person(api, database, "ann", key_alias="of ann"),
        "lead": add_person(api, database, "lead"),
        "bob": add_person(api, database, "bob", key_alias="of bob"),
        "cyd": add_person(api, database, "cyd's namesake"),
        "ghost": api.generate(key_alias="of ghost", allowed_routes=here)["key"],
        "stray": api.generate(key_alias="of stray", allowed_routes=here)["key"],
        "internal viewer": add_person(api, database, "onlooker", "internal_user_viewer"),
        "ownerless": api.generate()["key"],
    }
    api.generate(key_alias="crew's robot", team_id="crew")
    api.generate(key_alias="crew's of lead", team_id="crew", user_id="lead")
    api.generate(key_alias="elsewhere's robot", team_id="elsewhere")
    api.generate(key_alias="crew's of cyd", team_id="crew", user_id="cyd")
    keys["robot"] = api.generate(
        key_alias="acting robot", team_id="crew", metadata={"service_account_id": "r"}, allowed_routes=here
    )["key"]
    return keys


CREW = ["acting robot", "crew's of cyd", "crew's of lead", "crew's robot"]
EVERY = sorted([*CREW, "elsewhere's robot", "of ann", "of bob", "of ghost", "of stray"])


@pytest.mark.parametrize(
    ("caller", "found"),
    [
        ("master", EVERY),
        ("viewer", EVERY),
        ("ann", [*CREW, "of ann"]),
        ("lead", CREW),
        ("bob", ["elsewhere's robot", "of bob"]),
        ("cyd", []),
        ("ghost", ["of ghost"]),
        ("stray", ["of stray"]),
        ("robot", CREW),
    ],
)
def test_a_caller_sees_the_names_of_its_own_keys_and_of_those_of_its_teams(
    shared_api: Api, callers: dict[str, str], caller: str, found: list[str]
):
    assert named(shared_api, callers[caller]) == found
    assert asked(shared_api, callers[caller]).body["total_count"] == len(found)


@pytest.mark.parametrize("caller", ["internal viewer", "ownerless"])
def test_a_role_that_does_not_reach_it_is_refused(shared_api: Api, callers: dict[str, str], caller: str):
    assert asked(shared_api, callers[caller]).summary == (401, "auth_error", None)


def test_a_team_out_of_sight_answers_and_costs_what_an_unknown_one_does(
    shared_api: Api, shared_services: Services, callers: dict[str, str]
):
    shared_api.get("/models", key=callers["ann"])  # known to the cache from here on

    seen = []
    for team in ("elsewhere", "no such team"):
        with statements(shared_services.database) as sent:
            answer = asked(shared_api, callers["ann"], team_id=team)
        seen.append((answer.status, answer.body, len(sent)))

    assert seen[0] == seen[1]


def test_it_takes_two_statements_whatever_the_size(shared_api: Api, shared_services: Services, callers: Any):
    for size in (1, 100):
        with statements(shared_services.database) as sent:
            asked(shared_api, size=size)
        assert len(sent) == 2

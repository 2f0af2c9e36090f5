"""Whom the reports show what."""

import pytest

from app.container import Services
from app.db import Database
from tests.api.counting import statements
from tests.api.identities import ORGANIZATION, TEAM, People, gather
from tests.api.spending import DAYS, REPORTS, STATEMENTS, cost
from tests.clients import Api
from tests.factories import add_charges, charge, on_one_store


@pytest.fixture
def people(api: Api, database: Database) -> People:
    """Charges of one dollar by a member in the team, two by it outside, four elsewhere, eight by the team's key."""
    people = gather(api, database)
    ids = {name: api.info(people[name])["key_id"] for name in ("member", "stranger", "team key")}
    add_charges(
        database,
        charge(ids["member"], 1, user_id="member", team_id=TEAM, organization_id=ORGANIZATION, tags=["a"]),
        charge(ids["member"], 2, user_id="member", tags=["b"]),
        charge(ids["stranger"], 4, user_id="stranger", team_id="elsewhere", organization_id="other", tags=["c"]),
        charge(ids["team key"], 8, team_id=TEAM, organization_id=ORGANIZATION, tags=["d"]),
    )
    return people


EVERYTHING = {1.0, 2.0, 4.0, 8.0}


@pytest.mark.parametrize(
    ("caller", "seen"),
    [
        ("master", EVERYTHING),
        ("proxy admin", EVERYTHING),
        ("viewer", EVERYTHING),
        ("member", {1.0, 2.0}),
        ("team admin", {1.0, 8.0}),
        ("org admin", {1.0, 8.0}),
        ("org member", set()),
        ("other org admin", {4.0}),
        ("stranger", {4.0}),
        ("team key", {8.0}),
    ],
)
@on_one_store
def test_everybody_sees_the_charges_within_reach_and_no_others(
    api: Api, people: People, caller: str, seen: set[float]
):
    answer = api.get("/spend/logs", people[caller])

    assert {row["spend"] for row in answer.body} == seen
    summed = api.get("/spend/logs", people[caller], **DAYS).body
    assert sum(day["spend"] for day in summed) == sum(seen)
    in_teams = api.get("/team/daily/activity", people[caller], **DAYS).body["metadata"]["total_spend"]
    assert in_teams == sum(seen - {2.0})


@pytest.mark.parametrize(
    ("caller", "total"), [("master", 15), ("member", 3), ("team admin", 0), ("org admin", 0), ("team key", 8)]
)
@on_one_store
def test_the_activity_of_users_is_ones_own_unless_a_user_is_named(
    api: Api, people: People, caller: str, total: float
):
    assert api.get("/user/daily/activity", people[caller], **DAYS).body["metadata"]["total_spend"] == total


@pytest.mark.parametrize(
    ("caller", "total"), [("master", 3), ("member", 3), ("team admin", 1), ("stranger", 0), ("org admin", 1)]
)
@on_one_store
def test_of_a_named_user_everybody_sees_what_is_within_reach(api: Api, people: People, caller: str, total: float):
    answer = api.get("/user/daily/activity", people[caller], user_id="member", **DAYS)

    assert answer.body["metadata"]["total_spend"] == total


@pytest.mark.parametrize(
    ("caller", "tags"), [("master", "abcd"), ("member", "ab"), ("stranger", "c"), ("team admin", "d")]
)
@on_one_store
def test_tags_are_those_of_keys_within_reach(api: Api, people: People, caller: str, tags: str):
    found = api.get("/spend/tags", people[caller]).body

    assert "".join(sorted(row["individual_request_tag"] for row in found)) == tags


@on_one_store
def test_keys_are_those_within_reach(api: Api, people: People):
    def owners(caller: str) -> set[str | None]:
        return {row["user_id"] for row in api.get("/spend/keys", people[caller]).body}

    assert owners("member") == {"member"}
    assert owners("team admin") == {"team admin", None}
    assert owners("team key") == {None}
    assert owners("viewer") >= {"member", "stranger", None}


@on_one_store
def test_a_key_that_has_left_ones_reach_goes_by_its_id(api: Api, people: People):
    key_id = api.info(people["member"])["key_id"]

    seen = api.get("/team/daily/activity", people["team admin"], **DAYS).body["results"][0]["breakdown"]

    assert seen["api_keys"][key_id]["metadata"] == {"key_alias": None, "team_id": None}


@pytest.mark.parametrize("name", ["user_id", "team_ids", "api_key"])
@on_one_store
def test_what_one_may_not_see_answers_as_what_does_not_exist(
    api: Api, people: People, services: Services, name: str
):
    foreign = {"user_id": "stranger", "team_ids": "elsewhere", "api_key": api.info(people["stranger"])["key_id"]}
    if name == "api_key":
        foreign[name] = api.get("/spend/logs", user_id="stranger").body[0]["api_key"]
    api.get("/models", people["member"])
    for path, days in REPORTS.items():
        if path == "/global/spend/keys":
            continue
        answers = []
        for value in (foreign[name], "unknown"):
            with statements(services.database) as sent:
                answer = api.get(path, people["member"], **{**days, name: value})
            answers.append((answer.status, answer.body if path != "/spend/keys" else None, len(sent)))
        assert answers[0] == answers[1], path


@pytest.mark.parametrize("caller", ["member", "team admin", "org admin", "team key"])
@on_one_store
def test_the_report_of_all_keys_is_for_those_who_see_all(api: Api, people: People, caller: str):
    assert api.get("/global/spend/keys", people[caller]).status == 401
    assert api.get("/global/spend/keys", people["viewer"]).status == 200


def test_a_caller_who_does_not_see_all_takes_one_statement_more(api: Api, people: People, services: Services):
    lead = people["team admin"]
    api.get("/models", lead)
    for path, days in REPORTS.items():
        if path not in {"/global/spend/keys", "/user/daily/activity"}:
            assert cost(services, api, path, lead, **days) == STATEMENTS[path] + 1, path

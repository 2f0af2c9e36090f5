"""The reports: what they add up to, whom they show it, and page by page."""

import csv
import io
from datetime import timedelta
from typing import Any

import pytest

from app.container import Services
from app.db import Database
from tests.api.counting import statements
from tests.api.identities import ORGANIZATION, TEAM, People, gather
from tests.clients import MASTER_KEY, Api
from tests.clocks import START
from tests.factories import add_charges, charge, on_one_store

TODAY, YESTERDAY = "2026-11-18", "2026-11-17"
DAYS = {"start_date": YESTERDAY, "end_date": TODAY}
CURSOR = "x-keyledger-next-cursor"
REPORTS = {
    "/spend/keys": {},
    "/spend/tags": {},
    "/spend/end_users": {},
    "/spend/logs": {},
    "/global/spend/keys": {},
    "/user/daily/activity": DAYS,
    "/team/daily/activity": DAYS,
}
# Of a caller who sees all.
STATEMENTS = {
    "/spend/keys": 2,
    "/spend/tags": 1,
    "/spend/end_users": 1,
    "/spend/logs": 2,
    "/global/spend/keys": 2,
    "/user/daily/activity": 3,
    "/team/daily/activity": 3,
}
METRICS = {
    "spend": 0.0,
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation_input_tokens": 0,
    "total_tokens": 0,
    "api_requests": 0,
    "successful_requests": 0,
    "failed_requests": 0,
}


def metrics(spend: float, prompt: int, completion: int, requests: int = 1) -> dict[str, Any]:
    return METRICS | {
        "spend": spend,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "api_requests": requests,
        "successful_requests": requests,
    }


def lines(answer: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer, newline="")))


class World:
    """A key `ann` of the user ann in the team t, one `bob` without either, and three charges."""

    def __init__(self, api: Api, database: Database) -> None:
        self.ann = api.generate(key_alias="ann", user_id="ann", team_id="t")
        self.bob = api.generate(key_alias="bob")
        ann, bob = self.ann["key_id"], self.bob["key_id"]
        add_charges(
            database,
            charge(
                ann, 0.1, user_id="ann", team_id="t", organization_id="o", model="openai/gpt-4o", request_id="one",
                input_tokens=10, output_tokens=1, tags=["x", "y"], end_user="eve",
            ),
            charge(ann, 0.2, START - timedelta(days=1), user_id="ann", team_id="t", model="m", input_tokens=5),
            charge(bob, 2, START - timedelta(minutes=1), model="m", output_tokens=7, tags=["x"], request_id="two"),
        )  # fmt: skip


@pytest.fixture
def world(api: Api, database: Database) -> World:
    return World(api, database)


# --- what the reports hold -----------------------------------------------------------------------------------


def test_the_activity_of_users_is_told_by_day_model_provider_user_and_key(api: Api, world: World):
    answer = api.get("/user/daily/activity", **DAYS)

    ann, bob = world.ann["token"], world.bob["token"]
    of_ann = {"metadata": {"key_alias": "ann", "team_id": "t"}, "metrics": metrics(0.1, 10, 1)}
    of_bob = {"metadata": {"key_alias": "bob", "team_id": None}, "metrics": metrics(2.0, 0, 7)}
    part_of_ann = {"metrics": metrics(0.1, 10, 1), "metadata": {}, "api_key_breakdown": {ann: of_ann}}
    assert answer.body["results"][0] == {
        "date": TODAY,
        "metrics": metrics(2.1, 10, 8, 2),
        "breakdown": {
            "models": {
                "openai/gpt-4o": part_of_ann,
                "m": {"metrics": metrics(2.0, 0, 7), "metadata": {}, "api_key_breakdown": {bob: of_bob}},
            },
            "providers": {"openai": part_of_ann},
            "api_keys": {ann: of_ann, bob: of_bob},
            "entities": {"ann": part_of_ann},
            "model_groups": {},
            "mcp_servers": {},
            "endpoints": {},
        },
    }
    assert [day["date"] for day in answer.body["results"]] == [TODAY, YESTERDAY]
    assert answer.body["metadata"] == {
        "total_spend": 2.3,
        "total_prompt_tokens": 15,
        "total_completion_tokens": 8,
        "total_tokens": 23,
        "total_api_requests": 3,
        "total_successful_requests": 3,
        "total_failed_requests": 0,
        "total_cache_read_input_tokens": 0,
        "total_cache_creation_input_tokens": 0,
        "page": 1,
        "total_pages": 1,
        "has_more": False,
    }


def test_the_activity_of_teams_leaves_out_what_is_of_none(api: Api, world: World):
    api.post("/team/new", {"team_id": "t", "team_alias": "Search"})

    answer = api.get("/team/daily/activity", **DAYS)

    assert answer.body["metadata"]["total_spend"] == 0.3
    entities = answer.body["results"][0]["breakdown"]["entities"]
    assert {name: entity["metadata"] for name, entity in entities.items()} == {"t": {"team_alias": "Search"}}


def test_keys_quote_the_spend_that_info_quotes_and_come_most_spent_first(api: Api, world: World):
    api.post("/key/update", {"key": world.bob["token"], "spend": 3})
    api.post("/key/update", {"key": world.ann["token"], "spend": 4})

    found = api.get("/spend/keys").body

    assert [(row["key_alias"], row["spend"]) for row in found] == [("ann", 4), ("bob", 3)]
    assert {name: value for name, value in found[1].items() if name != "token"} == api.info(world.bob["token"])


def test_tags_are_counted_and_summed_most_spent_first(api: Api, world: World):
    assert api.get("/spend/tags").body == [
        {"individual_request_tag": "x", "log_count": 2, "total_spend": 2.1},
        {"individual_request_tag": "y", "log_count": 1, "total_spend": 0.1},
    ]


def test_end_users_are_counted_and_summed(api: Api, world: World):
    assert api.get("/spend/end_users").body == [{"end_user": "eve", "total_count": 1, "total_spend": 0.1}]


def test_the_keys_of_the_last_thirty_days_come_most_spent_first(api: Api, world: World, database: Database):
    add_charges(database, charge(world.ann["key_id"], 50, START - timedelta(days=31)))

    assert api.get("/global/spend/keys").body == [
        {"api_key": world.bob["token"], "key_alias": "bob", "key_name": world.bob["key_name"], "total_spend": 2.0},
        {"api_key": world.ann["token"], "key_alias": "ann", "key_name": world.ann["key_name"], "total_spend": 0.3},
    ]
    assert [row["key_alias"] for row in api.get("/global/spend/keys", limit=1).body] == ["bob"]
    assert api.get("/global/spend/keys", start_date="2026-01-01").body[0]["key_alias"] == "ann"


def test_a_charge_is_told_in_the_fields_of_a_log(api: Api, world: World):
    newest = api.get("/spend/logs").body[0]

    assert newest == {
        "request_id": "one",
        "api_key": world.ann["token"],
        "spend": 0.1,
        "total_tokens": 11,
        "prompt_tokens": 10,
        "completion_tokens": 1,
        "startTime": "2026-11-18T13:47:33.000000Z",
        "endTime": "2026-11-18T13:47:33.000000Z",
        "model": "openai/gpt-4o",
        "custom_llm_provider": "openai",
        "user": "ann",
        "metadata": {"user_api_key_alias": "ann"},
        "request_tags": ["x", "y"],
        "team_id": "t",
        "organization_id": "o",
        "end_user": "eve",
        "status": "success",
        "call_type": "",
        "model_id": "",
        "model_group": "",
        "api_base": "",
        "cache_hit": "",
        "cache_key": "",
        "completionStartTime": None,
        "requester_ip_address": None,
        "session_id": None,
        "messages": {},
        "response": {},
        "proxy_server_request": {},
    }


def test_logs_of_whole_days_are_summed_up_unless_asked_otherwise(api: Api, world: World):
    ann, bob = world.ann["token"], world.bob["token"]

    assert api.get("/spend/logs", **DAYS).body == [
        {"startTime": YESTERDAY, "spend": 0.2, "users": {"ann": 0.2}, "models": {"m": 0.2}, ann: 0.2},
        {
            "startTime": TODAY,
            "spend": 2.1,
            "users": {"ann": 0.1, "": 2.0},
            "models": {"openai/gpt-4o": 0.1, "m": 2.0},
            ann: 0.1,
            bob: 2.0,
        },
    ]
    assert len(api.get("/spend/logs", **DAYS, summarize="false").body) == 3


def test_corrections_and_checkpoints_are_no_calls(api: Api, world: World):
    api.post("/key/update", {"key": world.bob["token"], "spend": 3})

    assert len(api.get("/spend/logs").body) == 3


def test_a_deleted_key_keeps_its_name_in_the_reports(api: Api, world: World):
    api.post("/key/delete", {"keys": [world.ann["token"]]})

    assert api.get("/global/spend/keys").body[1]["key_alias"] == "ann"
    assert [row["api_key"] for row in api.get("/spend/logs", api_key=world.ann["token"]).body] == [
        world.ann["token"]
    ] * 2
    assert [row["key_alias"] for row in api.get("/spend/keys").body] == ["bob"]


def test_a_rotated_key_keeps_its_past(api: Api, world: World):
    new = api.post("/key/regenerate", {"key": world.ann["token"]}).body["token"]

    assert new in api.get("/user/daily/activity", **DAYS).body["results"][1]["breakdown"]["api_keys"]
    assert len(api.get("/spend/logs", api_key=new).body) == 2
    assert api.get("/spend/logs", api_key=world.ann["token"]).body == []


# --- filters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "spends"),
    [
        ({"user_id": "ann"}, [0.1, 0.2]),
        ({"user_id": "nobody"}, []),
        ({"model": "m"}, [2.0, 0.2]),
        ({"team_ids": "t,u"}, [0.1, 0.2]),
        ({"tags": "x"}, [0.1, 2.0]),
        ({"tags": "x,y"}, [0.1]),
        ({"tags": "%"}, []),
        ({"end_user": "eve"}, [0.1]),
        ({"request_id": "two"}, [2.0]),
        ({"api_key": "unknown"}, []),
        ({"start_date": TODAY}, [0.1, 2.0]),
        ({"end_date": YESTERDAY}, [0.2]),
        ({**DAYS, "request_id": "two"}, [2.0]),
    ],
)
def test_logs_are_filtered(api: Api, world: World, query: dict[str, str], spends: list[float]):
    assert [row["spend"] for row in api.get("/spend/logs", **query).body] == spends


@pytest.mark.parametrize(
    ("query", "total"),
    [
        ({"model": "m"}, 2.2),
        ({"user_id": "ann"}, 0.3),
        ({"team_ids": "u"}, 0),
        ({"start_date": TODAY}, 2.1),
        ({"end_date": YESTERDAY}, 0.2),
    ],
)
def test_activity_is_filtered(api: Api, world: World, query: dict[str, str], total: float):
    path = "/team/daily/activity" if "team_ids" in query else "/user/daily/activity"

    assert api.get(path, **DAYS | query).body["metadata"]["total_spend"] == total


def test_activity_is_filtered_by_key_and_by_teams_left_out(api: Api, world: World):
    of_ann = api.get("/user/daily/activity", **DAYS, api_key=world.ann["token"]).body
    by_plaintext = api.call("GET", "/user/daily/activity", query={**DAYS, "api_key": world.ann["key"]}).body

    assert of_ann["metadata"]["total_spend"] == by_plaintext["metadata"]["total_spend"] == 0.3
    assert api.get("/team/daily/activity", **DAYS, exclude_team_ids="t").body["results"] == []


def test_tags_are_filtered_by_name_key_model_and_day(api: Api, world: World):
    def found(**query: str) -> list[str]:
        return [row["individual_request_tag"] for row in api.get("/spend/tags", **query).body]

    assert found(tags="y,z") == ["y"]
    assert found(api_key=world.bob["token"]) == ["x"]
    assert found(model="openai/gpt-4o") == ["x", "y"]
    assert found(end_date=YESTERDAY) == []


# --- whom they show it ---------------------------------------------------------------------------------------


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


# --- page by page --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/spend/logs", "/user/daily/activity"])
@pytest.mark.parametrize("by", ["cursor", "page"])
def test_pages_hold_every_row_once(api: Api, world: World, path: str, by: str):
    query: dict[str, Any] = {**REPORTS[path], "page_size": 1}
    spends = []
    for number in range(1, 4):
        answer = api.get(path, **query)
        spends += (
            [row["spend"] for row in answer.body]
            if path == "/spend/logs"
            else [answer.body["metadata"]["total_spend"]]
        )
        assert (CURSOR in answer.headers) == (number < 3)
        if path != "/spend/logs":
            assert answer.body["metadata"]["total_pages"] == 3
            assert answer.body["metadata"]["has_more"] == (number < 3)
        query |= {"cursor": answer.headers.get(CURSOR)} if by == "cursor" else {"page": number + 1}

    assert sorted(spends) == [0.1, 0.2, 2.0]


def test_a_cursor_is_not_thrown_off_by_what_is_charged_meanwhile(api: Api, world: World, database: Database):
    first = api.get("/spend/logs", page_size=1)
    add_charges(database, charge(world.bob["key_id"], 9, START + timedelta(seconds=1)))

    second = api.get("/spend/logs", page_size=1, cursor=first.headers[CURSOR])

    assert [row["spend"] for row in second.body] == [2.0]


@pytest.mark.parametrize("path", ["/spend/keys", "/spend/tags", "/global/spend/keys"])
def test_pages_of_sums_go_by_number(api: Api, world: World, path: str):
    sizes = "limit" if path == "/global/spend/keys" else "page_size"
    pages = [api.get(path, page=number, **{sizes: 1}).body for number in (1, 2, 3)]

    assert [len(page) for page in pages] == [1, 1, 0]
    assert pages[0] != pages[1]


def cost(services: Services, api: Api, path: str, caller: str = MASTER_KEY, **query: Any) -> int:
    """How many statements an answer takes."""
    with statements(services.database) as sent:
        assert api.get(path, caller, **query).status == 200
    return len(sent)


@pytest.mark.parametrize("path", REPORTS)
def test_a_report_of_three_hundred_takes_as_many_statements_as_one_of_one(
    api: Api, services: Services, database: Database, path: str
):
    key_id = api.generate(user_id="ann", team_id="t")["key_id"]
    made = [
        charge(f"k{n}", user_id="ann", team_id="t", model=f"m{n}", tags=[f"t{n}"], end_user="e")
        for n in range(300)
    ]
    costs = []
    for charges in ([charge(key_id, user_id="ann", team_id="t", tags=["x"], end_user="e")], made):
        add_charges(database, *charges)
        costs.append(cost(services, api, path, **REPORTS[path]))

    assert costs[0] == costs[1] == STATEMENTS[path]


def test_a_caller_who_does_not_see_all_takes_one_statement_more(api: Api, people: People, services: Services):
    lead = people["team admin"]
    api.get("/models", lead)
    for path, days in REPORTS.items():
        if path not in {"/global/spend/keys", "/user/daily/activity"}:
            assert cost(services, api, path, lead, **days) == STATEMENTS[path] + 1, path


# --- what cannot be asked ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "query", "param"),
    [
        ("/user/daily/activity", {}, "start_date"),
        ("/team/daily/activity", {"start_date": TODAY}, "start_date"),
        ("/user/daily/activity", {"start_date": TODAY, "end_date": YESTERDAY}, "start_date"),
        ("/spend/tags", {"start_date": TODAY, "end_date": YESTERDAY}, "start_date"),
        ("/spend/logs", {"cursor": "nonsense"}, "cursor"),
        ("/spend/logs", {"cursor": "é"}, "cursor"),
        ("/spend/logs", {"cursor": "WyJhIiwxXQ"}, "cursor"),  # ["a",1]
        ("/spend/logs", {"cursor": "WyIyMDI2LTExLTE4IiwxXQ"}, "cursor"),  # a day, no instant
        ("/spend/logs", {"cursor": "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzIzOjAwIiwxXQ"}, "cursor"),  # before all time
        ("/user/daily/activity", {**DAYS, "cursor": "WyJhIl0"}, "cursor"),
        ("/user/daily/activity", {**DAYS, "cursor": "WyJcdTAwMDAiLCIiLCIiLCIiLCIiLCIiXQ"}, "cursor"),  # a NUL
    ],
)
@on_one_store
def test_what_makes_no_sense_is_refused(api: Api, path: str, query: dict[str, str], param: str):
    assert api.get(path, **query).summary == (400, "invalid_request_error", param)


@pytest.mark.parametrize(
    "query",
    [
        {"start_date": "yesterday"},
        {"start_date": "20261118"},
        {"start_date": "2026-02-30"},
        {"end_date": "2026-11-18T00:00:00"},
        {"page": "0"},
        {"page_size": "1001"},
        {"format": "xml"},
        {"tags": ",".join("x" * 101)},
    ],
)
@on_one_store
def test_what_does_not_fit_the_schema_is_refused(api: Api, query: dict[str, str]):
    assert api.get("/spend/logs", **query).status == 422


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_the_edges_of_time_can_be_asked_for(api: Api, world: World, day: str):
    for path in REPORTS:
        assert api.get(path, start_date=day, end_date=day).status == 200, path
        assert api.get(path, end_date=day, start_date="0001-01-01").status == 200, path


def test_a_summary_that_would_be_too_much_is_refused(api: Api, database: Database):
    add_charges(database, *(charge("k", 1e-9, model=f"m{number}") for number in range(10_001)))

    assert api.get("/spend/logs", **DAYS).summary == (400, "invalid_request_error", "start_date")
    assert api.get("/spend/logs", **DAYS, model="m7").body[0]["spend"] == 1e-9


# --- as a table ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", REPORTS)
def test_every_report_is_a_table_on_request(api: Api, world: World, path: str):
    asked = api.get(path, **REPORTS[path], format="csv")
    accepted = api.call("GET", path, query=REPORTS[path], headers={"Accept": "text/csv"})

    for answer in (asked, accepted):
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    plain = api.call("GET", path, query={**REPORTS[path], "format": "json"}, headers={"Accept": "text/csv"})
    assert plain.headers["content-type"] == "application/json"
    assert api.call("GET", path, query=REPORTS[path], headers={"Accept": "*/*"}).body == plain.body


def test_a_table_holds_what_the_report_holds(api: Api, world: World):
    def table(path: str, **query: str) -> list[dict[str, str]]:
        return lines(api.get(path, **query, format="csv").body)

    charges = table("/spend/logs")
    assert [(row["request_id"], row["spend"], row["request_tags"]) for row in charges[:2]] == [
        ("one", "0.1", '["x","y"]'),
        ("two", "2.0", '["x"]'),
    ]
    days = table("/user/daily/activity", **DAYS, user_id="ann")
    assert [(row["date"], row["key_alias"], row["model"], row["spend"], row["api_requests"]) for row in days] == [
        (TODAY, "ann", "openai/gpt-4o", "0.1", "1"),
        (YESTERDAY, "ann", "m", "0.2", "1"),
    ]
    assert [row["token"] for row in table("/spend/keys")] == [row["token"] for row in api.get("/spend/keys").body]
    assert {(row["date"], row["model"], row["spend"]) for row in table("/spend/logs", **DAYS)} == {
        (YESTERDAY, "m", "0.2"),
        (TODAY, "openai/gpt-4o", "0.1"),
        (TODAY, "m", "2.0"),
    }


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", '=HYPERLINK("http://x";"y")']
)
@on_one_store
def test_no_name_becomes_a_formula_in_a_spreadsheet(api: Api, database: Database, name: str):
    add_charges(database, charge("k", tags=[name], end_user=name, model=name, request_id=name))

    for path in ("/spend/tags", "/spend/end_users", "/spend/logs"):
        (row,) = lines(api.get(path, format="csv").body)
        assert f"'{name}" in row.values(), path
        assert not any(cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values())


def test_an_amount_is_written_out_and_no_formula(api: Api, world: World, database: Database):
    add_charges(database, charge(world.bob["key_id"], 1e-9, START + timedelta(hours=1)))

    answer = api.get("/spend/logs", format="csv", page_size=1)

    assert lines(answer.body)[0]["spend"] == "0.000000001"
    assert answer.headers[CURSOR]

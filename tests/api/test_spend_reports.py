"""What the reports hold, and what filters leave of it."""

from datetime import timedelta
from typing import Any

import pytest

from app.db import Database
from tests.api.spending import DAYS, TODAY, YESTERDAY, World
from tests.clients import Api
from tests.clocks import START
from tests.factories import add_charges, charge

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

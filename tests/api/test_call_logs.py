"""POST /key/log: who may tell of a call, what is kept of it, and that a call is told of once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app import create_app
from app.config import Settings
from app.container import Services, build
from app.domain import minting
from app.models import call_logs, ledger
from tests import leaks
from tests.api.calls import allowed, post_settle, settle
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
from tests.factories import add_team, add_user, on_one_store, rows, unchanged

WEBHOOK = {"callback_name": "generic_api", "callback_vars": {"generic_api_endpoint": "http://receiver.example"}}
LANGFUSE = {"callback_name": "langfuse", "callback_type": "failure", "callback_vars": {}}
LOGGING = {"logging": [WEBHOOK, LANGFUSE]}
MESSAGES = [{"role": "user", "content": "a distinctive question"}]
RESPONSE = {"choices": [{"message": {"content": "a distinctive answer"}}]}


def log(api: Api, *, caller: str = MASTER_KEY, **sent: Any) -> Answer:
    return api.post("/key/log", {"status": "success", **sent}, key=caller)


def logged(api: Api, **sent: Any) -> dict[str, Any]:
    answer = log(api, **sent)
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.body
    return found


def kept(services: Services, **wanted: Any) -> dict[str, Any]:
    (row,) = rows(services.database, call_logs, **wanted)
    return row


# --- what is kept ----------------------------------------------------------------------------------------------


def test_a_finished_call_is_kept_for_the_callbacks_of_its_key(api: Api, services: Services, clock: MovableClock):
    add_user(services.database, "ann", user_email="ann@example.com")
    add_team(services.database, "t", {"ann": "user"}, team_alias="Team")
    made = api.generate(key_alias="ci", team_id="t", user_id="ann", max_budget=9, metadata=LOGGING)

    answer = logged(
        api,
        key=made["key"],
        request_id="r",
        start_time=clock.now().timestamp() - 2,
        end_time=(clock.now() - timedelta(seconds=1)).isoformat(),
        model="gpt-4o",
        model_group="best",
        custom_llm_provider="openai",
        api_base="https://api.example",
        usage={"input_tokens": 3, "output_tokens": 4},
        response_cost=0.25,
        request_tags=["a"],
        end_user="e",
        session_id="s",
        trace_id="tr",
        call_type="aresponses",
        route="/v1/responses",
        model_parameters={"temperature": 0},
        cache_hit=True,
        metadata={"note": 1, "user_api_key_alias": "forged"},
    )

    assert answer == {"key_id": made["key_id"], "request_id": "r", "callbacks": 1, "duplicate": False}
    row = kept(services)
    assert (row["key_id"], row["request_id"], row["created_at"]) == (made["key_id"], "r", clock.now())
    assert row["targets"] == [f"callback:key:{made['key_id']}:generic_api:success_and_failure:0"]
    told = row["payload"]
    assert {name: told[name] for name in ("id", "litellm_call_id", "trace_id", "session_id", "status")} == {
        "id": row["log_id"],
        "litellm_call_id": "r",
        "trace_id": "tr",
        "session_id": "s",
        "status": "success",
    }
    assert (told["model"], told["model_group"], told["response_cost"], told["total_tokens"]) == (
        "gpt-4o",
        "best",
        0.25,
        7,
    )
    assert (told["endTime"] - told["startTime"], told["response_time"]) == (1, 1)
    assert told["metadata"] == {
        "note": 1,
        "user_api_key_hash": minting.digest(made["key"]),
        "user_api_key_alias": "ci",
        "user_api_key_spend": 0,
        "user_api_key_max_budget": 9,
        "user_api_key_budget_reset_at": None,
        "user_api_key_team_id": "t",
        "user_api_key_team_alias": "Team",
        "user_api_key_user_id": "ann",
        "user_api_key_user_email": "ann@example.com",
        "user_api_key_org_id": None,
        "user_api_key_project_id": None,
        "user_api_key_end_user_id": "e",
        "user_api_key_request_route": "/v1/responses",
    }


@pytest.mark.parametrize(("status", "callbacks"), [("success", 1), ("failure", 2)])
def test_a_call_goes_to_those_that_hear_of_its_like(api: Api, services: Services, status: str, callbacks: int):
    key = api.generate(metadata=LOGGING)["key"]

    assert logged(api, key=key, request_id="r", status=status)["callbacks"] == callbacks
    assert len(kept(services)["targets"]) == callbacks


def test_a_call_that_goes_nowhere_is_not_kept(api: Api, services: Services):
    key = api.generate()["key"]
    spoken_nowhere = api.generate(metadata={"logging": [{"callback_name": "braintrust"}]})["key"]

    with unchanged(services.database):
        for named in (key, spoken_nowhere):
            for _ in range(2):
                answer = logged(api, key=named, request_id="r")
                assert (answer["callbacks"], answer["duplicate"]) == (0, False)


def test_the_teams_callbacks_hear_of_a_key_without_any(api: Api, services: Services):
    assert api.post("/team/new", {"team_id": "t:1", "metadata": {"logging": [WEBHOOK]}}).status == 200
    key = api.generate(team_id="t:1")["key"]
    silent = api.generate(team_id="t:1", metadata={"logging": []})["key"]

    assert logged(api, key=key, request_id="r")["callbacks"] == 1
    assert logged(api, key=silent, request_id="r")["callbacks"] == 0
    assert kept(services)["targets"] == ["callback:team:t:1:generic_api:success_and_failure:0"]


def test_a_call_may_end_after_its_key_was_deleted(api: Api, services: Services):
    made = api.generate(metadata=LOGGING)
    held = allowed(api, made["key"])
    assert api.post("/key/delete", {"keys": [made["key"]]}).status == 200

    by_reservation = logged(api, reservation_id=held["reservation_id"])
    by_name = logged(api, key=made["key"], request_id="another")

    assert (by_reservation["callbacks"], by_name["callbacks"]) == (1, 1)
    assert {row["key_id"] for row in rows(services.database, call_logs)} == {made["key_id"]}


def test_an_old_secret_in_its_grace_names_its_key(api: Api, clock: MovableClock):
    made = api.generate(metadata=LOGGING)
    api.post("/key/regenerate", {"key": made["key"], "grace_period": "1h"})

    assert logged(api, key=made["key"], request_id="r")["key_id"] == made["key_id"]
    assert logged(api, key=minting.digest(made["key"]), request_id="r")["duplicate"]
    clock.advance(3600)
    assert log(api, key=made["key"], request_id="r").status == 404


def test_what_the_reservation_knows_need_not_be_told(api: Api, services: Services, clock: MovableClock):
    key = api.generate(metadata={**LOGGING, "tags": ["of key"]})["key"]
    held = allowed(api, key, request_id="r", user="e", tags=["a"])
    began = clock.now()
    clock.advance(2)

    logged(api, reservation_id=held["reservation_id"])

    told = kept(services)["payload"]
    assert (told["startTime"], told["endTime"]) == (began.timestamp(), clock.now().timestamp())
    assert (told["model"], told["request_tags"], told["end_user"]) == ("gpt-4o", ["of key", "a"], "e")
    assert told["litellm_call_id"] == "r"


# --- once ------------------------------------------------------------------------------------------------------


def test_a_call_is_told_of_once(api: Api, services: Services):
    key, other = api.generate(metadata=LOGGING)["key"], api.generate(metadata=LOGGING)["key"]
    first = logged(api, key=key, request_id="r", model="a")

    with unchanged(services.database):
        again = logged(api, key=key, request_id="r", model="b")

    assert (first["duplicate"], again) == (False, {**first, "duplicate": True})
    assert not logged(api, key=other, request_id="r")["duplicate"]
    assert not logged(api, key=key, request_id="r2")["duplicate"]
    assert len({row["log_id"] for row in rows(services.database, call_logs)}) == 3


def test_every_call_of_a_batch_is_answered_on_its_own(api: Api, services: Services):
    key, plain = api.generate(metadata=LOGGING)["key"], api.generate()["key"]
    held = allowed(api, key, request_id="held")
    ok: dict[str, Any] = {"status": "success"}
    sent: list[tuple[dict[str, Any], Any]] = [
        ({**ok, "reservation_id": held["reservation_id"]}, (1, False)),
        ({**ok, "key": key, "request_id": "held"}, (1, True)),
        ({**ok, "key": key, "request_id": "new", "model": "first"}, (1, False)),
        ({**ok, "key": key, "request_id": "new", "model": "second"}, (1, True)),
        ({"status": "failure", "key": key, "request_id": "failed"}, (2, False)),
        ({**ok, "key": plain, "request_id": "r"}, (0, False)),
        ({**ok, "key": "sk-unknown-key-0000", "request_id": "r"}, ("404", "key")),
        ({**ok, "reservation_id": "forged"}, ("400", "reservation_id")),
        ({**ok, "key": key}, ("400", "reservation_id")),
        ({"key": key, "request_id": "r"}, ("400", "status")),
        ({**ok, "key": key, "request_id": "r", "start_time": 2, "end_time": 1}, ("400", "end_time")),
        ({**ok, "key": key, "request_id": "r", "response_cost": -1}, ("400", "response_cost")),
        ({**ok, "key": key, "request_id": "last"}, (1, False)),
    ]

    answer = api.post("/key/log", {"logs": [entry for entry, _ in sent]})

    assert answer.status == 200, answer
    for (entry, expected), found in zip(sent, answer.body["results"], strict=True):
        if isinstance(expected[0], str):
            assert (found["error"]["code"], found["error"]["param"]) == expected, entry
        else:
            assert (found["callbacks"], found["duplicate"]) == expected, entry
    told = {row["request_id"]: row["payload"] for row in rows(services.database, call_logs)}
    assert told.keys() == {"held", "new", "failed", "last"}
    assert told["new"]["model"] == "first"


def test_a_thousand_calls_are_taken_at_once_and_no_more(api: Api, services: Services):
    key = api.generate(metadata=LOGGING)["key"]
    sent = [{"status": "success", "key": key, "request_id": str(number)} for number in range(1_000)]

    with unchanged(services.database):
        assert api.post("/key/log", {"logs": [*sent, sent[0]]}).status == 422
        assert api.post("/key/log", {"logs": []}).body == {"results": []}
    answer = api.post("/key/log", {"logs": sent})

    assert [found["duplicate"] for found in answer.body["results"]] == [False] * 1_000
    assert len(rows(services.database, call_logs)) == 1_000


# --- bad input -------------------------------------------------------------------------------------------------


@on_one_store
@pytest.mark.parametrize(
    ("sent", "status", "place"),
    [
        ({}, 400, "status"),
        ({"status": None}, 422, "status"),
        ({"status": "done"}, 422, "status"),
        ({"status": "success", "start_time": "yesterday"}, 422, "start_time"),
        ({"status": "success", "start_time": 1e300}, 422, "start_time"),
        ({"status": "success", "start_time": float("nan")}, 422, "start_time"),
        ({"status": "success", "end_time": True}, 422, "end_time"),
        ({"status": "success", "start_time": 10, "end_time": 9}, 400, "end_time"),
        ({"status": "success", "usage": {"input_tokens": -1}}, 422, "input_tokens"),
        ({"status": "success", "usage": {"total_tokens": 1.5}}, 422, "total_tokens"),
        ({"status": "success", "response_cost": "much"}, 422, "response_cost"),
        ({"status": "success", "response_cost": float("inf")}, 400, "response_cost"),
        ({"status": "success", "request_tags": "a"}, 422, "request_tags"),
        ({"status": "success", "metadata": []}, 422, "metadata"),
        ({"status": "success", "metadata": {"a": "\x00"}}, 422, "metadata"),
        ({"status": "success", "messages": {"a": 2**70}}, 422, "messages"),
        ({"status": "success", "model": "m" * 513}, 422, "model"),
        ({"status": "success", "error_str": "e" * 10_001}, 422, "error_str"),
        ({"status": "success", "api_base": 5}, 422, "api_base"),
        ({"status": "success", "logs": {}}, 422, "logs"),
    ],
)  # fmt: skip
def test_a_wrong_log_is_refused_with_the_place_of_the_fault_and_nothing_is_kept(
    api: Api, services: Services, sent: dict[str, Any], status: int, place: str
):
    key = api.generate(metadata=LOGGING)["key"]

    with unchanged(services.database):
        answer = api.post("/key/log", {"key": key, "request_id": "r", **sent})

    assert answer.status == status, answer
    assert place in (answer.body["detail"][0]["loc"] if status == 422 else [answer.error["param"]])


@on_one_store
def test_a_body_above_the_limit_is_refused(api: Api, services: Services, settings: Settings):
    key = api.generate(metadata={**LOGGING, "log_messages": True})["key"]

    with unchanged(services.database):
        answer = log(api, key=key, request_id="r", messages="x" * settings.max_body_bytes)

    assert answer.status == 413


@on_one_store
def test_a_call_without_a_name_is_refused(api: Api):
    for sent in ({}, {"request_id": "r"}, {"key": "sk-unknown-key-0000"}):
        assert log(api, **sent).summary == (400, "invalid_request_error", "reservation_id")


@on_one_store
def test_a_gateway_tells_only_of_the_keys_that_it_is_for(api: Api, services: Services):
    add_team(services.database, "t")
    add_team(services.database, "u")
    gateway = api.generate(permissions={"gateway": True, "gateway_teams": ["t"]})["key"]
    mine, foreign = (api.generate(team_id=team, metadata=LOGGING)["key"] for team in ("t", "u"))
    held = allowed(api, foreign)

    assert log(api, caller=gateway, key=mine, request_id="r").status == 200
    with unchanged(services.database):
        for sent in (
            {"key": foreign, "request_id": "r"},
            {"key": "sk-unknown-key-0000", "request_id": "r"},
            {"reservation_id": held["reservation_id"]},
        ):
            answer = log(api, caller=gateway, **sent)
            assert (answer.status, answer.error["message"]) == (404, "Key not found in database"), answer
        assert log(api, caller=mine, key=mine, request_id="r2").status in {401, 403}


# --- bodies and keys -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "team", "bodies"),
    [
        ({}, {}, False),
        ({"log_messages": True}, {}, True),
        ({}, {"log_messages": True}, True),
        ({"log_messages": False}, {"log_messages": True}, False),
    ],
)
def test_bodies_never_reach_the_store_unless_they_are_allowed(
    api: Api, services: Services, key: dict[str, Any], team: dict[str, Any], bodies: bool
):
    assert api.post("/team/new", {"team_id": "t", "metadata": team}).status == 200
    made = api.generate(team_id="t", metadata={**LOGGING, **key})["key"]

    logged(api, key=made, request_id="r", messages=MESSAGES, response=RESPONSE)
    settle(api, allowed(api, made), 1, log={"status": "success", "messages": MESSAGES, "response": RESPONSE})

    for row in rows(services.database, call_logs):
        told = row["payload"]
        assert (told["messages"], told["response"]) == ((MESSAGES, RESPONSE) if bodies else (None, None))


@on_one_store
def test_a_setting_allows_bodies_where_nobody_says_otherwise(
    settings: Settings, clock: MovableClock, services: Services
):
    open_hearted = build(replace(settings, log_messages=True), clock)
    api = Api(create_app(open_hearted))
    silent, key = (api.generate(metadata={**LOGGING, **more})["key"] for more in ({"log_messages": False}, {}))

    for named in (silent, key):
        logged(api, key=named, request_id=named[-4:], messages=MESSAGES)

    assert kept(services, request_id=silent[-4:])["payload"]["messages"] is None
    assert kept(services, request_id=key[-4:])["payload"]["messages"] == MESSAGES
    open_hearted.close()


def test_no_key_in_what_a_gateway_tells_reaches_the_store(api: Api, services: Services):
    key = api.generate(metadata={**LOGGING, "log_messages": True})["key"]
    leak = {"authorization": f"Bearer {key}", "nested": [f'{{"user_api_key": "{key}"}}']}
    told: dict[str, Any] = {
        "messages": [{"role": "user", "content": f"my key is {key}"}],
        "response": leak,
        "error_str": f"401 for {key}",
        "error_information": leak,
        "model_parameters": leak,
        "metadata": {"user_api_key": key, "headers": leak},
        "end_user": key,
        "request_tags": [key],
        "api_base": f"https://api.example?key={key}",
    }

    logged(api, key=key, request_id="r", **told)
    settle(api, allowed(api, key), 1, log={"status": "success", **told})

    # The scanner over the whole store forgives what a request itself has sent: here nothing is forgiven.
    stored = repr(rows(services.database, call_logs)).encode()
    assert leaks.SECRETS.inside(stored) == set()
    assert minting.key_name(key).encode() in stored


# --- with the charge -------------------------------------------------------------------------------------------


def test_a_settle_hands_over_the_call_with_its_charge(api: Api, services: Services, clock: MovableClock):
    key = api.generate(metadata=LOGGING)["key"]
    held = allowed(api, key, request_id="r", user="e", tags=["a"])
    began = clock.now()
    clock.advance(3)
    sent = {"usage": {"input_tokens": 2, "output_tokens": 3}, "log": {"status": "success", "cache_hit": False}}

    found = settle(api, held, 0.5, **sent)
    with unchanged(services.database):
        again = settle(api, held, 0.5, **sent)

    assert (found["cost"], found["duplicate"], found["log"]) == (0.5, False, {"callbacks": 1, "duplicate": False})
    assert (again["duplicate"], again["log"]) == (True, {"callbacks": 1, "duplicate": True})
    told = kept(services)["payload"]
    assert (told["response_cost"], told["total_tokens"], told["model"]) == (0.5, 5, "gpt-4o")
    assert (told["request_tags"], told["end_user"]) == (["a"], "e")
    assert (told["startTime"], told["endTime"]) == (began.timestamp(), clock.now().timestamp())
    assert log(api, key=key, request_id="r").body["duplicate"]


def test_in_a_batch_of_charges_some_bring_their_logs(api: Api, services: Services):
    key, plain = api.generate(metadata=LOGGING)["key"], api.generate()["key"]
    ok = {"status": "success", "response_cost": 7, "model": "told"}
    charges: list[dict[str, Any]] = [
        {"key": key, "request_id": "a", "cost": 1, "log": ok},
        {"key": key, "request_id": "b", "cost": 1},
        {"key": key, "request_id": "a", "cost": 1, "log": ok},
        {"key": plain, "request_id": "c", "cost": 1, "log": ok},
        {"key": key, "request_id": "d", "cost": 1, "log": {}},
        {"key": key, "request_id": "e", "cost": -1, "log": ok},
        {"key": key, "request_id": "f", "cost": 1, "log": {"status": "failure"}},
    ]

    results = post_settle(api, charges=charges).body["results"]

    assert [found.get("log") for found in results] == [
        {"callbacks": 1, "duplicate": False},
        None,
        {"callbacks": 1, "duplicate": True},
        {"callbacks": 0, "duplicate": False},
        None,
        None,
        {"callbacks": 2, "duplicate": False},
    ]
    assert [found.get("error", {}).get("param") for found in results] == [None] * 4 + ["status", "cost", None]
    told = {row["request_id"]: row["payload"] for row in rows(services.database, call_logs)}
    assert told.keys() == {"a", "f"}
    assert (told["a"]["response_cost"], told["a"]["model"]) == (7, "told")
    charged = {row["request_id"] for row in rows(services.database, ledger)}
    assert charged == {"a", "b", "c", "f"}


@on_one_store
def test_times_are_read_in_seconds_and_as_dates_alike(api: Api, services: Services):
    key = api.generate(metadata=LOGGING)["key"]
    instant = datetime(2026, 11, 18, 13, tzinfo=UTC)

    for number, told in enumerate((instant.timestamp(), "2026-11-18T13:00:00Z", "2026-11-18T14:00:00+01:00")):
        logged(api, key=key, request_id=str(number), start_time=told, end_time=told)

    assert {row["payload"]["startTime"] for row in rows(services.database, call_logs)} == {instant.timestamp()}

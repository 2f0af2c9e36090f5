"""Charging many calls at once, giving back or holding on to one, and the number that all of them come to."""

from datetime import timedelta
from typing import Any

import pytest

from app.clock import iso
from app.container import Services
from app.dispatch import TaskName
from app.models import ledger
from tests.api.calls import MODEL, allowed, limit, post_settle, refused, settle
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import NANOS, on_one_store, rows, unchanged

MOST = 1_000


def fold(services: Services) -> None:
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)


# --- many at once ----------------------------------------------------------------------------------------------


def test_every_charge_of_a_batch_is_answered_on_its_own(api: Api, services: Services):
    key = api.generate(max_budget=9)["key"]
    held, done = allowed(api, key, request_id="held"), allowed(api, key, request_id="done")
    settle(api, done, 0.5)
    sent: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"reservation_id": held["reservation_id"], "cost": 1.5}, {"cost": 1.5, "estimate": 1, "overrun": 0.5}),
        ({"reservation_id": done["reservation_id"], "cost": 9}, {"cost": 0.5, "duplicate": True}),
        ({"key": key, "request_id": "unheld", "cost": 0.25}, {"cost": 0.25, "estimate": None, "duplicate": False}),
        ({"key": key, "request_id": "unheld", "cost": 3}, {"cost": 0.25, "duplicate": True}),
        ({"key": "sk-unknown-key-0000", "request_id": "r", "cost": 1}, {"error": ("404", "key")}),
        ({"reservation_id": "forged", "cost": 1}, {"error": ("400", "reservation_id")}),
        ({"key": key, "request_id": "no cost"}, {"error": ("400", "cost")}),
        ({"key": key, "request_id": "negative", "cost": -1}, {"error": ("400", "cost")}),
        ({"key": key, "request_id": "too much", "cost": 1e10}, {"error": ("400", "cost")}),
        ({"key": key, "request_id": "last", "cost": 0}, {"cost": 0}),
    ]

    answer = post_settle(api, charges=[charge for charge, _ in sent])

    assert answer.status == 200, answer
    for (charge, expected), found in zip(sent, answer.body["results"], strict=True):
        if "error" in expected:
            error = found["error"]
            assert (error["code"], error["param"]) == expected["error"], charge
        else:
            assert {name: found[name] for name in expected} == expected, charge
    assert {row["request_id"] for row in rows(services.database, ledger)} == {"held", "done", "unheld", "last"}
    assert api.info(key)["spend"] == 2.25
    shown = limit(allowed(api, key), "key")
    assert (shown["used"], shown["held"]) == (2.25, 1)


@on_one_store
@pytest.mark.parametrize(("path", "batch"), [("/key/settle", "charges"), ("/key/log", "logs")])
@pytest.mark.parametrize("beside", [{"request_id": "s"}, {"reservation_id": "r"}, {"model": "m"}])
def test_a_call_beside_many_calls_is_refused_and_none_is_lost(
    api: Api, services: Services, path: str, batch: str, beside: dict[str, Any]
):
    call = {
        "key": api.generate()["key"],
        "request_id": "r",
        "cost" if path == "/key/settle" else "response_cost": 1,
    }

    with unchanged(services.database):
        answer = api.post(path, {batch: [call], **beside})

    assert answer.summary == (400, "invalid_request_error", batch)
    assert api.post(path, {batch: [call], **dict.fromkeys(beside)}).status == 200


def test_a_thousand_charges_are_taken_at_once_and_no_more(api: Api, services: Services):
    assert api.post("/team/new", {"team_id": "t" * 36, "budget_duration": "1d"}).status == 200
    key = api.generate(team_id="t" * 36, user_id="u" * 36, budget_duration="1h")["key"]
    held = allowed(api, key, request_id="r", user="somebody@example.com", tags=["a", "b"])
    sent = [
        {"reservation_id": held["reservation_id"], "cost": 0.5},
        *({"key": key, "request_id": str(number), "cost": 0.001} for number in range(MOST - 1)),
    ]

    with unchanged(services.database):
        too_many = post_settle(api, charges=[*sent, sent[0]])
    answer = post_settle(api, charges=sent)
    again = post_settle(api, charges=sent)

    assert too_many.status == 422, too_many
    assert [found["duplicate"] for found in answer.body["results"]] == [False] * MOST
    assert [found["duplicate"] for found in again.body["results"]] == [True] * MOST
    assert api.info(key)["spend"] == 1.499
    fold(services)
    assert api.info(key)["spend"] == 1.499


@on_one_store
def test_a_thousand_reservations_fit_into_one_body(api: Api):
    assert api.post("/team/new", {"team_id": "t" * 36, "budget_duration": "1d"}).status == 200
    windows = [{"budget_duration": "1h", "max_budget": 9}, {"budget_duration": "1d", "max_budget": 9}]
    key = api.generate(team_id="t" * 36, user_id="u" * 36, budget_duration="1h", budget_limits=windows)["key"]
    held = allowed(api, key, user="somebody@example.com", tags=["a", "b"])

    answer = post_settle(api, charges=[{"reservation_id": held["reservation_id"], "cost": 0.5}] * MOST)

    assert answer.status == 200, answer
    assert len(answer.body["results"]) == MOST


@on_one_store
def test_an_empty_batch_charges_nothing(api: Api, services: Services):
    with unchanged(services.database):
        assert post_settle(api, charges=[]).body == {"results": []}


# --- giving back -----------------------------------------------------------------------------------------------


def test_a_release_gives_everything_back_once(api: Api, services: Services):
    key = api.generate(max_budget=1, tpm_limit=10, max_parallel_requests=1)["key"]
    held = allowed(api, key, request_id="r", estimate={"input_tokens": 10})
    identity = {"key_id": held["key"]["key_id"], "request_id": "r"}

    with unchanged(services.database):
        first = api.post("/key/release", {"reservation_id": held["reservation_id"]})
        again = api.post("/key/release", {"key": key, "request_id": "r"})

    assert first.body == again.body == {**identity, "state": "released"}
    found = allowed(api, key, estimate={"input_tokens": 10})
    assert [(entry["used"], entry["held"]) for entry in found["limits"]] == [(0, 1), (10, 0), (0, 1)]
    # The call was made after all: it is charged, and takes from nobody else's hold.
    assert settle(api, held, 0.25)["duplicate"] is False
    shown = limit(refused(api, key), "key")
    assert (shown["used"], shown["held"]) == (0.25, 1)


@pytest.mark.parametrize("folded", [False, True])
def test_what_is_charged_cannot_be_released_or_extended(api: Api, services: Services, folded: bool):
    key = api.generate(max_budget=1)["key"]
    held = allowed(api, key)
    settle(api, held, 0.5)
    if folded:
        fold(services)
    sent = {"reservation_id": held["reservation_id"]}

    assert api.post("/key/release", sent).body["state"] == "charged"
    extended = api.post("/key/extend", sent).body
    assert (extended["extended"], extended["state"], extended["lease_ends_at"]) == (False, "charged", None)
    assert api.info(key)["spend"] == 0.5
    assert limit(allowed(api, key, cost=0.5), "key")["used"] == 0.5


@on_one_store
def test_of_what_was_never_held_nothing_is_released_or_extended(api: Api):
    key = api.generate()["key"]
    sent = {"key": key, "request_id": "r"}

    assert api.post("/key/release", sent).body["state"] == "absent"
    found = api.post("/key/extend", sent).body
    assert (found["extended"], found["state"]) == (False, "absent")


# --- holding on ------------------------------------------------------------------------------------------------


def test_an_extended_hold_stands_until_its_new_end(api: Api, services: Services, clock: MovableClock):
    key = api.generate(max_budget=1, max_parallel_requests=1)["key"]
    held = allowed(api, key, lease_seconds=60)
    clock.advance(59)

    found = api.post("/key/extend", {"reservation_id": held["reservation_id"], "lease_seconds": 120}).body

    end = clock.now() + timedelta(seconds=120)
    assert (found["extended"], found["state"], found["lease_ends_at"]) == (True, "open", iso(end))
    clock.advance(119)
    services.jobs.run(TaskName.REAP_HOLDS, lambda: True)
    refused(api, key)
    clock.advance(1)
    allowed(api, key)


@on_one_store
def test_extending_never_shortens_and_knows_the_same_bounds_as_a_verify(api: Api, clock: MovableClock):
    held = allowed(api, api.generate()["key"], lease_seconds=3600)
    sent = {"reservation_id": held["reservation_id"]}

    assert api.post("/key/extend", {**sent, "lease_seconds": 1}).body["lease_ends_at"] == held["lease_ends_at"]
    for wrong in (0, -1, "NaN", 3601):
        answer = api.post("/key/extend", {**sent, "lease_seconds": wrong})
        assert answer.summary == (400, "invalid_request_error", "lease_seconds"), answer
    clock.advance(60)
    longer = api.post("/key/extend", {**sent, "lease_seconds": 3600}).body
    assert longer["lease_ends_at"] == iso(clock.now() + timedelta(hours=1))


def test_an_abandoned_hold_is_given_back_by_the_job(api: Api, services: Services, clock: MovableClock):
    key = api.generate(max_budget=9)["key"]
    allowed(api, key, lease_seconds=60)
    clock.advance(60)

    services.jobs.run(TaskName.REAP_HOLDS, lambda: True)

    assert limit(allowed(api, key), "key")["held"] == 1


# --- one number ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [None, "1d"])
def test_info_list_verdict_refusal_and_explanation_tell_one_number_before_and_after_a_fold(
    api: Api, services: Services, window: str | None
):
    key = api.generate(max_budget=2, budget_duration=window, key_alias="a")["key"]
    for number, cost in enumerate((0.123456789, 0.7, 0.000000001)):
        settle(api, allowed(api, key, request_id=str(number)), cost)
    total = 0.82345679

    for _ in range(2):
        verdict, refusal = allowed(api, key, cost=0.1), refused(api, key, cost=2)
        api.post("/key/release", {"reservation_id": verdict["reservation_id"]})
        explained = api.post("/key/explain", {"key": key, "model": MODEL, "estimate": {"cost": 2}}).body
        listed = api.get("/key/list", key_alias="a", return_full_object=True).body["keys"][0]
        assert [
            api.info(key)["spend"],
            listed["spend"],
            limit(verdict, "key")["used"],
            limit(refusal, "key")["used"],
            limit(explained, "key")["used"],
        ] == [total] * 5
        assert f"Current cost: {total}, Max budget: 2.0" in refusal["message"]
        assert explained["message"] == refusal["message"]
        fold(services)
    assert sum(row["amount_nanos"] for row in rows(services.database, ledger)) == round(total * NANOS)

"""Charging a call: exactly once, whatever it was held for, and the same number everywhere."""

from datetime import timedelta
from typing import Any

import pytest

from app.clock import iso
from app.container import Services
from app.dispatch import TaskName
from app.models import daily_label_spend, ledger
from app.services.decisions.prices import Prices
from tests.api.calls import MODEL, allowed, limit, post_settle, refused, settle
from tests.clients import Api
from tests.clocks import START, MovableClock
from tests.factories import NANOS, on_one_store, rows, unchanged

UNKNOWN = "sk-unknown-key-0000"


def fold(services: Services) -> None:
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)


def charges(services: Services) -> list[dict[str, Any]]:
    return rows(services.database, ledger)


# --- which call ------------------------------------------------------------------------------------------------


def test_a_call_is_charged_by_its_reservation(api: Api, services: Services, clock: MovableClock):
    held = allowed(api, api.generate(max_budget=3)["key"], request_id="r")
    clock.advance(90)

    charged = settle(api, held, 0.5)

    assert charged == {
        "key_id": held["key"]["key_id"],
        "request_id": "r",
        "model": MODEL,
        "cost": 0.5,
        "estimate": 1,
        "overrun": 0,
        "duplicate": False,
    }
    (row,) = charges(services)
    assert (row["kind"], row["amount_nanos"], row["request_id"], row["key_id"]) == (
        "charge",
        NANOS // 2,
        "r",
        held["key"]["key_id"],
    )
    # It happened when it was held.
    assert (row["occurred_at"], row["recorded_at"]) == (START, START + timedelta(seconds=90))


@pytest.mark.parametrize("named", ["key", "token"])
def test_a_call_that_is_held_is_charged_by_its_request_id_and_key(api: Api, named: str):
    made = api.generate(max_budget=3)
    allowed(api, made["key"], request_id="r")

    charged = post_settle(api, key=made[named], request_id="r", cost=0.5).body

    assert (charged["estimate"], charged["cost"], charged["model"]) == (1, 0.5, MODEL)
    shown = limit(allowed(api, made["key"]), "key")
    assert (shown["used"], shown["held"]) == (0.5, 1)


def test_a_call_that_was_never_held_is_charged_as_it_is_said(api: Api, services: Services, clock: MovableClock):
    key = api.generate(max_budget=3)["key"]
    at = clock.now() - timedelta(days=2)

    charged = post_settle(api, key=key, request_id="r", cost=0.5, model="m", occurred_at=iso(at)).body

    assert (charged["estimate"], charged["overrun"], charged["model"], charged["duplicate"]) == (
        None,
        0,
        "m",
        False,
    )
    assert charges(services)[0]["occurred_at"] == at
    assert limit(allowed(api, key), "key")["used"] == 0.5


@pytest.mark.parametrize(
    "sent",
    [{}, {"request_id": "r"}, {"key": UNKNOWN}, {"reservation_id": None}],
)
@on_one_store
def test_a_call_that_is_not_named_is_refused(api: Api, services: Services, sent: dict[str, Any]):
    with unchanged(services.database):
        for path in ("settle", "release", "extend"):
            answer = api.post(f"/key/{path}", {"cost": 1, **sent})
            assert answer.summary == (400, "invalid_request_error", "reservation_id"), answer


def test_a_reservation_that_nobody_gave_is_refused(api: Api, services: Services):
    held = allowed(api, api.generate()["key"])["reservation_id"]

    with unchanged(services.database):
        for forged in ("", "x", held[:-3] + "abc", held[1:], held.swapcase()):
            for path in ("settle", "release", "extend"):
                answer = api.post(f"/key/{path}", {"reservation_id": forged, "cost": 1})
                assert answer.summary == (400, "invalid_request_error", "reservation_id"), answer


@on_one_store
def test_a_key_that_does_not_exist_is_not_charged(api: Api, services: Services):
    with unchanged(services.database):
        for path in ("settle", "release", "extend"):
            answer = api.post(f"/key/{path}", {"key": UNKNOWN, "request_id": "r", "cost": 1})
            assert answer.status == 404, answer


# --- how much --------------------------------------------------------------------------------------------------


def test_a_charge_that_is_repeated_says_what_was_charged_first_and_changes_nothing(api: Api, services: Services):
    key = api.generate(max_budget=9)["key"]
    held = allowed(api, key, request_id="r")
    settle(api, held, 0.5)

    with unchanged(services.database):
        again = [
            settle(api, held, 0.7),
            post_settle(api, key=key, request_id="r", cost=9).body,
        ]

    assert [(charge["cost"], charge["duplicate"]) for charge in again] == [(0.5, True)] * 2
    fold(services)
    assert settle(api, held, 0.7)["duplicate"]
    assert api.info(key)["spend"] == 0.5
    assert limit(allowed(api, key), "key")["used"] == 0.5


def test_a_cost_above_what_was_held_is_charged_in_full(api: Api):
    key = api.generate(max_budget=2)["key"]

    charged = settle(api, allowed(api, key), 2.5)

    assert (charged["cost"], charged["estimate"], charged["overrun"]) == (2.5, 1, 1.5)
    shown = limit(refused(api, key, cost=0), "key")
    assert (shown["used"], shown["remaining"]) == (2.5, 0)


@on_one_store
def test_tokens_are_charged_at_the_price_of_the_model_that_was_held_or_is_named(api: Api, services: Services):
    key = api.generate()["key"]
    usage = {"input_tokens": 1000, "output_tokens": 10}
    price = {
        model: Prices(None).cost(model, input_tokens=1000, output_tokens=10, now=START)
        for model in (MODEL, "gpt-4o-mini")
    }

    own = settle(api, allowed(api, key), usage=usage)
    other = settle(api, allowed(api, key), usage=usage, model="gpt-4o-mini")
    said = settle(api, allowed(api, key), 0.25, usage=usage)

    assert [row["amount_nanos"] for row in charges(services)] == [price[MODEL], price["gpt-4o-mini"], NANOS // 4]
    assert (own["model"], other["model"], said["cost"]) == (MODEL, "gpt-4o-mini", 0.25)
    assert {(row["input_tokens"], row["output_tokens"]) for row in charges(services)} == {(1000, 10)}


@on_one_store
@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"usage": {}},
        {"usage": {"input_tokens": 5}, "model": "no such model"},
        {"cost": -1},
        {"cost": "NaN"},
        {"cost": 9_000_000.000000001},
    ],
)
def test_what_cannot_be_charged_is_said_and_the_call_stays_held(
    api: Api, services: Services, sent: dict[str, Any]
):
    key = api.generate(max_budget=1)["key"]
    held = allowed(api, key)

    with unchanged(services.database):
        answer = post_settle(api, reservation_id=held["reservation_id"], **sent)

    assert answer.summary == (400, "invalid_request_error", "cost"), answer
    assert limit(refused(api, key), "key")["held"] == 1
    assert settle(api, held, 0)["duplicate"] is False


# --- when ------------------------------------------------------------------------------------------------------


def test_a_call_is_charged_to_the_window_in_which_it_was_held(api: Api, services: Services, clock: MovableClock):
    key = api.generate(max_budget=3, budget_duration="1d")["key"]
    held = allowed(api, key, cost=2)
    clock.set(START.replace(hour=0, minute=0, second=0) + timedelta(days=1))
    assert limit(allowed(api, key), "key")["held"] == 1

    settle(api, held, 2)

    assert limit(allowed(api, key), "key")["used"] == 0
    for _ in range(2):
        info = api.info(key)
        assert (info["spend"], info["total_spend"]) == (0, 2)
        fold(services)


@on_one_store
@pytest.mark.parametrize(("days", "status"), [(31, 200), (31 + 1e-5, 400)])
def test_a_reservation_can_be_charged_for_so_many_days_and_no_longer(
    api: Api, clock: MovableClock, days: float, status: int
):
    held = allowed(api, api.generate()["key"])
    clock.advance(timedelta(days=days))

    answer = post_settle(api, reservation_id=held["reservation_id"], cost=1)

    assert answer.status == status
    assert status == 200 or answer.summary == (400, "invalid_request_error", "reservation_id")


@on_one_store
@pytest.mark.parametrize(
    ("days", "status", "charged"),
    [(-31, 200, -31), (-31 - 1e-5, 400, None), (0, 200, 0), (1 / 1440, 200, 0), (1 / 1440 + 1e-5, 400, None)],
)
def test_an_unheld_call_happened_within_bounds(
    api: Api, services: Services, clock: MovableClock, days: float, status: int, charged: float | None
):
    key = api.generate()["key"]
    at = iso(clock.now() + timedelta(days=days))

    answer = post_settle(api, key=key, request_id="r", cost=1, occurred_at=at)

    assert answer.status == status, answer
    assert status == 200 or answer.error["param"] == "occurred_at"
    assert [row["occurred_at"] for row in charges(services)] == (
        [] if charged is None else [clock.now() + timedelta(days=charged)]
    )


# --- whose it is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [True, False])
def test_a_deleted_keys_call_is_charged_to_its_team_owner_and_organization(
    api: Api, services: Services, held: bool
):
    assert api.post("/organization/new", {"organization_id": "o", "organization_alias": "O"}).status == 200
    assert api.post("/team/new", {"team_id": "t", "organization_id": "o"}).status == 200
    assert api.post("/user/new", {"user_id": "u", "auto_create_key": False}).status == 200
    key = api.generate(team_id="t", user_id="u")["key"]
    call = allowed(api, key, request_id="r")
    api.post("/key/delete", {"keys": [key]})

    sent = {"reservation_id": call["reservation_id"]} if held else {"key": key, "request_id": "other"}
    assert post_settle(api, **sent, cost=0.5).status == 200

    for _ in range(2):
        assert api.get("/team/info", team_id="t").body["team_info"]["spend"] == 0.5
        assert api.get("/user/info", user_id="u").body["user_info"]["spend"] == 0.5
        assert api.get("/organization/info", organization_id="o").body["spend"] == 0.5
        fold(services)


def test_tags_and_the_end_user_are_recorded_with_the_charge(api: Api, services: Services):
    key = api.generate(tags=["of key", "both"])["key"]
    held = allowed(api, key, tags=["of call", "both"], user="end user")
    settle(api, held, 1, tags=["of charge"])
    settle(api, allowed(api, key, user="end user"), 2, user="another")

    first, second = charges(services)
    assert first["tags"] == ["of key", "both", "of call", "of charge"]
    assert (first["end_user"], second["end_user"], second["tags"]) == ("end user", "another", ["of key", "both"])
    fold(services)
    sums = {(row["label"], row["name"]): row["spend_nanos"] for row in rows(services.database, daily_label_spend)}
    assert sums == {
        ("tag", "of key"): 3 * NANOS,
        ("tag", "both"): 3 * NANOS,
        ("tag", "of call"): NANOS,
        ("tag", "of charge"): NANOS,
        ("end_user", "end user"): NANOS,
        ("end_user", "another"): 2 * NANOS,
    }

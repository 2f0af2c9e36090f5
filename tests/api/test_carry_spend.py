"""What an old key has spent when it gets a window: forgotten, or the first spend of that."""

from datetime import timedelta
from typing import Any

import pytest

from app.container import Services
from app.dispatch import TaskName
from tests.api.calls import refused, spent
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import on_one_store

DAY = timedelta(days=1)


def test_a_window_armed_on_an_old_key_begins_with_what_it_is_to_carry(
    api: Api, services: Services, clock: MovableClock
) -> None:
    key = api.generate(max_budget=9)["key"]
    spent(api, key, 4)
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    clock.advance(DAY)
    spent(api, key, 3)

    answer = api.post("/key/update", {"key": key, "budget_duration": "1d", "carry_spend": True})

    assert (answer.status, api.info(key)["spend"]) == (200, 7)
    assert refused(api, key, 3)["limits"][0]["used"] == 7
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    assert (api.info(key)["spend"], api.info(key)["total_spend"]) == (7, 7)
    assert services.ledger_check.check(10).drifts == []
    clock.advance(DAY)
    assert api.info(key)["spend"] == 0


def test_what_is_carried_beyond_the_cap_rolls_over(api: Api, clock: MovableClock) -> None:
    key = api.generate(max_budget=3)["key"]
    spent(api, key, 7)
    sent = {"key": key, "budget_duration": "1d", "budget_rollover": True, "carry_spend": True}

    assert api.post("/key/update", sent).status == 200

    assert api.info(key)["spend"] == 7
    clock.advance(DAY)
    assert api.info(key)["spend"] == 4


@on_one_store
def test_a_window_that_comes_from_a_tier_is_armed_as_well(api: Api) -> None:
    api.post("/budget/new", {"budget_id": "b", "budget_duration": "1d"})
    key = api.generate()["key"]
    spent(api, key, 7)

    assert api.post("/key/update", {"key": key, "budget_id": "b", "carry_spend": True}).status == 200

    assert api.info(key)["spend"] == 7


@on_one_store
@pytest.mark.parametrize("sent", [{}, {"carry_spend": False}, {"carry_spend": None}])
def test_without_that_it_begins_at_zero(api: Api, sent: dict[str, Any]) -> None:
    key = api.generate()["key"]
    spent(api, key, 7)

    assert api.post("/key/update", {"key": key, "budget_duration": "1d", **sent}).status == 200

    assert (api.info(key)["spend"], api.info(key)["total_spend"]) == (0, 7)


@on_one_store
@pytest.mark.parametrize(
    ("made", "sent"),
    [
        ({}, {}),
        ({}, {"max_budget": 5}),
        ({"budget_duration": "1d"}, {"budget_duration": "7d"}),
        ({"budget_duration": "1d"}, {"budget_duration": None}),
        ({"budget_duration": "1d"}, {"budget_duration": "1d"}),
    ],
)
def test_a_spend_cannot_be_carried_where_no_window_is_armed(
    api: Api, made: dict[str, Any], sent: dict[str, Any]
) -> None:
    key = api.generate(**made)["key"]
    spent(api, key, 7)

    answer = api.post("/key/update", {"key": key, "tags": ["changed"], "carry_spend": True, **sent})

    assert answer.summary == (400, "invalid_request_error", "carry_spend"), answer
    assert (api.info(key)["spend"], api.info(key)["metadata"].get("tags")) == (7, None)

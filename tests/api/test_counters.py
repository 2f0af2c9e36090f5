"""The counters that decide hold what the ledger says, whatever happens to windows, time and Redis."""

from datetime import timedelta
from typing import Any

import pytest

from app.container import Services
from app.dispatch import TaskName
from tests.clients import Api
from tests.clocks import MovableClock


def verify(api: Api, key: str, cost: float = 1.0, **more: Any) -> dict[str, Any]:
    answer = api.post("/key/verify", {"key": key, "model": "gpt-4o", "estimate": {"cost": cost}, **more})
    assert answer.status == 200, answer.body
    return answer.body


def charge(api: Api, key: str, cost: float) -> None:
    reservation = verify(api, key, cost)["reservation_id"]
    assert api.post("/key/settle", {"reservation_id": reservation, "cost": cost}).status == 200


def used(api: Api, key: str) -> dict[str, float]:
    return {limit["scope"]: limit["used"] for limit in verify(api, key, 0)["limits"]}


def fold(services: Services) -> None:
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)


@pytest.mark.parametrize("folded", [False, True])
def test_a_window_that_is_taken_away_leaves_the_spend_that_info_tells(
    api: Api, services: Services, clock: MovableClock, folded: bool
):
    key = api.generate(max_budget=10)["key"]
    charge(api, key, 5)
    fold(services)
    clock.advance(1)
    assert api.post("/key/update", {"key": key, "budget_duration": "30d"}).status == 200
    for _ in range(2):
        charge(api, key, 4)
    if folded:
        fold(services)
    clock.advance(1)
    assert api.post("/key/update", {"key": key, "budget_duration": None}).status == 200

    assert api.info(key)["spend"] == 8
    assert used(api, key) == {"key": 8}
    assert verify(api, key, 3)["allowed"] is False


def test_a_budget_for_a_model_without_a_window_keeps_its_spend(api: Api, services: Services):
    key = api.generate(model_max_budget={"gpt-4o": {"budget_limit": 10}})["key"]
    charge(api, key, 6)
    for _ in range(2):
        assert used(api, key) == {"key_model": 6}
        assert verify(api, key, 5)["allowed"] is False
        fold(services)
        with services.redis.lease() as lease:
            lease._call("FLUSHALL")


@pytest.mark.parametrize("folded", [False, True])
def test_a_budget_for_a_model_that_is_taken_away_and_set_again_starts_at_zero(
    api: Api, services: Services, clock: MovableClock, folded: bool
):
    budget = {"gpt-4o": {"budget_limit": 10}}
    key = api.generate(model_max_budget=budget)["key"]
    charge(api, key, 6)
    if folded:
        fold(services)
    for sent in ({}, budget):
        clock.advance(1)
        assert api.post("/key/update", {"key": key, "model_max_budget": sent}).status == 200

    assert used(api, key) == {"key_model": 0}
    charge(api, key, 3)
    for _ in range(2):
        assert used(api, key) == {"key_model": 3}
        assert services.ledger_check.check(10).drifts == []
        fold(services)


def test_a_hold_that_nobody_has_reaped_for_days_is_given_back(api: Api, services: Services, clock: MovableClock):
    key = api.generate(max_budget=10)["key"]
    verify(api, key, 8)
    with services.redis.lease() as lease:
        (hold,) = lease._call("ZRANGE", lease.name("holds"), 0, -1)
        assert int(lease._call("PTTL", hold)) > 24 * 3_600_000
    clock.advance(timedelta(days=2))

    assert verify(api, key, 8)["allowed"]

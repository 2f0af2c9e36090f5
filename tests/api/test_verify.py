"""May this key make this call: over HTTP, on both stores, with a real Redis."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.config import Settings
from app.container import Services, build
from app.dispatch import TaskName
from tests.api.calls import limit, settle, spent
from tests.api.counting import statements
from tests.apps import app_over
from tests.clients import Api
from tests.clocks import MovableClock


def verify(api: Api, key: str, cost: float = 1.0, **more: Any) -> dict[str, Any]:
    answer = api.post("/key/verify", {"key": key, "model": "gpt-4o", "estimate": {"cost": cost}, **more})
    assert answer.status == 200, answer.body
    return answer.body


@pytest.fixture
def budgeted(api: Api) -> str:
    return api.generate(max_budget=3)["key"]


def test_a_call_is_held_settled_and_shown_as_one_number(api: Api, services: Services, budgeted: str):
    allowed = verify(api, budgeted)
    assert (allowed["allowed"], allowed["code"]) == (True, "allowed")
    assert [(limit["used"], limit["held"], limit["remaining"]) for limit in allowed["limits"]] == [(0, 1, 2)]

    settled = api.post("/key/settle", {"reservation_id": allowed["reservation_id"], "cost": 0.5}).body
    assert (settled["cost"], settled["estimate"], settled["overrun"], settled["duplicate"]) == (0.5, 1.0, 0, False)
    again = api.post("/key/settle", {"reservation_id": allowed["reservation_id"], "cost": 0.7}).body
    assert (again["cost"], again["duplicate"]) == (0.5, True)

    info = api.info(budgeted)
    assert info["spend"] == 0.5
    (limit,) = verify(api, budgeted)["limits"]
    assert (limit["used"], limit["held"]) == (0.5, 1)
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    assert api.info(budgeted)["spend"] == 0.5


def test_a_budget_that_is_full_refuses_and_says_so(api: Api, budgeted: str):
    held = [verify(api, budgeted) for _ in range(3)]
    refused = verify(api, budgeted)

    assert [answer["allowed"] for answer in held] == [True] * 3
    assert (refused["allowed"], refused["code"], refused["status"]) == (False, "budget_exceeded", 422)


def test_a_spend_that_is_set_counts_in_the_very_next_decision(api: Api, budgeted: str):
    verify(api, budgeted)

    api.post("/key/update", {"key": budgeted, "spend": 3})
    full = verify(api, budgeted, cost=0)
    api.post(f"/key/{budgeted}/reset_spend", {"reset_to": 0.5})
    again = verify(api, budgeted)

    assert (full["code"], full["limits"][0]["used"]) == ("budget_exceeded", 3)
    assert (again["allowed"], again["limits"][0]["used"]) == (True, 0.5)


def test_a_process_whose_clock_is_behind_is_not_refused_for_a_loss_of_redis(
    api: Api, clock: MovableClock, budgeted: str
):
    verify(api, budgeted)
    clock.advance(-0.5)

    assert verify(api, budgeted)["code"] == "allowed"


@pytest.mark.parametrize(("behind", "code"), [(1, 200), (60, 503)])
def test_a_process_whose_clock_is_a_little_behind_decides_in_the_window_that_others_have_begun(
    api: Api, services: Services, settings: Settings, clock: MovableClock, behind: float, code: int
):
    key = api.generate(max_budget=5, budget_duration="1h")["key"]
    spent(api, key, 2)
    clock.set(datetime(2026, 11, 18, 14, 0, 0, 500_000, tzinfo=UTC))
    late = build(settings, MovableClock(clock.now() - timedelta(seconds=behind)))
    cold = {"key": key, "model": "gpt-4o", "estimate": {"cost": 1}}
    services.jobs.run(TaskName.RESET_BUDGETS, lambda: True)

    with closing(late), statements(late.database) as sent:
        answer = Api(app_over(late)).post("/key/verify", cold)

    assert answer.status == code
    # The counter, the one of the next window; and what a process reads that knows nothing yet.
    assert len(sent) <= 6
    if code == 200:
        assert limit(answer.body, "key")["used"] == 0
        settle(api, answer.body, 1)
        assert api.info(key)["spend"] == 1

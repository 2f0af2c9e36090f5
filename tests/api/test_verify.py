"""May this key make this call: over HTTP, on both stores, with a real Redis."""

from typing import Any

import pytest

from app.container import Services
from app.dispatch import TaskName
from tests.clients import Api


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

"""Entries of further budgets that came into the store otherwise than by the API, and cannot be read."""

from typing import Any

import pytest
from sqlalchemy import update

from app.container import Services
from app.models import keys, teams
from tests.api.calls import allowed
from tests.clients import Api

GOOD = {"budget_duration": "1d", "max_budget": 3.0, "armed_at": "2026-11-18T13:00:00+00:00"}
SENT = {"budget_duration": "1d", "max_budget": 3}
LIMITS: dict[str, list[Any]] = {
    "without a length": [{"max_budget": 1}, GOOD],
    "no length at all": [{"budget_duration": 7, "max_budget": 1}, GOOD],
    "no length that there is": [{"budget_duration": "soon", "max_budget": 1, "armed_at": "2026-11-18"}, GOOD],
    "no cap": [{"budget_duration": "1h"}, GOOD],
    "no arming": [{"budget_duration": "1h", "max_budget": 1, "armed_at": "never"}, GOOD],
    "no object": ["1h", GOOD],
}


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("holder", ["key", "team"])
def test_an_entry_that_cannot_be_read_stops_nobody_from_reading_and_deciding(
    api: Api, services: Services, holder: str, limits: list[Any]
):
    api.post("/team/new", {"team_id": "t"})
    key = api.generate(team_id="t")["key"]
    with services.database.transaction() as transaction:
        transaction.execute(update(keys if holder == "key" else teams).values(budget_limits=limits))

    answers = [
        api.call("GET", "/key/info", query={"key": key}),
        api.post("/v2/key/info", {"keys": [key]}),
        api.get("/key/list", return_full_object=True),
        api.get("/team/info", team_id="t"),
        api.call("GET", "/budget/calendar", query={"team_id": "t"} if holder == "team" else {"key": key}),
        api.post("/key/explain", {"key": key, "estimate": {"cost": 1}}),
    ]

    assert {answer.status for answer in answers} == {200}, answers
    counted = {entry["sub"] for entry in allowed(api, key, cost=0.5)["limits"]}
    assert "1d" in counted
    assert api.post(f"/key/{key}/reset_spend", {"reset_to": 0}).status == 200
    assert api.post(f"/{holder}/update", {"team_id": "t", "key": key, "budget_limits": [SENT]}).status == 200
    assert api.info(key)["budget_limits"] == api.get("/team/info", team_id="t").body["keys"][0]["budget_limits"]
    assert (
        api.post("/team/block" if holder == "team" else "/key/block", {"team_id": "t", "key": key}).status == 200
    )

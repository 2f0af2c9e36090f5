"""A key that is linked to another tier: its accounts for models follow, as where the tier itself is changed."""

from datetime import timedelta
from typing import Any

import pytest

from app.container import Services
from app.dispatch import TaskName
from app.models import budget_state
from tests.api.calls import MODEL, allowed, limit, settle
from tests.api.counting import statements
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import on_one_store, rows

TIERS: dict[str, Any] = {
    "daily": {MODEL: {"budget_limit": 3, "time_period": "1d"}},
    "hourly": {MODEL: {"budget_limit": 3, "time_period": "1h"}},
    "endless": {MODEL: {"budget_limit": 3}},
    "none": {},
}
HOURS = {"daily": "2026-11-19T00:00:00.000000Z", "hourly": "2026-11-18T14:00:00.000000Z", "endless": None}


@pytest.fixture
def tiers(api: Api) -> None:
    for name, models in TIERS.items():
        assert api.post("/budget/new", {"budget_id": name, "model_max_budget": models}).status == 200


def change(api: Api, path: str, **sent: Any) -> None:
    answer = api.post(path, sent)
    assert answer.status == 200, answer


def spent_by_one(api: Api, clock: MovableClock, budget_id: str | None = None, **settings: Any) -> str:
    """A key that has spent a dollar on the model."""
    key: str = api.generate(budget_id=budget_id, **settings)["key"]
    settle(api, allowed(api, key), 1)
    clock.advance(1)
    return key


def of_model(services: Services, api: Api, key: str) -> tuple[Any, Any]:
    """What counts for the model and when it starts anew; folded or not, it is as the ledger has it."""
    shown = limit(allowed(api, key, cost=0), "key_model")
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    assert services.ledger_check.check(10).drifts == []
    again = limit(allowed(api, key, cost=0), "key_model")
    assert (again["used"], again["resets_at"]) == (shown["used"], shown["resets_at"])
    return shown["used"], shown["resets_at"]


@pytest.mark.parametrize(
    ("linked", "to", "used"),
    [
        ("daily", "hourly", 1),
        ("hourly", "daily", 1),
        ("daily", "endless", 1),
        ("endless", "daily", 0),
    ],
)
def test_another_tiers_window_takes_the_spend_along_and_one_armed_anew_starts_at_zero(
    api: Api, services: Services, clock: MovableClock, tiers: None, linked: str, to: str, used: int
):
    key = spent_by_one(api, clock, linked)
    other = spent_by_one(api, clock, linked)
    tier = TIERS[to]

    change(api, "/key/update", key=key, budget_id=to)

    assert of_model(services, api, key) == (used, HOURS[to])
    change(api, "/budget/update", budget_id=linked, model_max_budget=tier)
    assert of_model(services, api, other) == (used, HOURS[to]), "as a change of the tier itself"
    clock.advance(timedelta(hours=11))
    assert of_model(services, api, key)[0] == (1 if to == "endless" else 0)


def test_a_link_is_followed_in_bulk_and_by_a_regenerate_too(
    api: Api, services: Services, clock: MovableClock, tiers: None
):
    keys = [spent_by_one(api, clock, "daily") for _ in range(3)]

    change(api, "/key/bulk_update", keys=[{"key": key, "budget_id": "hourly"} for key in keys[:2]])
    again = api.post("/key/regenerate", {"key": keys[2], "budget_id": "hourly"}).body["key"]

    assert [of_model(services, api, key) for key in (*keys[:2], again)] == [(1, HOURS["hourly"])] * 3


def test_what_a_key_has_of_its_own_goes_before_and_the_tier_takes_over_where_that_goes(
    api: Api, services: Services, clock: MovableClock, tiers: None
):
    key = spent_by_one(api, clock, "daily", model_max_budget=TIERS["endless"])

    change(api, "/key/update", key=key, budget_id="hourly")
    assert of_model(services, api, key) == (1, None)
    clock.advance(1)

    change(api, "/key/update", key=key, model_max_budget={})
    assert of_model(services, api, key) == (0, HOURS["hourly"])
    settle(api, allowed(api, key), 1)
    assert of_model(services, api, key) == (1, HOURS["hourly"])


def test_a_tier_without_the_model_takes_the_window_off_and_the_account_is_not_due_any_more(
    api: Api, services: Services, clock: MovableClock, tiers: None
):
    key = spent_by_one(api, clock, "daily")

    change(api, "/key/update", key=key, budget_id="none")

    assert allowed(api, key)["limits"] == []
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    (account,) = rows(services.database, budget_state, scope="key_model")
    assert (account["reset_at"], account["windowless"]) == (None, True)
    assert services.ledger_check.check(10).drifts == []
    change(api, "/key/update", key=key, budget_id=None)
    change(api, "/key/update", key=key, budget_id="daily")
    assert of_model(services, api, key) == (0, HOURS["daily"])


@on_one_store
def test_another_tier_takes_as_many_statements_for_thirty_keys_as_for_one(
    api: Api, services: Services, clock: MovableClock, tiers: None
):
    keys = [spent_by_one(api, clock, "daily") for _ in range(31)]
    counts = []
    for chosen in (keys[:1], keys[1:]):
        with statements(services.database) as sent:
            change(api, "/key/bulk_update", keys=[{"key": key, "budget_id": "hourly"} for key in chosen])
        counts.append(len(sent))

    assert counts[0] == counts[1]

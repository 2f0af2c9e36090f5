"""What info tells of budgets for models and of further windows: how much of each is used."""

from typing import Any

import pytest

from app.container import Services
from app.dispatch import TaskName
from tests.api.calls import allowed, limit, settle
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import add_tier

MODELS = {
    "gpt-4o": {"budget_limit": 5, "time_period": "1d"},
    "o1": {"max_budget": 2, "budget_duration": "1h"},
    "o3": {"max_budget": 1},
}
LIMITS = [{"budget_duration": "1h", "max_budget": 4}, {"budget_duration": "1d", "max_budget": 8}]
TOMORROW = "2026-11-19T00:00:00.000000Z"


def usage(shown: dict[str, Any]) -> tuple[Any, Any]:
    return shown.get("model_max_budget_usage"), shown.get("budget_limits_usage")


@pytest.fixture
def key(api: Api) -> str:
    """A key with such budgets, of a team with such budgets."""
    answer = api.post("/team/new", {"team_id": "t", "model_max_budget": MODELS, "budget_limits": LIMITS})
    assert answer.status == 200, answer
    key: str = api.generate(team_id="t", model_max_budget=MODELS, budget_limits=LIMITS)["key"]
    return key


@pytest.fixture(params=["key", "keys", "team"])
def shown(request: pytest.FixtureRequest, api: Api, key: str) -> Any:
    match request.param:
        case "key":
            return lambda: api.info(key)
        case "keys":
            without = api.generate(key_alias="without")["key"]
            asked = {"keys": [without, key]}
            return lambda: next(
                row for row in api.post("/v2/key/info", asked).body["info"] if row["key_alias"] != "without"
            )
        case _:
            return lambda: api.get("/team/info", team_id="t").body["team_info"]


@pytest.mark.parametrize("folded", [False, True])
def test_it_tells_what_is_used_of_each_until_its_window_ends(
    api: Api, services: Services, clock: MovableClock, key: str, shown: Any, folded: bool
):
    settle(api, allowed(api, key), 1.25)
    if folded:
        services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)

    models, limits = usage(shown())

    assert models == {
        "gpt-4o": {"current_spend": 1.25, "budget_limit": 5, "time_period": "1d", "budget_reset_at": TOMORROW},
        "o1": {
            "current_spend": 0,
            "budget_limit": 2,
            "time_period": "1h",
            "budget_reset_at": "2026-11-18T14:00:00.000000Z",
        },
        "o3": {"current_spend": 0, "budget_limit": 1, "time_period": None, "budget_reset_at": None},
    }
    assert limits == {"1h": {"current_spend": 1.25}, "1d": {"current_spend": 1.25}}
    for scope in ("key_model", "team_model"):
        assert limit(allowed(api, key, cost=0), scope)["used"] == models["gpt-4o"]["current_spend"]

    clock.advance(3600)
    models, limits = usage(shown())
    assert (models["gpt-4o"]["current_spend"], limits) == (
        1.25,
        {"1h": {"current_spend": 0}, "1d": {"current_spend": 1.25}},
    )
    clock.advance(24 * 3600)
    models, limits = usage(shown())
    assert models["gpt-4o"] == {
        "current_spend": 0,
        "budget_limit": 5,
        "time_period": "1d",
        "budget_reset_at": "2026-11-20T00:00:00.000000Z",
    }
    assert limits == {"1h": {"current_spend": 0}, "1d": {"current_spend": 0}}


def test_it_is_there_only_where_such_budgets_are(api: Api):
    api.post("/team/new", {"team_id": "t"})

    for shown in (api.info(api.generate()["key"]), api.get("/team/info", team_id="t").body["team_info"]):
        assert shown.keys().isdisjoint({"model_max_budget_usage", "budget_limits_usage"})
    assert usage(api.info(api.generate(budget_limits=LIMITS[1:])["key"])) == (None, {"1d": {"current_spend": 0}})


def test_a_tiers_budgets_for_models_are_the_keys_too(api: Api, services: Services):
    tier = add_tier(
        services.database, "b", model_max_budget={"gpt-4o": {"max_budget": 3}, "o1": {"max_budget": 3}}
    )
    key = api.generate(budget_id=tier, model_max_budget={"o1": {"max_budget": 1}})["key"]
    settle(api, allowed(api, key), 1)

    models, _ = usage(api.info(key))

    shown = {model: (entry["current_spend"], entry["budget_limit"]) for model, entry in models.items()}
    assert shown == {"gpt-4o": (1, 3), "o1": (0, 1)}

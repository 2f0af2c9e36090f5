"""Budgets of teams and owners beside the whole one: in further windows, and for single models."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.container import Services
from app.dispatch import TaskName
from app.models import budget_state, keys, teams
from tests.api.calls import MODEL, allowed, limit, post_settle, refused, settle, spent
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import add_tier, on_one_store, rows, unchanged

NANOS = 1_000_000_000
HOUR, DAY = {"budget_duration": "1h", "max_budget": 1}, {"budget_duration": "1d", "max_budget": 3}


def change(api: Api, path: str, **sent: Any) -> dict[str, Any]:
    answer = api.post(path, sent)
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.body
    return found


def with_windows(api: Api, *windows: dict[str, Any], **limits: Any) -> str:
    """The key of a new team `t` that has these windows."""
    change(api, "/team/new", team_id="t", budget_limits=list(windows), **limits)
    key: str = api.generate(team_id="t")["key"]
    return key


def fold(services: Services) -> None:
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)


def is_sound(services: Services) -> bool:
    """Whether every account is what the ledger adds up to, folded or not."""
    before = services.ledger_check.check(10).drifts
    fold(services)
    return before == services.ledger_check.check(10).drifts == []


def account(services: Services, scope: str, sub: str) -> tuple[float, float]:
    """What an account has spent in its stored window and in its lifetime, in dollars."""
    fold(services)
    (row,) = rows(services.database, budget_state, scope=scope, sub=sub)
    return row["window_spend_nanos"] / NANOS, row["lifetime_spend_nanos"] / NANOS


# --- windows of teams ------------------------------------------------------------------------------------------


def test_a_full_window_of_a_team_refuses_until_its_next_begins(api: Api, clock: MovableClock):
    key = with_windows(api, HOUR)
    settle(api, allowed(api, key), 0.75)
    held = allowed(api, key, cost=0.25)

    found = refused(api, key, cost=0)

    assert (found["code"], found["status"], found["type"]) == ("budget_exceeded", 422, "budget_exceeded")
    assert found["message"] == (
        "ExceededBudget: Team=t over 1h budget. Spend=$0.75, Limit=$1.0. "
        "Held for calls under way: 0.25, asked for: 0.0"
    )
    shown = {
        "scope": "team_window",
        "id": "t",
        "sub": "1h",
        "kind": "budget",
        "limit": 1,
        "used": 0.75,
        "held": 0.25,
        "remaining": 0,
        "resets_at": "2026-11-18T14:00:00.000000Z",
    }
    assert limit(found, "team_window") == shown
    explained = change(api, "/key/explain", key=key, model=MODEL, estimate={"cost": 0})
    assert (explained["allowed"], explained["message"]) == (False, found["message"])
    assert limit(explained, "team_window") == shown
    settle(api, held, 0.25)
    rest = refused(api, key, cost=0.5)["retry_after"]
    assert rest == timedelta(minutes=12, seconds=27).total_seconds()
    clock.advance(rest - 1)
    refused(api, key, cost=0.5)
    clock.advance(1)
    assert limit(allowed(api, key), "team_window")["used"] == 0


def test_two_windows_of_a_team_hold_at_once_beside_its_budget_and_each_ends_by_itself(
    api: Api, services: Services, clock: MovableClock
):
    key = with_windows(api, HOUR, DAY, max_budget=10)
    settle(api, allowed(api, key), 1)
    first = refused(api, key, cost=0.5)
    for _ in range(2):
        clock.advance(timedelta(hours=1))
        settle(api, allowed(api, key), 1)
    clock.advance(timedelta(hours=1))

    second = refused(api, key, cost=0.5)

    assert first["message"] == "ExceededBudget: Team=t over 1h budget. Spend=$1.0, Limit=$1.0"
    assert second["message"] == "ExceededBudget: Team=t over 1d budget. Spend=$3.0, Limit=$3.0"
    shown = [(entry["scope"], entry["sub"], entry["used"]) for entry in second["limits"]]
    assert shown == [("team", None, 3), ("team_window", "1h", 0), ("team_window", "1d", 3)]
    clock.advance(timedelta(days=1))
    assert [entry["used"] for entry in allowed(api, key)["limits"]] == [3, 0, 0]
    assert is_sound(services)


def test_a_charge_of_any_key_counts_in_the_windows_of_its_team_and_of_no_other(api: Api, services: Services):
    first = with_windows(api, DAY)
    second, alone = api.generate(team_id="t")["key"], api.generate()["key"]
    settle(api, allowed(api, first, cost=1), 1)
    spent(api, second, 1.5)
    spent(api, alone, 2)

    assert limit(refused(api, first, cost=1), "team_window")["used"] == 2.5
    assert limit(allowed(api, second, cost=0.5), "team_window")["used"] == 2.5
    assert account(services, "team_window", "1d") == (2.5, 2.5)
    api.post("/key/delete", {"keys": [first]})
    assert limit(refused(api, second, cost=1), "team_window")["used"] == 2.5


def test_a_window_that_a_team_gets_starts_at_zero_and_one_that_stays_goes_on(
    api: Api, services: Services, clock: MovableClock
):
    key = with_windows(api, DAY)
    settle(api, allowed(api, key), 1)
    clock.advance(1)

    change(api, "/team/update", team_id="t", budget_limits=[HOUR, {**DAY, "max_budget": 2}])

    assert [(entry["sub"], entry["used"], entry["limit"]) for entry in allowed(api, key, cost=0)["limits"]] == [
        ("1h", 0, 1),
        ("1d", 1, 2),
    ]
    settle(api, allowed(api, key), 1)
    assert refused(api, key, cost=0)["message"].startswith("ExceededBudget: Team=t over 1h budget.")
    assert is_sound(services)


@pytest.mark.parametrize("folded", [False, True])
def test_a_window_that_is_gone_holds_nothing_and_comes_again_at_zero_its_lifetime_going_on(
    api: Api, services: Services, clock: MovableClock, folded: bool
):
    key = with_windows(api, HOUR)
    settle(api, allowed(api, key), 1)
    if folded:
        fold(services)
    clock.advance(1)

    change(api, "/team/update", team_id="t", budget_limits=None)
    assert allowed(api, key, cost=5)["limits"] == []
    clock.advance(1)
    change(api, "/team/update", team_id="t", budget_limits=[HOUR])

    assert limit(allowed(api, key, cost=0), "team_window")["used"] == 0
    settle(api, allowed(api, key), 1)
    assert limit(refused(api, key, cost=0), "team_window")["used"] == 1
    assert is_sound(services)
    assert account(services, "team_window", "1h") == (1, 2)


def test_a_window_that_no_change_has_armed_runs_since_its_team_exists(api: Api, services: Services):
    key = with_windows(api)
    with services.database.transaction() as transaction:
        transaction.execute(update(teams).values(budget_limits=[HOUR]))

    settle(api, allowed(api, key), 1)

    assert limit(refused(api, key, cost=0), "team_window")["resets_at"] == "2026-11-18T14:00:00.000000Z"
    assert is_sound(services)


def test_a_team_that_is_made_again_starts_its_windows_at_zero_whatever_was_charged_late(
    api: Api, services: Services, clock: MovableClock
):
    key = with_windows(api, DAY)
    settle(api, allowed(api, key), 1)
    fold(services)
    clock.advance(timedelta(days=1))
    settle(api, allowed(api, key), 1)
    late = allowed(api, key)
    change(api, "/team/delete", team_ids=["t"])
    assert rows(services.database, budget_state, scope="team_window") == []
    clock.advance(1)
    settle(api, late, 1)
    assert is_sound(services)
    clock.advance(1)

    again = with_windows(api, DAY)

    assert limit(allowed(api, again, cost=3), "team_window")["used"] == 0
    assert is_sound(services)


def test_what_counts_in_a_window_of_a_team_outlives_redis(api: Api, services: Services):
    key = with_windows(api, HOUR)
    settle(api, allowed(api, key, cost=0.5), 0.5)
    held = allowed(api, key, cost=0.25)
    for _ in range(2):
        with services.redis.lease() as lease:
            lease._call("FLUSHALL")
        assert limit(refused(api, key, cost=0.75), "team_window")["used"] == 0.5
        fold(services)

    settle(api, held, 0.25)

    assert limit(refused(api, key, cost=0.5), "team_window")["used"] == 0.75
    assert is_sound(services)


@on_one_store
@pytest.mark.parametrize("path", ["/team/new", "/key/generate"])
def test_two_windows_of_one_spelling_are_refused(api: Api, path: str):
    answer = api.post(path, {"budget_limits": [HOUR, {**HOUR, "max_budget": 2}]})

    assert answer.summary == (400, "invalid_request_error", "budget_limits")


def many_windows(count: int) -> dict[str, Any]:
    return {"budget_limits": [{"budget_duration": f"{n}h", "max_budget": 1} for n in range(1, count + 1)]}


def many_models(count: int) -> dict[str, Any]:
    return {"model_max_budget": {f"m{n}": {"budget_limit": 1} for n in range(count)}}


MAKING = {
    "/key/generate": {},
    "/key/service-account/generate": {"team_id": "t"},
    "/team/new": {},
    "/user/new": {},
    "/budget/new": {},
    "/organization/new": {"organization_alias": "o"},
}


@on_one_store
def test_a_holder_has_so_many_further_budgets_and_no_more(api: Api, services: Services):
    sent = [(path, many_models, 500, more) for path, more in MAKING.items()]
    sent += [(path, many_windows, 20, MAKING[path]) for path in ("/key/generate", "/team/new")]
    change(api, "/team/new", team_id="t")
    sent += [
        ("/team/update", many, most, {"team_id": "t"}) for many, most in ((many_models, 500), (many_windows, 20))
    ]
    key = api.generate()["key"]
    sent += [("/key/update", many, most, {"key": key}) for many, most in ((many_models, 500), (many_windows, 20))]
    change(api, "/user/new", user_id="u")
    change(api, "/team/member_add", team_id="t", member={"role": "user", "user_id": "u"})
    sent += [("/team/member_update", many_models, 500, {"team_id": "t", "user_id": "u"})]
    for path, many, most, more in sent:
        with unchanged(services.database):
            (field,) = many(1)
            answer = api.post(path, {**more, **many(most + 1)})
            assert answer.summary == (400, "invalid_request_error", field), (path, answer)
            assert f"at most {most}" in answer.error["message"], answer
        change(api, path, **more, **many(most))


# --- budgets for models ----------------------------------------------------------------------------------------


def of_team(api: Api, **limits: Any) -> str:
    change(api, "/team/new", team_id="h", **limits)
    key: str = api.generate(team_id="h")["key"]
    return key


def of_owner(api: Api, **limits: Any) -> str:
    change(api, "/user/new", user_id="h", auto_create_key=False, **limits)
    key: str = api.generate(user_id="h")["key"]
    return key


Holder = Callable[..., str]
HOLDERS = pytest.mark.parametrize(
    ("holder", "scope", "name"),
    [
        pytest.param(of_team, "team_model", "LiteLLM Team: h", id="team"),
        pytest.param(of_owner, "user_model", "LiteLLM User: h", id="owner"),
    ],
)
BUDGET = {MODEL: {"budget_limit": 1, "time_period": "1d"}}


def updated(api: Api, scope: str, **sent: Any) -> None:
    whose = scope.removesuffix("_model")
    change(api, f"/{whose}/update", **{f"{whose}_id": "h"}, **sent)


@HOLDERS
def test_a_budget_for_a_model_holds_the_calls_of_all_its_holders_keys_to_that_model_alone(
    api: Api, services: Services, clock: MovableClock, holder: Holder, scope: str, name: str
):
    first = holder(api, model_max_budget=BUDGET)
    second = api.generate(**{f"{scope.removesuffix('_model')}_id": "h"})["key"]
    settle(api, allowed(api, first), 1)

    found = refused(api, second, cost=0)

    assert found["message"] == f"{name}, exceeded budget for model={MODEL}"
    shown = limit(found, scope)
    assert (shown["id"], shown["sub"], shown["limit"], shown["used"]) == ("h", MODEL, 1, 1)
    assert refused(api, first, cost=0, model=f"openai/{MODEL}")["code"] == "budget_exceeded"
    assert allowed(api, first, model="another")["limits"] == []
    clock.advance(timedelta(hours=11))
    allowed(api, second)
    assert is_sound(services)


@HOLDERS
def test_a_budget_for_a_model_that_another_takes_the_place_of_starts_at_zero(
    api: Api, services: Services, clock: MovableClock, holder: Holder, scope: str, name: str
):
    key = holder(api)
    clock.advance(1)
    updated(api, scope, model_max_budget=BUDGET)
    settle(api, allowed(api, key), 1)
    assert refused(api, key, cost=0)["message"].startswith(name)
    clock.advance(1)

    updated(api, scope, model_max_budget={MODEL: {"budget_limit": 1, "time_period": "1h"}})

    assert limit(allowed(api, key, cost=0), scope)["used"] == 0
    settle(api, allowed(api, key), 1)
    assert limit(refused(api, key, cost=0), scope)["used"] == 1
    assert is_sound(services)
    assert account(services, scope, MODEL) == (1, 2)
    updated(api, scope, model_max_budget={})
    assert allowed(api, key)["limits"] == []


@HOLDERS
def test_a_holder_that_is_made_again_starts_its_budgets_for_models_at_zero(
    api: Api, services: Services, clock: MovableClock, holder: Holder, scope: str, name: str
):
    key = holder(api, model_max_budget=BUDGET)
    late = allowed(api, key, cost=0.5)
    settle(api, allowed(api, key, cost=0.5), 1)
    whose = scope.removesuffix("_model")
    change(api, f"/{whose}/delete", **{f"{whose}_ids": ["h"]})
    assert rows(services.database, budget_state, scope=scope) == []
    clock.advance(1)
    settle(api, late, 1)
    assert is_sound(services)
    clock.advance(1)

    again = holder(api, model_max_budget=BUDGET)

    assert limit(allowed(api, again), scope)["used"] == 0, name
    assert is_sound(services)


@on_one_store
@pytest.mark.parametrize("budget", [
    {"budget_limit": None, "max_budget": 1, "time_period": None, "budget_duration": "1d"},
    {"budget_limit": 1, "max_budget": None, "time_period": "1d", "budget_duration": None},
])  # fmt: skip
def test_a_null_of_either_name_does_not_hide_what_the_other_one_says(
    api: Api, clock: MovableClock, budget: dict[str, Any]
):
    key = of_team(api, model_max_budget={MODEL: budget})
    settle(api, allowed(api, key), 1)

    assert limit(refused(api, key, cost=0), "team_model")["limit"] == 1
    clock.advance(timedelta(hours=11))
    allowed(api, key)


@on_one_store
@HOLDERS
def test_rates_inside_a_budget_for_a_model_hold(api: Api, holder: Holder, scope: str, name: str):
    key = holder(api, model_max_budget={MODEL: {"rpm_limit": 1}})
    allowed(api, key)

    found = refused(api, key)

    whose = scope.removesuffix("_model")
    assert found["code"] == "rate_limited", name
    assert found["message"].startswith(
        f"Rate limit exceeded for model_per_{whose}: h:{MODEL}. Limit type: requests"
    )
    allowed(api, key, model="another")


# --- many of them, as they may be stored -----------------------------------------------------------------------


def budgets_for(models: int) -> dict[str, Any]:
    """Budgets for so many models, in windows of two spellings."""
    return {f"m{number}": {"budget_limit": 1, "time_period": ("1d", "1h")[number % 2]} for number in range(models)}


def test_a_fold_may_meet_two_thousand_accounts_and_a_change_takes_them_all_off(api: Api, services: Services):
    key = with_windows(api)
    with services.database.transaction() as transaction:
        for table in (keys, teams):
            transaction.execute(update(table).values(model_max_budget=budgets_for(1_000)))
    charges = [{"key": key, "request_id": model, "cost": 0.5, "model": model} for model in budgets_for(1_000)]
    assert post_settle(api, charges=charges).status == 200

    fold(services)

    for scope in ("key_model", "team_model"):
        found = rows(services.database, budget_state, scope=scope)
        assert {row["sub"]: row["window_spend_nanos"] / NANOS for row in found} == {
            charge["model"]: 0.5 for charge in charges
        }
    assert is_sound(services)
    change(api, "/key/update", key=key, model_max_budget={})
    change(api, "/team/update", team_id="t", model_max_budget={})
    assert allowed(api, key, model="m1")["limits"] == []


@on_one_store
def test_a_tier_with_any_number_of_budgets_for_models_can_be_changed(api: Api, services: Services):
    add_tier(services.database, "b", model_max_budget=budgets_for(1_100))
    key = api.generate(budget_id="b")["key"]
    spent(api, key, 1)
    settle(api, allowed(api, key, model="m1"), 0.5)

    change(api, "/budget/update", budget_id="b", model_max_budget=BUDGET | {"m1": {"budget_limit": 9}})

    assert limit(allowed(api, key, model="m1"), "key_model")["used"] == 0.5
    assert is_sound(services)

"""Every kind of limit, of whomever it is: it refuses at its edge, says so in numbers, and takes nothing then."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from app.domain import minting
from app.domain.teams import member_id
from tests.api.calls import MODEL, allowed, limit, refused, settle, spent
from tests.api.organizations import new as new_organization
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import on_one_store

# --- who may have limits ---------------------------------------------------------------------------------------


def of_key(api: Api, **limits: Any) -> tuple[str, str]:
    made = api.generate(**limits)
    return made["key"], made["key_id"]


def of_tier(api: Api, **limits: Any) -> tuple[str, str]:
    assert api.post("/budget/new", {"budget_id": "tier", **limits}).status == 200
    return of_key(api, budget_id="tier")


def of_team(api: Api, **limits: Any) -> tuple[str, str]:
    assert api.post("/team/new", {"team_id": "t", **limits}).status == 200
    return api.generate(team_id="t")["key"], "t"


def of_user(api: Api, **limits: Any) -> tuple[str, str]:
    assert api.post("/user/new", {"user_id": "u", "auto_create_key": False, **limits}).status == 200
    return api.generate(user_id="u")["key"], "u"


def of_member(api: Api, **limits: Any) -> tuple[str, str]:
    members = [{"role": "user", "user_id": "u"}]
    assert api.post("/team/new", {"team_id": "t", "members_with_roles": members}).status == 200
    if "max_budget" in limits:
        limits["max_budget_in_team"] = limits.pop("max_budget")
    answer = api.post("/team/member_update", {"team_id": "t", "user_id": "u", **limits})
    assert answer.status == 200, answer
    return api.generate(team_id="t", user_id="u")["key"], member_id("t", "u")


def of_organization(api: Api, **limits: Any) -> tuple[str, str]:
    organization_id = new_organization(api, **limits)["organization_id"]
    return api.generate(organization_id=organization_id)["key"], organization_id


Holder = Callable[..., tuple[str, str]]
HOLDERS: dict[str, Holder] = {
    "key": of_key,
    "tier": of_tier,
    "team": of_team,
    "user": of_user,
    "member": of_member,
    "organization": of_organization,
}
SCOPES = {"tier": "key"}
COUNTED = {
    "key": "api_key",
    "team": "team",
    "user": "user",
    "member": "team_member",
    "organization": "organization",
}
# A tier of somebody in a team has no slots.
PARALLEL = [name for name in HOLDERS if name != "member"]


# --- budgets ---------------------------------------------------------------------------------------------------

MESSAGES = {
    "key": "Budget has been exceeded! Key=key (sk-...",
    "tier": "Budget has been exceeded! Key=key (sk-...",
    "team": "Budget has been exceeded! Team=t Current cost: 1.5, Max budget: 2.0",
    "user": "ExceededBudget: User=u over budget. Spend=1.5, Budget=2.0",
    "member": "Budget has been exceeded! TeamMember=u:t Current cost: 1.5, Max budget: 2.0",
    "organization": "Budget has been exceeded! Organization=",
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_budget_refuses_at_its_edge_and_is_free_again_with_its_next_window(
    api: Api, clock: MovableClock, holder: str
):
    scope = SCOPES.get(holder, holder)
    key, identity = HOLDERS[holder](api, max_budget=2, budget_duration="1d")
    settle(api, allowed(api, key), 1.5)
    last = allowed(api, key, cost=0.4)

    found = refused(api, key, cost=0.100000001)

    assert (found["code"], found["status"], found["type"]) == ("budget_exceeded", 422, "budget_exceeded")
    assert found["message"].startswith(MESSAGES[holder])
    assert found["message"].endswith(". Held for calls under way: 0.4, asked for: 0.100000001")
    assert limit(found, scope) == {
        "scope": scope,
        "id": identity,
        "sub": None,
        "kind": "budget",
        "limit": 2,
        "used": 1.5,
        "held": 0.4,
        "remaining": 0.1,
        "resets_at": "2026-11-19T00:00:00.000000Z",
    }
    # Only the calls under way take the room; what is used up comes back with the next window.
    assert found["retry_after"] == 1
    beyond = refused(api, key, cost=0.6)
    assert "Held" not in beyond["message"]
    rest = beyond["retry_after"]
    assert rest == timedelta(hours=10, minutes=12, seconds=27).total_seconds()
    # The very last nano-dollar is still there, and then nothing is, not even for a call that costs nothing.
    allowed(api, key, cost=0.1)
    assert refused(api, key, cost=0)["code"] == "budget_exceeded"
    settle(api, last, 0)
    assert refused(api, key, cost=0.5)["code"] == "budget_exceeded"
    clock.advance(rest - 1)
    assert refused(api, key, cost=2)["code"] == "budget_exceeded"
    clock.advance(1)
    assert limit(allowed(api, key, cost=2), scope)["used"] == 0


def test_a_budget_without_a_window_never_says_when_to_come_again(api: Api):
    key = api.generate(max_budget=1)["key"]
    spent(api, key, 1)

    found = refused(api, key, cost=0)

    assert (found["retry_after"], limit(found, "key")["resets_at"]) == (None, None)


@on_one_store
@pytest.mark.parametrize(
    ("limits", "estimate", "code", "asked"),
    [
        ({"max_budget": 0}, {"cost": 0}, "budget_exceeded", "0.0 of a limit of 0.0"),
        ({"max_budget": 0.05, "budget_duration": "1d"}, {"cost": 1}, "budget_exceeded", "1.0 of a limit of 0.05"),
        ({"tpm_limit": 100}, {"input_tokens": 200}, "rate_limited", "200 of a limit of 100"),
        ({"tpm_limit": 0}, {"input_tokens": 0}, "rate_limited", "0 of a limit of 0"),
        ({"rpm_limit": 0}, {}, "rate_limited", "1 of a limit of 0"),
        ({"max_parallel_requests": 0}, {}, "concurrency_exceeded", "1 of a limit of 0"),
    ],
)
def test_a_call_that_can_never_fit_is_not_told_to_come_again(
    api: Api, limits: dict[str, Any], estimate: dict[str, Any], code: str, asked: str
):
    found = refused(api, api.generate(**limits)["key"], cost=None, estimate={"cost": 0, **estimate})

    assert (found["code"], found["retry_after"]) == (code, None)
    assert found["message"].endswith(f". The call asks for {asked}: it will never fit")


def test_a_budget_for_a_model_holds_its_calls_alone(api: Api, clock: MovableClock):
    made = api.generate(key_alias="a", model_max_budget={MODEL: {"budget_limit": 1, "time_period": "1d"}})
    key = made["key"]
    settle(api, allowed(api, key), 1)

    found = refused(api, key, cost=0)

    assert found["message"] == (
        f"LiteLLM Virtual Key: {made['token']}, key_alias: a, exceeded budget for model={MODEL}"
    )
    shown = limit(found, "key_model")
    assert (shown["sub"], shown["limit"], shown["used"]) == (MODEL, 1, 1)
    assert shown["resets_at"] == "2026-11-19T00:00:00.000000Z"
    assert refused(api, key, cost=0, model=f"openai/{MODEL}")["code"] == "budget_exceeded"
    assert allowed(api, key, model="another")["limits"] == []
    clock.advance(timedelta(hours=11))
    allowed(api, key)


def test_a_further_window_holds_beside_the_budget_and_each_ends_by_itself(api: Api, clock: MovableClock):
    windows = [{"budget_duration": "1h", "max_budget": 1}, {"budget_duration": "1d", "max_budget": 3}]
    key = api.generate(max_budget=10, budget_limits=windows)["key"]
    settle(api, allowed(api, key), 1)

    first = refused(api, key, cost=0.5)
    clock.advance(timedelta(hours=1))
    settle(api, allowed(api, key), 1)
    clock.advance(timedelta(hours=1))
    settle(api, allowed(api, key), 1)
    clock.advance(timedelta(hours=1))
    second = refused(api, key, cost=0.5)

    assert first["message"] == "ExceededBudget: Key over 1h budget. Spend=$1.0, Limit=$1.0"
    assert second["message"] == "ExceededBudget: Key over 1d budget. Spend=$3.0, Limit=$3.0"
    assert [(entry["sub"], entry["used"]) for entry in second["limits"]] == [(None, 3), ("1h", 0), ("1d", 3)]


def test_a_temporary_increase_counts_at_once_and_ends_by_the_clock(api: Api, clock: MovableClock):
    key = api.generate(max_budget=1)["key"]
    spent(api, key, 1)
    refused(api, key)
    until = (clock.now() + timedelta(hours=1)).isoformat()
    api.post("/key/update", {"key": key, "temp_budget_increase": 2, "temp_budget_expiry": until})

    raised = allowed(api, key, cost=2)
    api.post("/key/release", {"reservation_id": raised["reservation_id"]})
    clock.advance(3599)
    allowed(api, key, request_id="last")
    clock.advance(1)
    found = refused(api, key, cost=0)

    assert (limit(raised, "key")["limit"], limit(found, "key")["limit"]) == (3, 1)
    assert limit(found, "key")["remaining"] == 0


def test_calls_of_all_keys_of_a_team_share_its_budget(api: Api):
    first, _ = of_team(api, max_budget=1)
    second = api.generate(team_id="t")["key"]
    settle(api, allowed(api, first), 0.75)

    assert limit(refused(api, second, cost=0.5), "team")["used"] == 0.75
    assert api.info(second)["spend"] == 0


# --- rates -----------------------------------------------------------------------------------------------------


@on_one_store
@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("unit", ["requests", "tokens"])
def test_a_rate_refuses_at_its_edge_until_the_minute_is_over(
    api: Api, clock: MovableClock, holder: str, unit: str
):
    scope = SCOPES.get(holder, holder)
    name, count, tokens = ("rpm_limit", 2, 0) if unit == "requests" else ("tpm_limit", 20, 10)
    key, identity = HOLDERS[holder](api, **{name: count})
    call: dict[str, Any] = {"estimate": {"input_tokens": tokens}}
    allowed(api, key, **call)
    allowed(api, key, **call)

    found = refused(api, key, **call)

    assert (found["code"], found["status"], found["type"]) == ("rate_limited", 429, "throttling_error")
    named = {"key": minting.digest(key), "member": "t:u"}.get(scope, identity)
    assert found["message"] == (
        f"Rate limit exceeded for {COUNTED[scope]}: {named}. Limit type: {unit}. Current limit: {count}, "
        "Remaining: 0. Limit resets at: 2026-11-18 13:48:00 UTC"
    )
    shown = limit(found, scope, unit)
    assert (shown["limit"], shown["used"], shown["remaining"]) == (count, count, 0)
    assert (shown["resets_at"], found["retry_after"]) == ("2026-11-18T13:48:00.000000Z", 27)
    clock.advance(27)
    assert limit(allowed(api, key, **call), scope, unit)["used"] == (tokens or 1)


@on_one_store
@pytest.mark.parametrize("holder", ["key", "team", "organization"])
@pytest.mark.parametrize("unit", ["requests", "tokens"])
def test_a_rate_for_a_model_holds_its_calls_alone(api: Api, holder: str, unit: str):
    name, count = ("model_rpm_limit", 1) if unit == "requests" else ("model_tpm_limit", 10)
    key, _ = HOLDERS[holder](api, **{name: {MODEL: count}})
    call: dict[str, Any] = {"estimate": {"output_tokens": 10}}
    allowed(api, key, **call)

    found = refused(api, key, **call)

    assert (found["code"], limit(found, f"{holder}_model", unit)["sub"]) == ("rate_limited", MODEL)
    assert f"Rate limit exceeded for model_per_{COUNTED[holder].removeprefix('api_')}: " in found["message"]
    assert f":{MODEL}. Limit type: {unit}" in found["message"]
    assert allowed(api, key, model="another", **call)["limits"] == []


def test_tokens_that_were_reserved_are_corrected_by_those_that_were_used(api: Api):
    key = api.generate(tpm_limit=100)["key"]
    held = allowed(api, key, estimate={"input_tokens": 40, "output_tokens": 50})
    assert refused(api, key, estimate={"input_tokens": 20})["code"] == "rate_limited"
    settle(api, held, 1, usage={"input_tokens": 30, "output_tokens": 5})

    assert limit(allowed(api, key, estimate={"input_tokens": 65}), "key", "tokens")["used"] == 100


# --- parallel requests -----------------------------------------------------------------------------------------


@on_one_store
@pytest.mark.parametrize("holder", PARALLEL)
@pytest.mark.parametrize("ending", ["settle", "release", "time"])
def test_a_parallel_request_is_refused_until_another_has_ended(
    api: Api, clock: MovableClock, holder: str, ending: str
):
    scope = SCOPES.get(holder, holder)
    key, _ = HOLDERS[holder](api, max_parallel_requests=2)
    first, _ = (allowed(api, key, lease_seconds=60 * count) for count in (1, 2))

    found = refused(api, key)

    assert (found["code"], found["status"], found["type"]) == ("concurrency_exceeded", 429, "throttling_error")
    assert "Limit type: max_parallel_requests. Current limit: 2, Remaining: 0." in found["message"]
    assert "Limit resets at: 2026-11-18 13:48:33 UTC" in found["message"]
    shown = limit(found, scope, "parallel_requests")
    assert (shown["limit"], shown["used"], shown["held"], shown["remaining"], shown["resets_at"]) == (
        2,
        0,
        2,
        0,
        None,
    )
    assert found["retry_after"] == 1
    if ending == "settle":
        settle(api, first, 1)
    elif ending == "release":
        api.post("/key/release", {"reservation_id": first["reservation_id"]})
    else:
        clock.advance(60)
    allowed(api, key)
    refused(api, key)

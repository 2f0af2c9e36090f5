"""Explain answers what verify would answer, says every reason, and holds nothing."""

from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.clock import iso
from app.container import Services
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import on_one_store

SAME = ("allowed", "code", "message", "status", "type", "param", "model", "key")


def asked(key: str, **more: Any) -> dict[str, Any]:
    return {"key": key, "model": "gpt-4o", "estimate": {"cost": 1, "input_tokens": 10}, **more}


def explain(api: Api, key: str, **more: Any) -> dict[str, Any]:
    answer = api.post("/key/explain", asked(key, **more))
    assert answer.status == 200, answer
    return answer.body


def verify(api: Api, key: str, **more: Any) -> dict[str, Any]:
    answer = api.post("/key/verify", asked(key, **more))
    assert answer.status == 200, answer
    return answer.body


def test_every_rule_is_told_in_the_order_in_which_they_decide(api: Api):
    key = api.generate(max_budget=2, rpm_limit=5, max_parallel_requests=1, models=["gpt-4o"])["key"]

    found = explain(api, key)

    rules = {rule["rule"]: rule for rule in found["rules"]}
    assert found["allowed"]
    assert {rule["outcome"] for rule in found["rules"]} == {"passed"}
    assert next(iter(rules)) == "key_exists"
    assert list(rules)[-3:] == ["budget", "requests", "parallel_requests"]
    assert rules["budget"]["inputs"] | {"id": ""} == {
        "scope": "key",
        "id": "",
        "sub": None,
        "limit": 2,
        "used": 0,
        "held": 0,
        "asked": 1,
        "resets_at": None,
    }


def test_explaining_holds_nothing_and_sees_what_is_held(api: Api):
    key = api.generate(max_budget=2, max_parallel_requests=2)["key"]
    for _ in range(5):
        assert explain(api, key)["allowed"]

    verify(api, key)
    one = explain(api, key)
    verify(api, key)
    two = explain(api, key)

    assert [limit["held"] for limit in one["limits"]] == [1, 1]
    assert (one["allowed"], two["allowed"], two["code"]) == (True, False, "budget_exceeded")
    refused = [rule["rule"] for rule in two["rules"] if rule["outcome"] == "refused"]
    assert refused == ["budget", "parallel_requests"]


def test_another_time_is_judged_by_its_own_windows_and_expiry(api: Api, clock: MovableClock):
    key = api.generate(max_budget=1, budget_duration="1d", duration="2d")["key"]
    held = verify(api, key)
    api.post("/key/settle", {"reservation_id": held["reservation_id"], "cost": 1})
    tomorrow, later = clock.now() + timedelta(days=1), clock.now() + timedelta(days=3)

    now, then, after = explain(api, key), explain(api, key, at=iso(tomorrow)), explain(api, key, at=iso(later))

    assert (now["code"], then["code"], after["code"]) == ("budget_exceeded", "allowed", "expired")
    assert then["at"] == iso(tomorrow)


def test_a_dismissed_call_names_each_rule_that_refuses(api: Api):
    key = api.generate(models=["gpt-4o"], enforced_params=["user"])["key"]
    api.post("/key/block", {"key": key})

    found = explain(api, key, model="o1")

    assert found["code"] == "blocked"
    refused = [rule["code"] for rule in found["rules"] if rule["outcome"] == "refused"]
    assert refused == ["blocked", "model_not_allowed", "parameter_missing"]
    assert found["limits"] == []


LIMITS = {
    "max_budget": st.sampled_from([0, 1, 2, 3]),
    "rpm_limit": st.sampled_from([0, 1, 3]),
    "tpm_limit": st.sampled_from([5, 10, 25]),
    "max_parallel_requests": st.sampled_from([0, 1, 2]),
    "models": st.sampled_from([[], ["gpt-4o"], ["o1"]]),
    "budget_duration": st.sampled_from(["1d", "1h"]),
    "duration": st.sampled_from(["90s", "1d"]),
}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.sampled_from(["gpt-4o", "o1"])),
        st.tuples(st.just("settle"), st.sampled_from([0, 0.5, 1, 2])),
        st.tuples(st.just("wait"), st.sampled_from([30, 700, 3600])),
    ),
    min_size=2,
    max_size=8,
)


@on_one_store
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=st.fixed_dictionaries({}, optional=LIMITS), steps=STEPS)
def test_explain_equals_verify(
    api: Api, services: Services, clock: MovableClock, fields: dict[str, Any], steps: list[tuple[str, Any]]
):
    key = api.generate(**fields)["key"]
    held: list[str] = []

    for step, what in steps:
        if step == "wait":
            clock.advance(what)
        elif step == "settle" and held:
            api.post("/key/settle", {"reservation_id": held.pop(), "cost": what})
        elif step == "call":
            explained, verified = explain(api, key, model=what), verify(api, key, model=what)
            assert {name: explained[name] for name in SAME} == {name: verified[name] for name in SAME}
            if verified["allowed"]:
                held.append(verified["reservation_id"])
                assert [limit["used"] for limit in explained["limits"] if limit["kind"] == "budget"] == [
                    limit["used"] for limit in verified["limits"] if limit["kind"] == "budget"
                ]

"""What a call holds, for how long, and what it is when it is sent again."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.clock import iso
from app.config import Settings
from app.container import Services, build
from app.domain.money import MAXIMUM_DOLLARS
from app.services.decisions.prices import Prices
from tests.api.calls import MODEL, allowed, limit, refused, settle, verify
from tests.apps import app_over
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import on_one_store, unchanged


def price(tokens_in: int, tokens_out: int, services: Services, model: str = MODEL) -> float:
    found = Prices(None).cost(model, input_tokens=tokens_in, output_tokens=tokens_out, now=services.clock.now())
    assert found
    return found / 1_000_000_000


def held(verdict: dict[str, Any]) -> float:
    found: float = limit(verdict, "key")["held"]
    return found


# --- how much --------------------------------------------------------------------------------------------------


@on_one_store
def test_a_cost_that_is_said_is_held_and_goes_before_tokens(api: Api):
    key = api.generate(max_budget=10)["key"]

    assert held(allowed(api, key, cost=0.25, estimate={"input_tokens": 10**6, "output_tokens": 10**6})) == 0.25


@on_one_store
def test_tokens_are_held_at_their_price(api: Api, services: Services):
    key = api.generate(max_budget=10)["key"]

    found = allowed(api, key, cost=None, estimate={"input_tokens": 1000, "output_tokens": 2000})

    assert held(found) == price(1000, 2000, services)


@on_one_store
def test_an_alias_is_held_at_the_price_of_what_it_stands_for(api: Api, services: Services):
    key = api.generate(max_budget=10, aliases={"mine": MODEL})["key"]

    assert held(allowed(api, key, cost=None, model="mine", estimate={"input_tokens": 1000})) == price(
        1000, 0, services
    )


@on_one_store
@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({"default_estimated_output_tokens": 300}, 300),
        ({"default_estimated_output_tokens_per_model": {MODEL: 500}}, 500),
        ({"default_estimated_output_tokens": 300, "default_estimated_output_tokens_per_model": {MODEL: 500}}, 500),
        ({"default_estimated_output_tokens": 300, "default_estimated_output_tokens_per_model": {"other": 5}}, 300),
    ],
)
def test_a_keys_own_default_estimated_output_tokens_stand_in_for_those_that_nobody_says(
    api: Api, services: Services, fields: dict[str, Any], output: int
):
    key = api.generate(max_budget=10, tpm_limit=10_000, **fields)["key"]

    silent = allowed(api, key, cost=None)
    assert (held(silent), limit(silent, "key", "tokens")["used"]) == (price(0, output, services), output)
    told = allowed(api, key, cost=None, estimate={"input_tokens": 7, "output_tokens": 11})
    assert limit(told, "key", "tokens")["used"] == output + 18


@on_one_store
@pytest.mark.parametrize("model", [MODEL, "no such model", None])
def test_where_nobody_says_anything_the_settings_default_is_held(
    settings: Settings, clock: MovableClock, model: str | None
):
    services = build(replace(settings, default_estimate_nanos=123_456_789), clock)
    try:
        api = Api(app_over(services))
        key = api.generate(max_budget=10)["key"]
        assert held(allowed(api, key, cost=None, model=model)) == 0.123456789
    finally:
        services.close()


@on_one_store
def test_tokens_of_a_model_without_a_price_hold_the_default_unless_an_estimate_is_required(api: Api):
    key = api.generate(max_budget=10)["key"]
    unpriced: dict[str, Any] = {"model": "no such model", "estimate": {"input_tokens": 5}}

    assert held(allowed(api, key, cost=None, **unpriced)) == 0.01
    assert refused(api, key, cost=None, require_estimate=True, **unpriced)["code"] == "estimate_required"
    assert allowed(api, key, cost=None, require_estimate=True, estimate={"input_tokens": 5})


# --- again -----------------------------------------------------------------------------------------------------


def test_an_allowed_call_that_is_sent_again_is_allowed_by_its_first_reservation(api: Api, clock: MovableClock):
    key = api.generate(max_budget=1, rpm_limit=1, max_parallel_requests=1)["key"]
    first = allowed(api, key, request_id="r")
    clock.advance(5)

    again = allowed(api, key, request_id="r", cost=0.5, lease_seconds=30)
    settled = settle(api, again, 0.75)
    after = allowed(api, key, request_id="r")

    assert (first["replayed"], again["replayed"], after["replayed"]) == (False, True, True)
    for name in ("reservation_id", "lease_ends_at"):
        assert first[name] == again[name] == after[name]
    assert [entry["held"] for entry in again["limits"]] == [entry["held"] for entry in first["limits"]]
    assert (settled["estimate"], settled["cost"]) == (1, 0.75)


@on_one_store
def test_a_request_id_is_one_call_of_one_key(api: Api):
    first, second = (api.generate(max_budget=1)["key"] for _ in range(2))
    allowed(api, first, request_id="r")

    assert allowed(api, second, request_id="r")["replayed"] is False


@on_one_store
def test_a_refusal_is_decided_afresh(api: Api):
    key = api.generate(max_budget=1)["key"]
    hindering = allowed(api, key)
    refused(api, key, request_id="r")
    api.post("/key/release", {"reservation_id": hindering["reservation_id"]})

    assert allowed(api, key, request_id="r")["replayed"] is False


@on_one_store
def test_a_replay_is_no_way_around_a_block_or_a_list_of_models(api: Api):
    key = api.generate()["key"]
    allowed(api, key, request_id="r")

    api.post("/key/update", {"key": key, "models": ["another"]})
    assert refused(api, key, request_id="r")["code"] == "model_not_allowed"
    api.post("/key/block", {"key": key})
    assert refused(api, key, request_id="r")["code"] == "blocked"


@on_one_store
def test_a_call_without_a_request_id_is_given_one_that_names_it_to_settle(api: Api):
    key = api.generate()["key"]
    first, second = verify(api, key), verify(api, key)

    assert first["request_id"] != second["request_id"]
    sent = {"key": key, "request_id": first["request_id"], "cost": 0.5}
    assert api.post("/key/settle", sent).body["estimate"] == 1


# --- how long --------------------------------------------------------------------------------------------------


@on_one_store
@pytest.mark.parametrize(("lease", "seconds"), [(None, 600), (1, 1), (0.5, 0.5), (3600, 3600), ("90", 90)])
def test_a_hold_stands_for_as_long_as_it_was_asked_for(
    api: Api, clock: MovableClock, lease: object, seconds: float
):
    found = allowed(api, api.generate()["key"], lease_seconds=lease)

    assert found["lease_ends_at"] == iso(clock.now() + timedelta(seconds=seconds))


@on_one_store
@pytest.mark.parametrize("lease", [0, -1, 3600.001, "NaN", "Infinity", 1e300])
def test_a_lease_that_is_none_or_too_long_is_refused_and_holds_nothing(
    api: Api, services: Services, lease: object
):
    key = api.generate(max_budget=1)["key"]

    with unchanged(services.database):
        answer = api.post("/key/verify", {"key": key, "model": MODEL, "lease_seconds": lease})

    assert answer.summary == (400, "invalid_request_error", "lease_seconds"), answer
    assert held(allowed(api, key)) == 1


def test_what_is_held_past_its_lease_is_free_for_the_next_call_with_no_job_run(api: Api, clock: MovableClock):
    key = api.generate(max_budget=1)["key"]
    late = allowed(api, key, lease_seconds=60)
    clock.advance(59)
    refused(api, key)
    clock.advance(1)

    found = allowed(api, key)

    assert (held(found), limit(found, "key")["used"]) == (1, 0)
    # The late charge is taken in full all the same.
    assert settle(api, late, 1)["duplicate"] is False
    assert limit(refused(api, key), "key")["used"] == 1


@on_one_store
def test_the_largest_budget_is_held_to_the_last_nano_dollar(api: Api):
    key = api.generate(max_budget=MAXIMUM_DOLLARS)["key"]
    allowed(api, key, cost=8999999.999999998)

    assert refused(api, key, cost=0.000000003)["code"] == "budget_exceeded"
    allowed(api, key, cost=0.000000002)
    assert refused(api, key, cost=0)["code"] == "budget_exceeded"

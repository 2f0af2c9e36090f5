"""What deciding and charging cost in round trips and statements, whatever there is of keys, charges and limits."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.container import Services
from app.dispatch import TaskName
from app.models import ledger_unfolded
from tests.api.calls import allowed, post_settle, refused, settle, spent
from tests.api.costs import Cost, Measure, measuring
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import rows
from tests.faults.proxy import RedisProxy
from tests.servers import RedisServer


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[RedisProxy]:
    redis_server.clear()
    with RedisProxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def redis_url(proxy: RedisProxy) -> str:
    """Redis, reached through what counts the commands."""
    return proxy.url


@pytest.fixture
def cost(services: Services, proxy: RedisProxy) -> Iterator[Measure]:
    with measuring(services, proxy) as measure:
        yield measure


@pytest.fixture
def gateway(api: Api, services: Services) -> str:
    """A gateway of its own, with a connection open and the scripts known."""
    key: str = api.generate(permissions={"gateway": True})["key"]
    first = api.generate(max_budget=1, max_parallel_requests=1)["key"]
    call = allowed(api, first, caller=key, lease_seconds=1)
    refused(api, first, caller=key)
    settle(api, call, 0)
    refused(api, first, 2, caller=key)
    api.get("/models", first)
    api.post("/key/update", {"key": first, "spend": 0})
    services.jobs.run(TaskName.REAP_HOLDS, lambda: True)
    return key


@pytest.fixture
def everywhere(api: Api) -> dict[str, Any]:
    """The fields of a key with every limit there is, in a team of an organization, of an owner."""
    limits = {"max_budget": 1000, "budget_duration": "1d", "rpm_limit": 1000, "tpm_limit": 10**6}
    parallel = {"max_parallel_requests": 1000}
    further: dict[str, Any] = {
        "budget_limits": [{"budget_duration": "1h", "max_budget": 1000}],
        "model_max_budget": {"gpt-4o": {"budget_limit": 1000, "time_period": "1d"}},
    }
    bodies: dict[str, dict[str, Any]] = {
        "/organization/new": {"organization_id": "o", "organization_alias": "O", **limits, **parallel},
        "/team/new": {
            "team_id": "t",
            "organization_id": "o",
            **limits,
            **parallel,
            "members_with_roles": [{"role": "user", "user_id": "u"}],
            **further,
        },
        "/team/member_update": {
            "team_id": "t",
            "user_id": "u",
            "max_budget_in_team": 1000,
            "budget_duration": "1d",
            "rpm_limit": 1000,
        },
        "/user/update": {"user_id": "u", **limits, **parallel, "model_max_budget": further["model_max_budget"]},
    }
    for path, body in bodies.items():
        answer = api.post(path, body)
        assert answer.status == 200, answer
    return {
        "team_id": "t",
        "user_id": "u",
        **limits,
        **parallel,
        **further,
        "model_rpm_limit": {"gpt-4o": 1000},
    }


ONE_ROUND_TRIP = Cost(0, 0, ("hold",))


# --- verify ----------------------------------------------------------------------------------------------------


def test_a_warm_verify_is_one_round_trip_the_gateways_own_key_included(api: Api, cost: Measure, gateway: str):
    key = api.generate()["key"]
    allowed(api, key, caller=gateway)

    assert cost(lambda: allowed(api, key, caller=gateway)) == ONE_ROUND_TRIP
    assert cost(lambda: allowed(api, key)) == ONE_ROUND_TRIP


def test_a_warm_verify_is_one_round_trip_whatever_limits_there_are(
    api: Api, cost: Measure, gateway: str, everywhere: dict[str, Any]
):
    key = api.generate(**everywhere)["key"]
    assert len(allowed(api, key, caller=gateway)["limits"]) == 24

    assert cost(lambda: allowed(api, key, caller=gateway)) == ONE_ROUND_TRIP
    assert cost(lambda: allowed(api, key, caller=gateway, request_id="r")) == ONE_ROUND_TRIP
    assert cost(lambda: allowed(api, key, caller=gateway, request_id="r")) == ONE_ROUND_TRIP


def test_a_refusal_without_counting_is_one_round_trip(api: Api, cost: Measure, gateway: str):
    key = api.generate(models=["another"])["key"]
    refused(api, key, caller=gateway)
    refused(api, "sk-unknown-key-0000", caller=gateway)

    assert cost(lambda: refused(api, key, caller=gateway)) == Cost(0, 0, ("check",))
    assert cost(lambda: refused(api, "sk-unknown-key-0000", caller=gateway)) == Cost(0, 0, ("check",))


@pytest.mark.parametrize("full", ["rpm_limit", "max_parallel_requests"])
def test_a_refusal_by_a_rate_or_by_parallel_requests_is_one_round_trip(
    api: Api, cost: Measure, gateway: str, full: str
):
    key = api.generate(**{full: 1})["key"]
    allowed(api, key, caller=gateway)

    assert cost(lambda: refused(api, key, caller=gateway)) == ONE_ROUND_TRIP


def test_a_refusal_by_a_budget_is_confirmed_once_and_is_one_round_trip_then(api: Api, cost: Measure, gateway: str):
    key = api.generate(max_budget=1)["key"]
    allowed(api, key, cost=0, caller=gateway)
    spent(api, key, 1)

    # The refusal, the note, one SELECT, the set, and the refusal again.
    assert cost(lambda: refused(api, key, caller=gateway)) == Cost(1, 0, ("hold", "note", "set", "hold"))
    assert cost(lambda: refused(api, key, caller=gateway)) == ONE_ROUND_TRIP


def test_a_refusal_asks_the_ledger_about_holds_that_are_over_in_one_statement(
    api: Api, clock: MovableClock, cost: Measure, gateway: str
):
    key = api.generate(max_budget=3)["key"]
    for _ in range(3):
        allowed(api, key, caller=gateway, lease_seconds=60)
    clock.advance(60)

    found = cost(lambda: allowed(api, key, caller=gateway))

    assert found == Cost(1, 0, ("hold", "expired", "close", "hold"))


@pytest.mark.parametrize("many", [False, True])
def test_a_cold_verify_reads_the_key_and_all_its_counters_at_once(
    api: Api, cost: Measure, gateway: str, everywhere: dict[str, Any], many: bool
):
    key = api.generate(**(everywhere if many else {"max_budget": 1}))["key"]

    # The ids, then the snapshot; and the spends of all its accounts.
    assert cost(lambda: allowed(api, key, caller=gateway)) == Cost(3, 0, ("adopt", "hold", "note", "set", "hold"))


def test_a_changed_key_is_read_again_once(api: Api, cost: Measure, gateway: str):
    key = api.generate(max_budget=9)["key"]
    allowed(api, key, caller=gateway)
    api.post("/key/update", {"key": key, "max_budget": 8})

    # One script finds the memory old; both keys that it was decided by are read again.
    assert cost(lambda: allowed(api, key, caller=gateway)) == Cost(4, 0, ("hold", "adopt", "adopt", "hold"))
    assert cost(lambda: allowed(api, key, caller=gateway)) == ONE_ROUND_TRIP


# --- settle, release, extend -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 100])
def test_charging_takes_as_many_statements_for_a_hundred_calls_as_for_one(
    api: Api, cost: Measure, gateway: str, everywhere: dict[str, Any], count: int
):
    key = api.generate(**everywhere)["key"]
    held = [allowed(api, key, caller=gateway) for _ in range(count)]
    charges = [{"reservation_id": call["reservation_id"], "cost": 0.5} for call in held]

    # Accounts that use opens, the move of windows, the charges, and where they wait.
    first = cost(lambda: post_settle(api, caller=gateway, charges=charges))
    assert first == Cost(4, 1, ("check", "close"))
    # Again: what was charged before is read, and healed.
    again = cost(lambda: post_settle(api, caller=gateway, charges=charges))
    assert again == Cost(6, 1, ("check", "close", "note", "set"))


@pytest.mark.parametrize("count", [1, 100])
def test_charging_calls_that_were_never_held_reads_their_key_once(
    api: Api, cost: Measure, gateway: str, count: int
):
    key = api.generate(max_budget=900)["key"]
    allowed(api, key, caller=gateway)
    charges = [{"key": key, "request_id": str(number), "cost": 0.5} for number in range(count)]

    found = cost(lambda: post_settle(api, caller=gateway, charges=charges))

    reads = ("HGET",) * count
    assert found == Cost(2, 1, ("check", "check", *reads, "close"))


@pytest.mark.parametrize("count", [2, 40])
def test_charging_calls_of_many_keys_takes_as_many_statements_as_those_of_two(
    api: Api, cost: Measure, gateway: str, count: int
):
    alive, gone = ([api.generate(team_id="t")["key"] for _ in range(count)] for _ in range(2))
    api.post("/key/delete", {"keys": gone})
    cold = [*alive, *gone, *(f"sk-unknown-{number:08}" for number in range(count))]
    charges = [{"key": key, "request_id": "r", "cost": 0.5} for key in cold]
    answers = []

    found = cost(lambda: answers.append(post_settle(api, caller=gateway, charges=charges)))

    # The live keys, the deleted ones, the charges, and where they wait.
    assert found == Cost(4, 1, ("check", *("HGET",) * 2 * count, "close"))
    taken = ["error" not in result for result in answers[0].body["results"]]
    assert taken == [True] * 2 * count + [False] * count


def test_releasing_and_extending(api: Api, cost: Measure, gateway: str):
    key = api.generate(max_budget=9)["key"]
    sent = {"reservation_id": allowed(api, key, caller=gateway)["reservation_id"]}
    api.post("/key/extend", sent, key=gateway)

    assert cost(lambda: api.post("/key/extend", sent, key=gateway)) == Cost(0, 0, ("check", "extend"))
    assert cost(lambda: api.post("/key/release", sent, key=gateway)) == Cost(1, 0, ("check", "close"))


# --- logs of calls ---------------------------------------------------------------------------------------------

LOGGING = {"logging": [{"callback_name": "generic_api"}, {"callback_name": "langfuse"}]}
LOG = {"status": "success", "metadata": {"a": 1}}


@pytest.mark.parametrize("count", [1, 100])
def test_telling_of_calls_takes_as_many_statements_for_a_hundred_calls_and_keys_as_for_one(
    api: Api, cost: Measure, gateway: str, count: int
):
    keys = [api.generate(metadata=LOGGING)["key"] for _ in range(count)]
    api.post("/key/delete", {"keys": [gone := api.generate(metadata=LOGGING)["key"]]})
    logs = [{**LOG, "key": key, "request_id": "r"} for key in keys]

    # The keys with all that is told of them, and the logs.
    assert cost(lambda: api.post("/key/log", {"logs": logs}, key=gateway)) == Cost(2, 1, ("check",))
    assert cost(lambda: api.post("/key/log", {"logs": logs}, key=gateway)) == Cost(2, 1, ("check",))
    # And the archive, where one is not there.
    with_gone = [*logs, {**LOG, "key": gone, "request_id": "r"}]
    assert cost(lambda: api.post("/key/log", {"logs": with_gone}, key=gateway)) == Cost(3, 1, ("check",))


def test_telling_of_a_call_that_goes_nowhere_writes_nothing(api: Api, cost: Measure, gateway: str):
    sent = {**LOG, "key": api.generate()["key"], "request_id": "r"}

    assert cost(lambda: api.post("/key/log", sent, key=gateway)) == Cost(1, 0, ("check",))


def test_telling_of_a_key_out_of_sight_costs_what_one_that_does_not_exist_costs(
    api: Api, cost: Measure, gateway: str
):
    assert api.post("/key/log", LOG, key=gateway).status == 400
    bound = api.generate(permissions={"gateway": True, "gateway_teams": ["t"]})["key"]
    foreign, gone = (api.generate(metadata=LOGGING)["key"] for _ in range(2))
    api.post("/key/delete", {"keys": [gone]})
    api.post("/key/log", LOG, key=bound)

    costs = [
        cost(lambda sent={**LOG, "key": key, "request_id": "r"}: api.post("/key/log", sent, key=bound))
        for key in (foreign, gone, "sk-unknown-key-0000")
    ]

    assert costs == [Cost(2, 0, ("check",))] * 3


@pytest.mark.parametrize("count", [1, 100])
def test_a_charge_that_brings_its_log_takes_one_statement_more_before_it_and_one_within(
    api: Api, cost: Measure, gateway: str, everywhere: dict[str, Any], count: int
):
    key = api.generate(**everywhere, metadata=LOGGING)["key"]
    held = [allowed(api, key, caller=gateway) for _ in range(count)]
    charges = [{"reservation_id": call["reservation_id"], "cost": 0.5, "log": LOG} for call in held]

    assert cost(lambda: post_settle(api, caller=gateway, charges=charges)) == Cost(6, 1, ("check", "close"))


# --- the rollup ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 100])
def test_folding_takes_as_many_statements_for_a_hundred_charges_as_for_one(
    api: Api, services: Services, cost: Measure, gateway: str, everywhere: dict[str, Any], count: int
):
    key = api.generate(**everywhere)["key"]
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    held = [allowed(api, key, caller=gateway, tags=["a"], user="e") for _ in range(count)]
    post_settle(api, charges=[{"reservation_id": call["reservation_id"], "cost": 0.5} for call in held])

    found = cost(lambda: services.jobs.run(TaskName.FOLD_LEDGER, lambda: True))

    # Twelve in the transaction that folds and before it, five for the caps of the five kinds of scopes, and the
    # record of the run.
    assert found == Cost(18, 2, ("close", "note", "set"))
    assert rows(services.database, ledger_unfolded) == []

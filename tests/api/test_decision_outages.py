"""Decisions while something is wrong: with what was sent, with Redis, or with what Redis has lost."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from app.config import Settings
from app.container import Services, build
from app.dispatch import TaskName
from app.models import ledger
from app.setting_variables import AfterRedisLoss, WithoutRedis
from app.store import balances
from tests.api.calls import MODEL, allowed, limit, post_settle, refused, settle
from tests.apps import app_over
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import on_one_store, rows, unchanged
from tests.faults.proxy import Command, Cut, RedisProxy, runs
from tests.servers import RedisServer

UNKNOWN = "sk-unknown-key-0000"


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[RedisProxy]:
    redis_server.clear()
    with RedisProxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def redis_url(proxy: RedisProxy) -> str:
    return proxy.url


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    with Redis.from_url(redis_server.url) as client:
        yield client


Opened = Callable[..., AbstractContextManager[Api]]


@pytest.fixture
def opened(settings: Settings, clock: MovableClock) -> Opened:
    """Make one more process, with settings of its own."""

    @contextmanager
    def make(**changed: Any) -> Iterator[Api]:
        services = build(replace(settings, **changed), clock)
        try:
            yield Api(app_over(services))
        finally:
            services.close()

    return make


# --- bad input -------------------------------------------------------------------------------------------------

BAD: list[tuple[dict[str, Any], int]] = [
    ({"key": None}, 422),
    ({"key": 5}, 422),
    ({"model": 5}, 422),
    ({"model": "m" * 513}, 422),
    ({"fallbacks": "m"}, 422),
    ({"route": "/" * 513}, 422),
    ({"params": 5}, 422),
    ({"params": [1]}, 422),
    ({"cache": "no-cache"}, 422),
    ({"guardrails": [{}]}, 422),
    ({"tools": [None]}, 422),
    ({"vector_stores": True}, 422),
    ({"mcp_servers": 1.5}, 422),
    ({"tags": {"a": 1}}, 422),
    ({"user": []}, 422),
    ({"estimate": []}, 422),
    ({"estimate": {"cost": "much"}}, 422),
    ({"estimate": {"cost": -0.1}}, 400),
    ({"estimate": {"cost": "NaN"}}, 400),
    ({"estimate": {"cost": 9_000_000.000000001}}, 400),
    ({"estimate": {"input_tokens": -1}}, 422),
    ({"estimate": {"output_tokens": 1.5}}, 422),
    ({"estimate": {"output_tokens": 1_000_000_001}}, 422),
    ({"request_id": "r" * 513}, 422),
    ({"request_id": "\x00"}, 422),
    ({"lease_seconds": "soon"}, 422),
    ({"require_estimate": "perhaps"}, 422),
]


@on_one_store
@pytest.mark.parametrize(("wrong", "status"), BAD)
def test_what_cannot_be_read_is_said_and_nothing_is_held(
    api: Api, services: Services, wrong: dict[str, Any], status: int
):
    key = api.generate(max_budget=1, rpm_limit=1)["key"]

    with unchanged(services.database):
        answer = api.post("/key/verify", {"key": key, "model": MODEL, **wrong})

    assert answer.status == status, answer
    found = allowed(api, key)
    assert [entry["remaining"] for entry in found["limits"]] == [0, 0]


@on_one_store
def test_tokens_that_cost_more_than_money_can_say_are_refused(settings: Settings, opened: Opened, tmp_path: Path):
    prices = tmp_path / "prices.json"
    prices.write_text('{"gold": {"input": 100000, "output": 0}}')
    with opened(price_file=prices) as api:
        key = api.generate(max_budget=1)["key"]
        answer = api.post("/key/verify", {"key": key, "model": "gold", "estimate": {"input_tokens": 10**9}})

        assert answer.status == 400, answer
        assert limit(allowed(api, key), "key")["held"] == 1


# --- Redis away ------------------------------------------------------------------------------------------------


def test_without_redis_no_verdict_is_passed(api: Api, proxy: RedisProxy):
    key = api.generate(max_budget=1)["key"]
    allowed(api, key, request_id="r")
    proxy.cut()

    for asked in (key, UNKNOWN, api.generate()["key"]):
        answer = api.post("/key/verify", {"key": asked})
        assert answer.summary == (503, "no_db_connection", None), answer
        assert int(answer.headers["retry-after"]) >= 1
    proxy.join()
    assert allowed(api, key, request_id="r")["replayed"]


@on_one_store
def test_serving_unlimited_decides_from_sql_what_nobody_has_to_count(api: Api, opened: Opened, proxy: RedisProxy):
    free, budgeted, rated, parallel = (
        api.generate(**limits)["key"]
        for limits in ({}, {"max_budget": 1}, {"rpm_limit": 1}, {"max_parallel_requests": 1})
    )
    gateway = api.generate(permissions={"gateway": True})["key"]
    blocked = api.generate(blocked=True)["key"]
    with opened(without_redis=WithoutRedis.SERVE_UNLIMITED) as serving:
        allowed(serving, free)
        proxy.cut()

        found = allowed(serving, free, caller=gateway)
        assert (found["limits"], found["replayed"]) == ([], False)
        assert refused(serving, blocked)["code"] == "blocked"
        assert refused(serving, UNKNOWN)["code"] == "unknown"
        for key in (budgeted, rated, parallel):
            assert serving.post("/key/verify", {"key": key}).status == 503
        assert serving.post("/key/verify", {"key": free}, key=free).status in {401, 403}

        assert settle(serving, found, 0.5)["estimate"] == 1
        proxy.join()
        assert serving.info(free)["spend"] == 0.5


def test_a_charge_is_taken_without_redis_and_counts_when_it_is_back(
    api: Api, services: Services, proxy: RedisProxy
):
    key = api.generate(max_budget=2)["key"]
    held = allowed(api, key, request_id="r")
    proxy.cut()

    charged = settle(api, held, 1.5)
    again = settle(api, held, 1)
    unheld = post_settle(api, key=key, request_id="another", cost=0.25)

    assert (charged["duplicate"], again["duplicate"], again["cost"]) == (False, True, 1.5)
    assert (unheld.status, unheld.body["estimate"]) == (200, None)
    assert api.info(key)["spend"] == 1.75
    for path in ("release", "extend"):
        assert api.post(f"/key/{path}", {"reservation_id": held["reservation_id"]}).status == 503
    proxy.join()
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    shown = limit(allowed(api, key, cost=0.25), "key")
    assert (shown["used"], shown["held"]) == (1.75, 0.25)


def test_what_redis_was_never_told_is_counted_when_the_lease_is_over(
    api: Api, clock: MovableClock, proxy: RedisProxy
):
    key = api.generate(max_budget=1.75)["key"]
    held = allowed(api, key, lease_seconds=60)
    proxy.watch = _cut_closing
    settle(api, held, 1.5)
    proxy.watch = None
    clock.advance(60)

    shown = limit(refused(api, key), "key")

    assert (shown["used"], shown["held"]) == (1.5, 0)
    assert allowed(api, key, cost=0.25)


def _cut_closing(command: Command) -> None:
    if runs(command, balances._CLOSE):
        raise Cut


# --- Redis emptied ---------------------------------------------------------------------------------------------


def test_after_redis_is_emptied_a_reservation_is_still_charged_rightly(
    api: Api, services: Services, redis: Redis, clock: MovableClock
):
    assert api.post("/team/new", {"team_id": "t", "max_budget": 5, "budget_duration": "1d"}).status == 200
    key = api.generate(max_budget=3, budget_duration="1h", team_id="t")["key"]
    held = allowed(api, key, cost=1)
    redis.flushall()

    charged = settle(api, held, 0.75)

    assert (charged["estimate"], charged["overrun"]) == (1, 0)
    found = allowed(api, key, cost=1)
    assert [(entry["scope"], entry["used"], entry["held"]) for entry in found["limits"]] == [
        ("key", 0.75, 1),
        ("team", 0.75, 1),
    ]
    (row,) = rows(services.database, ledger)
    assert row["occurred_at"] == clock.now()


@on_one_store
def test_refusing_budgeted_calls_for_one_lease_after_a_loss(
    api: Api, opened: Opened, redis: Redis, clock: MovableClock
):
    budgeted, rated = api.generate(max_budget=1)["key"], api.generate(rpm_limit=5)["key"]
    loss = {"after_redis_loss": AfterRedisLoss.REFUSE_BUDGETED_FOR_ONE_LEASE, "longest_lease_seconds": 900.0}
    with opened(**loss) as cautious:
        allowed(cautious, rated)
        clock.advance(900)
        allowed(cautious, budgeted, request_id="r")
        redis.flushall()

        allowed(cautious, rated)
        found = refused(cautious, budgeted, request_id="r")
        assert (found["code"], found["status"], found["type"]) == ("holds_lost", 503, "internal_server_error")
        assert found["retry_after"] == 900
        clock.advance(899)
        assert refused(cautious, budgeted)["retry_after"] == 1
        clock.advance(1)
        allowed(cautious, budgeted)

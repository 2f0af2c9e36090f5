"""A charge counts exactly once, in the right accounts and windows, whatever becomes of Redis or is sent again."""

from collections import Counter
from datetime import datetime
from functools import partial
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import select

from app.clock import SystemClock
from app.container import Services
from app.dispatch import TaskName
from app.domain.scopes import OF_KEYS, Scope
from app.models import ledger
from app.store import balances
from tests.faults.gateways import (
    LEVELS,
    MODEL,
    NANOS,
    Balance,
    Gateway,
    World,
    at_once,
    beside,
    books,
    charges,
    drifts,
    make_world,
    numbers,
    open_holds,
    spend_shown,
)
from tests.faults.proxy import runs
from tests.faults.web import Pair
from tests.servers import eventually

pytestmark = pytest.mark.processes

CALLS = 24
# As many as one request may settle.
LARGE = 1_000
PLENTY = 1_000.0
# What each call is held for and what it costs: a different amount, so that a mix-up shows.
ESTIMATE = 0.5


def cost(number: int) -> float:
    return (number + 1) / 1_000


def total(count: int = CALLS) -> int:
    return sum(round(cost(number) * NANOS) for number in range(count))


def flush(pair: Pair) -> None:
    with Redis.from_url(pair.redis.url) as client:
        client.flushall()


def held_calls(pair: Pair, world: World) -> list[tuple[str, str, str]]:
    """Calls that are allowed and not settled: their keys, request ids and reservations."""
    ids = numbers()
    found = []
    with Gateway(pair) as gateway:
        for number in range(CALLS):
            key, request_id = world.keys[number % len(world.keys)], next(ids)
            answer = gateway.verify(key, ESTIMATE, request_id)
            assert answer["allowed"], answer
            found.append((key, request_id, answer["reservation_id"]))
    return found


def settle_all(pair: Pair, calls: list[tuple[str, str, str]], factor: float = 1.0) -> list[Any]:
    """All at once; by reservation, or by request id and key."""

    def settle(number: int, gateway: Gateway) -> Any:
        key, request_id, reservation = calls[number]
        # Without its reservation, a call counts in what its model counts in where it says which.
        by_name = {"key": key, "request_id": request_id, "model": MODEL}
        named = {"reservation_id": reservation} if number % 2 else by_name
        return gateway.post("/key/settle", cost=round(cost(number) * factor, 6), **named)

    return at_once(pair, [partial(settle, number) for number in range(len(calls))])


def fold(services: Services) -> None:
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)


def recorded(services: Services, key_ids: list[str]) -> dict[str, tuple[str, int]]:
    """The charges of these keys: by request id the key and the amount."""
    with services.database.read() as connection:
        rows = connection.execute(select(ledger).where(ledger.c.key_id.in_(key_ids))).mappings()
        return {row["request_id"]: (row["key_id"], row["amount_nanos"]) for row in rows}


def agreed(found: dict[Scope, Balance]) -> bool:
    return bool(found) and all(balance == Balance(balance.spent, balance.spent, 0) for balance in found.values())


def test_after_a_flushall_every_settle_is_charged_to_its_key_and_the_counters_equal_the_ledger(pair: Pair) -> None:
    pair.wait()
    world = make_world(pair, dict.fromkeys(LEVELS, PLENTY), number_of_keys=3)
    calls = held_calls(pair, world)
    key_ids = dict(zip(world.keys, world.scope_ids, strict=False))

    flush(pair)
    settled = settle_all(pair, calls)

    with beside(pair) as services:
        assert {answer["duplicate"] for answer in settled} == {False}
        assert recorded(services, world.scope_ids) == {
            request_id: (key_ids[key], round(cost(number) * NANOS))
            for number, (key, request_id, _) in enumerate(calls)
        }
        with Gateway(pair) as gateway:
            ids = numbers()
            for key in world.keys:  # its counters are seeded, before anything is folded
                assert gateway.verify(key, 0, next(ids))["allowed"]
        assert agreed(books(services, world.scope_ids))
        fold(services)
        sum(services.ledger_check.rebase())
        found = books(services, world.scope_ids)
        assert agreed(found)
        assert Counter(scope.kind for scope in found) == {
            level: len(world.keys) if level in OF_KEYS else 1 for level in LEVELS
        }
        assert {balance.spent for scope, balance in found.items() if scope.id not in key_ids.values()} == {total()}
        assert drifts(services, world.scope_ids) == []
    assert round(sum(spend_shown(pair, key) for key in world.keys) * NANOS) == total()


def test_after_a_flushall_a_charge_still_counts_in_the_window_of_its_call(pair: Pair) -> None:
    pair.wait()
    with Gateway(pair) as gateway:
        made = gateway.post("/key/generate", max_budget=PLENTY, budget_duration="2s")
        held = gateway.verify(made["key"], ESTIMATE, "in the window before")
        ends_at = datetime.fromisoformat(held["limits"][0]["resets_at"])
        flush(pair)
        eventually(lambda: SystemClock().now() >= ends_at)
        gateway.settle(held["reservation_id"], 0.25)
        (limit,) = gateway.verify(made["key"], 0, "in the window after")["limits"]

    assert (limit["used"], limit["held"]) == (0, 0)
    with beside(pair) as services:
        for _ in range(2):
            assert drifts(services, [made["key_id"]]) == []
            assert charges(services, [made["key_id"]]) == (1, NANOS // 4)
            assert spend_shown(pair, made["key"]) == 0
            fold(services)


def test_a_settle_that_is_sent_again_and_again_changes_nothing(pair: Pair) -> None:
    pair.wait()
    world = make_world(pair, dict.fromkeys(LEVELS, PLENTY), number_of_keys=2)
    calls = held_calls(pair, world)
    first = settle_all(pair, calls)

    with beside(pair) as services:
        before = books(services, world.scope_ids), recorded(services, world.scope_ids)
        again = settle_all(pair, calls, factor=2)
        after = books(services, world.scope_ids), recorded(services, world.scope_ids)
        fold(services)
        once_more = settle_all(pair, calls, factor=3)
        folded = books(services, world.scope_ids), recorded(services, world.scope_ids)
        flush(pair)
        at_last = settle_all(pair, calls, factor=4)

        assert agreed(before[0])
        assert before == after == folded
        assert recorded(services, world.scope_ids) == before[1]
        assert (charges(services, world.scope_ids), open_holds(services)) == ((CALLS, total()), 0)
        assert drifts(services, world.scope_ids) == []
    assert {answer["duplicate"] for answer in first} == {False}
    for repeated in (again, once_more, at_last):
        assert {answer["duplicate"] for answer in repeated} == {True}
        assert [answer["cost"] for answer in repeated] == [answer["cost"] for answer in first]


def test_a_charge_that_reaches_redis_after_its_fold_counts_once(pair: Pair) -> None:
    pair.wait()
    world = make_world(pair, dict.fromkeys(LEVELS, PLENTY))
    charged = round(ESTIMATE * NANOS)
    once = {Balance(charged, charged, 0)}

    with Gateway(pair) as gateway, beside(pair) as services:
        held = gateway.verify(world.keys[0], ESTIMATE, "told late")
        with pair.proxies[0].holding(lambda command: runs(command, balances._CLOSE)):
            gateway.settle(held["reservation_id"], ESTIMATE)
            fold(services)
            folded = books(services, world.scope_ids)
            before = scripts_run(pair)
        eventually(lambda: scripts_run(pair) > before)
        assert set(folded.values()) == once
        assert set(books(services, world.scope_ids).values()) == once


def scripts_run(pair: Pair) -> int:
    """How often Redis has run a script that it knows."""
    with Redis.from_url(pair.redis.url) as client:
        return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])


def test_a_call_settled_by_many_at_once_is_charged_once_and_all_are_told_the_same_amount(pair: Pair) -> None:
    pair.wait()
    world = make_world(pair, dict.fromkeys(LEVELS, PLENTY))
    with Gateway(pair) as gateway:
        held = gateway.verify(world.keys[0], ESTIMATE, "settled by many")

    def settle(number: int, gateway: Gateway) -> Any:
        return gateway.settle(held["reservation_id"], cost(number))

    answers = at_once(pair, [partial(settle, number) for number in range(CALLS)])

    assert sorted(answer["duplicate"] for answer in answers) == [False] + [True] * (CALLS - 1)
    (amount,) = {answer["cost"] for answer in answers}
    charged = round(amount * NANOS)
    with beside(pair) as services:
        assert charges(services, world.scope_ids) == (1, charged)
        assert set(books(services, world.scope_ids).values()) == {Balance(charged, charged, 0)}


def test_large_batches_that_share_calls_in_any_order_charge_each_once(pair: Pair) -> None:
    """Rows that are written in any order would let two batches wait for each other until the store ends one."""
    pair.wait()
    world = make_world(pair, dict.fromkeys(LEVELS, PLENTY), number_of_keys=2)
    ids = numbers()
    items = [
        {"key": world.keys[number % 2], "request_id": next(ids), "cost": cost(number), "model": MODEL}
        for number in range(LARGE)
    ]

    def settle(number: int, gateway: Gateway) -> Any:
        reply = gateway.once("/key/settle", charges=items if number % 2 else items[::-1])
        assert reply.status == 200, reply
        return reply.body["results"]

    answers = at_once(pair, [partial(settle, number) for number in range(4)])

    told = [result["duplicate"] for results in answers for result in results]
    assert told.count(False) == LARGE
    with beside(pair) as services:
        assert charges(services, world.scope_ids) == (LARGE, total(LARGE))
        assert drifts(services, world.scope_ids) == []

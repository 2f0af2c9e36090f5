"""What was charged is charged once and what was held is given back, whichever process dies, and whenever.

Gateways verify and settle without a pause, and do not give up, while the web processes, the worker, beat and Redis
are killed at random. How many calls they make is the option `--calls`; `make test-kills` makes many.
"""

import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import func, select

from app.db import Database
from app.domain import minting
from app.models import daily_spend, ledger, ledger_unfolded
from tests.faults.gateways import (
    LEVELS,
    NANOS,
    Gateway,
    World,
    beside,
    books,
    charges,
    drifts,
    make_world,
    numbers,
    open_holds,
)
from tests.faults.parts import JOB_SECONDS, Process, parts_of
from tests.faults.web import Pair
from tests.servers import eventually

pytestmark = pytest.mark.processes

# No divisor of twenty, so that each of them makes calls of every kind.
GATEWAYS = 7
# Between two kills, so many calls or a hundredth of all.
CALLS_PER_KILL = 60
PLENTY = 100_000.0
LEASE_SECONDS = 3
# A beat waits for the lock of the one that was killed; a worker that hears nothing is noticed and started anew.
RECOVERY_SECONDS = 13
# Of twenty calls one is given back and one forgotten.
RELEASED, FORGOTTEN = 7, 13


def cost_of(number: int) -> float:
    return (number % 97 + 1) / 10_000


@dataclass
class Traffic:
    """One gateway at work: what it was told."""

    pair: Pair
    world: World
    share: range
    names: list[str]
    settled: dict[str, int] = field(default_factory=dict)
    done: int = 0
    repeated: int = 0
    duplicates: int = 0
    error: BaseException | None = None

    def run(self) -> None:
        try:
            with Gateway(self.pair, first=self.share.start) as gateway:
                for number in self.share:
                    self._call(gateway, number)
                    self.done += 1
                    self.repeated = gateway.repeated
        except BaseException as error:  # noqa: BLE001 - told by the test
            self.error = error

    def _call(self, gateway: Gateway, number: int) -> None:
        key, request_id = self.world.keys[number % len(self.world.keys)], self.names[number]
        cost = cost_of(number)
        held = gateway.verify(key, cost, request_id, lease_seconds=LEASE_SECONDS)
        assert held["allowed"], held
        if number % 20 == RELEASED:
            state = gateway.post("/key/release", reservation_id=held["reservation_id"])["state"]
            assert state in {"released", "absent"}, state
        elif number % 20 != FORGOTTEN:
            # By turns whoever settles knows the reservation, or only what it asked for.
            named = (
                {"reservation_id": held["reservation_id"]}
                if number % 2
                else {"key": key, "request_id": request_id}
            )
            answer = gateway.post("/key/settle", cost=cost, model=held["model"], **named)
            assert answer["cost"] == cost, answer
            self.duplicates += answer["duplicate"]
            self.settled[request_id] = round(cost * NANOS)


def kill_at_random(
    pair: Pair, parts: tuple[Process, ...], traffic: list[Traffic], total: int, chance: random.Random
) -> Counter[str]:
    """Kill something every so many calls until all are made; what was killed, and how often."""
    worker, beat = parts
    victims: dict[str, Callable[[], Any]] = {
        "web": lambda: chance.choice(pair.webs).kill(),
        "web worker": lambda: chance.choice(pair.webs).kill_worker(),
        "worker": worker.kill,
        "beat": beat.kill,
        "redis": pair.restart_redis,
    }
    kills: Counter[str] = Counter()
    due, step = 0, max(CALLS_PER_KILL, total // 100)
    order: list[str] = []

    def is_due() -> bool:
        for process in parts:
            process.lives()
        for web in pair.webs:
            if not web.pids():
                web.begin()
        for each in traffic:
            if each.error is not None:
                raise each.error
        return sum(each.done for each in traffic) >= due

    while due < total:
        if not order:  # each of them is killed as often as any other
            order = chance.sample(list(victims), len(victims))
        due = min(total, due + chance.randint(step // 2, step * 3 // 2))
        eventually(is_due, 180)
        if due < total:
            victim = order.pop()
            kills[victim] += 1
            victims[victim]()
    return kills


def test_every_acknowledged_settle_is_charged_once_and_every_hold_ends_through_kills_of_every_process(
    pair: Pair, shared: Database, calls: int
) -> None:
    seed = random.randrange(2**32)
    names = [name for name, _ in zip(numbers(), range(calls), strict=False)]
    world = make_world(pair, dict.fromkeys(LEVELS, PLENTY), number_of_keys=5)
    traffic = [Traffic(pair, world, range(start, calls, GATEWAYS), names) for start in range(GATEWAYS)]
    threads = [Thread(target=each.run, daemon=True) for each in traffic]
    began = time.monotonic()
    with parts_of(pair) as parts, beside(pair) as services:
        for thread in threads:
            thread.start()
        kills = kill_at_random(pair, parts, traffic, calls, random.Random(seed))
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a gateway does not end"
        ended = time.monotonic()
        pair.wait()
        eventually(lambda: all(part.lives() and part.answers() for part in parts))
        ready = time.monotonic()
        eventually(
            lambda: all(part.lives() for part in parts) and open_holds(services) == 0,
            LEASE_SECONDS + RECOVERY_SECONDS + 5 * JOB_SECONDS,
        )
        reaped = time.monotonic()
        eventually(lambda: unfolded(shared, world) == 0, 60)

        settled = {name: amount for each in traffic for name, amount in each.settled.items()}
        assert recorded(shared, world) == [(name, amount) for name, amount in sorted(settled.items())]
        assert charges(services, world.scope_ids) == (len(settled), sum(settled.values()))
        assert summed_by_day(shared, world) == (len(settled), sum(settled.values()))
        assert drifts(services, world.scope_ids) == []
        found = books(services, world.scope_ids)
        assert {balance.held for balance in found.values()} <= {0}
        assert {scope: b for scope, b in found.items() if b.used != b.spent} == {}
    for key in world.keys:
        assert_one_number(pair, key)
    sys.stdout.write(
        f"seed {seed}: {calls} calls, {len(settled)} settles acknowledged, {sum(kills.values())} kills {dict(kills)}, "
        f"{sum(each.repeated for each in traffic)} requests repeated, "
        f"{sum(each.duplicates for each in traffic)} answered as duplicates; traffic {ended - began:.1f} s, "
        f"restarts {ready - ended:.1f} s, then no hold open after {reaped - ready:.1f} s\n"
    )


def recorded(database: Database, world: World) -> list[tuple[str, int]]:
    with database.read() as connection:
        statement = select(ledger.c.request_id, ledger.c.amount_nanos).where(ledger.c.key_id.in_(world.scope_ids))
        return sorted((name, amount) for name, amount in connection.execute(statement))


def unfolded(database: Database, world: World) -> int:
    with database.read() as connection:
        waiting = select(func.count()).where(ledger_unfolded.c.scope_id.in_(world.scope_ids))
        return int(connection.execute(waiting).scalar_one())


def summed_by_day(database: Database, world: World) -> tuple[int, int]:
    sums = func.sum(daily_spend.c.requests), func.sum(daily_spend.c.spend_nanos)
    with database.read() as connection:
        found = connection.execute(select(*sums).where(daily_spend.c.key_id.in_(world.scope_ids))).one()
    return int(found[0] or 0), int(found[1] or 0)


def assert_one_number(pair: Pair, key: str) -> None:
    """Info, list, an explanation, an allowed verdict, a refusal and its words: all tell the same spend."""
    ids = numbers()
    with Gateway(pair) as gateway:
        allowed = gateway.verify(key, 0, next(ids))
        assert allowed["allowed"], allowed
        refused = gateway.verify(key, PLENTY, next(ids))
        assert refused["code"] == "budget_exceeded", refused
        explained = gateway.post("/key/explain", key=key, model=allowed["model"], estimate={"cost": 0})
        token = minting.digest(key)
        info = gateway.get(f"/key/info?key={token}")["info"]["spend"]
        (listed,) = gateway.get(f"/key/list?key_hash={token}&return_full_object=true")["keys"]
    of_key = [
        limit["used"] for answer in (allowed, refused) for limit in answer["limits"] if limit["scope"] == "key"
    ]
    (rule,) = (
        rule["inputs"]
        for rule in explained["rules"]
        if rule["rule"] == "budget" and rule["inputs"]["scope"] == "key"
    )
    assert {*of_key, rule["used"], listed["spend"], info} == {info}
    assert f"Current cost: {info!r}," in refused["message"]

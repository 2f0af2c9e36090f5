"""A hard budget is hard: callers at once, on two processes, and with processes that die between two stores."""

from collections import Counter
from datetime import timedelta
from functools import partial
from threading import Event, Lock
from typing import Any

import pytest

from app.clock import SystemClock
from app.dispatch import TaskName
from app.domain.scopes import ScopeKind
from app.store import balances
from tests.clocks import MovableClock
from tests.faults.gateways import (
    LEVELS,
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
from tests.faults.proxy import Command, Cut, runs
from tests.faults.web import Away, Caller, Pair, all_at_once

pytestmark = pytest.mark.processes

CALLERS = 200
FITTING = 50
COST = 0.01
CAP = FITTING * COST
CAP_NANOS = round(CAP * NANOS)
COST_NANOS = round(COST * NANOS)
PLENTY = 1_000.0
# Three of ten settles: as many as the two processes have in hand when they die.
DOOMED = (8, 7)


def verify_all(pair: Pair, world: World) -> tuple[list[str], Counter[str]]:
    """All callers at once; the reservations of those allowed, and the codes of all answers."""
    ids = numbers()

    def ask(key: str, request_id: str, gateway: Gateway) -> Any:
        return gateway.verify(key, COST, request_id)

    works = [partial(ask, world.keys[index % len(world.keys)], next(ids)) for index in range(CALLERS)]
    answers = at_once(pair, works)
    return [answer["reservation_id"] for answer in answers if answer["allowed"]], Counter(
        answer["code"] for answer in answers
    )


def settle_all(pair: Pair, reservations: list[str]) -> list[Any]:
    def settle(reservation: str, gateway: Gateway) -> Any:
        return gateway.settle(reservation, COST)

    return at_once(pair, [partial(settle, reservation) for reservation in reservations])


@pytest.mark.parametrize("tight", [*LEVELS, None], ids=[*LEVELS, "all of them"])
def test_fifty_of_two_hundred_callers_fit_into_a_budget(pair: Pair, tight: ScopeKind | None) -> None:
    pair.wait()
    caps = {level: CAP if tight in {level, None} else PLENTY for level in LEVELS}
    shared = tight not in {ScopeKind.KEY, ScopeKind.KEY_MODEL, None}
    world = make_world(pair, caps, number_of_keys=4 if shared else 1)

    reservations, codes = verify_all(pair, world)
    settled = settle_all(pair, reservations)

    assert len(reservations) == FITTING
    assert len(codes) == 2
    assert {answer["duplicate"] for answer in settled} == {False}
    with beside(pair) as services:
        found = books(services, world.scope_ids)
        assert charges(services, world.scope_ids) == (FITTING, CAP_NANOS)
        assert drifts(services, world.scope_ids) == []
    assert all(balance.spent == balance.used and balance.held == 0 for balance in found.values())
    assert tight is None or tight in {scope.kind for scope in found}
    spent: Counter[ScopeKind] = Counter()
    for scope, balance in found.items():
        spent[scope.kind] += balance.spent
    assert set(spent.values()) == {CAP_NANOS}


class Guillotine:
    """Lets settles of a process gather between their commit and their word to Redis, then kills the process."""

    def __init__(self, pair: Pair, which: int, due: int) -> None:
        self._pair, self._which, self._due = pair, which, due
        self._lock = Lock()
        self._fallen = Event()
        self.gathered = 0

    def __call__(self, command: Command) -> None:
        if not runs(command, balances._CLOSE):
            return
        with self._lock:
            self.gathered += 1
            is_last = self.gathered == self._due
        if is_last:
            self._pair.webs[self._which].kill_worker()
            self._fallen.set()
        self._fallen.wait(10)
        raise Cut


def settle_once(pair: Pair, which: int, reservation: str) -> bool:
    """Settle at this process and at no other; whether it has answered."""
    with Caller(pair.webs[which]) as caller:
        try:
            reply = caller.post("/key/settle", reservation_id=reservation, cost=COST)
        except Away:
            return False
    assert reply.status == 200, reply
    return True


def test_settles_that_die_between_commit_and_redis_leave_the_spend_at_the_cap(pair: Pair) -> None:
    pair.wait()
    world = make_world(pair, dict.fromkeys(LEVELS, CAP))
    reservations, _ = verify_all(pair, world)
    assert len(reservations) == FITTING
    spared = FITTING - sum(DOOMED)
    settle_all(pair, reservations[:spared])

    blades = [Guillotine(pair, which, due) for which, due in enumerate(DOOMED)]
    where = [which for which, due in enumerate(DOOMED) for _ in range(due)]
    for proxy, blade in zip(pair.proxies, blades, strict=True):
        proxy.watch = blade
    try:
        works = [
            partial(settle_once, pair, which, reservation)
            for which, reservation in zip(where, reservations[spared:], strict=True)
        ]
        answered = all_at_once(works)
    finally:
        for proxy in pair.proxies:
            proxy.watch = None
    pair.wait()

    assert [blade.gathered for blade in blades] == list(DOOMED)
    assert not all(answered), "no settle was under way when its process was killed"
    with beside(pair) as services:
        found = books(services, world.scope_ids)
        assert charges(services, world.scope_ids) == (FITTING, CAP_NANOS)
    used, held = spared * COST_NANOS, sum(DOOMED) * COST_NANOS
    assert set(found.values()) == {Balance(CAP_NANOS, used, held)}, "killed too early or too late"
    with Gateway(pair) as gateway:
        assert gateway.verify(world.keys[0], COST, "one more before")["code"] == "budget_exceeded"

    reap_when_all_leases_are_over(pair)

    with beside(pair) as services:
        assert set(books(services, world.scope_ids).values()) == {Balance(CAP_NANOS, CAP_NANOS, 0)}
        assert open_holds(services) == 0
        assert drifts(services, world.scope_ids) == []
    with Gateway(pair) as gateway:
        refused = gateway.verify(world.keys[0], COST, "one more after")
    assert refused["code"] == "budget_exceeded"
    assert {(limit["used"], limit["held"]) for limit in refused["limits"]} == {(CAP, 0)}
    assert spend_shown(pair, world.keys[0]) == CAP


def reap_when_all_leases_are_over(pair: Pair) -> None:
    """Run the job as it will run in an hour: no lease is longer."""
    in_an_hour = MovableClock(SystemClock().now() + timedelta(hours=1))
    with beside(pair, in_an_hour) as services:
        services.jobs.run(TaskName.REAP_HOLDS, lambda: True)

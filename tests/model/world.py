"""A small world: one SQL, one Redis, a few processes, and requests that go on one step at a time."""

from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.model.redis import Redis, Verdict, Versions
from tests.model.requests import ON_REDIS, NoVerdict, RedisAway, Requests, Reservation
from tests.model.scopes import KEY, TEAMS, counter, window_start
from tests.model.sql import Key, Policy, Snapshot, Sql, Team
from tests.model.truth import Broken, Truth, must

PROCESSES = 3


@dataclass
class Process:
    """What a process remembers."""

    world: "World"
    cache: tuple[Snapshot, Versions] | None = None


class Request:
    """One request under way; `step` is what it does next."""

    def __init__(self, process: Process, steps: Any) -> None:
        self.process = process
        self.step: str | None = None
        self.answer: Any = None
        self._steps = steps
        self._resume(self._steps.__next__)

    @property
    def done(self) -> bool:
        return self.step is None

    def go(self) -> None:
        """Do the next step."""
        self._resume(self._steps.__next__)

    def fail(self) -> None:
        """Do the next step, with Redis away."""
        self._resume(lambda: self._steps.throw(RedisAway()) if self.step in ON_REDIS else next(self._steps))

    def until(self, step: str) -> "Request":
        """Go on until the named step is the next one."""
        while self.step != step:
            if self.done:
                raise ValueError(f"never came to {step}")
            self.go()
        return self

    def past(self, step: str) -> "Request":
        self.until(step).go()
        return self

    def finish(self) -> Any:
        while not self.done:
            self.go()
        return self.answer

    def _resume(self, resume: Any) -> None:
        try:
            self.step = resume()
        except StopIteration as stop:
            self.step, self.answer = None, stop.value
        except (RedisAway, NoVerdict) as error:
            self.step, self.answer = None, error
        self.process.world.steps += 1
        self.process.world.truth.check()


@dataclass
class World:
    """Its parts can be exchanged for faulty ones; `rolls` where the key carries on what it spends beyond its cap."""

    redis_kind: type[Redis] = Redis
    sql_kind: type[Sql] = Sql
    requests_kind: type[Requests] = Requests
    rolls: bool = False
    now: int = 0
    steps: int = 0
    flushes: int = 0
    under_way: list[Request] = field(default_factory=list)
    reservations: list[Reservation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers = count(1)
        self.redis = self.redis_kind()
        policy = Policy(Key(cap=8, team=TEAMS[0]), {TEAMS[0]: Team(10), TEAMS[1]: Team(6)})
        self.sql = self.sql_kind(policy, rolls=self.rolls)
        self.truth = Truth(self)
        self.processes = [Process(self) for _ in range(PROCESSES)]

    def fresh(self) -> str:
        """A random value of a process."""
        return f"fresh-{next(self._numbers)}"

    # --- events ------------------------------------------------------------------------------------------------------

    def start(self, process: int, name: str, *arguments: Any) -> Request:
        requests = self.requests_kind(self.processes[process])
        request = Request(self.processes[process], getattr(requests, name)(*arguments))
        self.under_way.append(request)
        return request

    def do(self, process: int, name: str, *arguments: Any) -> Any:
        """A whole request in which nothing else happens."""
        request = self.start(process, name, *arguments)
        self.under_way.remove(request)
        return request.finish()

    def go_on(self, which: int, distance: int) -> None:
        """Let a request do its next steps, so many or as many as it has."""
        request = self.under_way[which]
        for _ in range(distance):
            if not request.done:
                request.go()
        if request.done:
            self.under_way.remove(request)

    def fail(self, which: int) -> None:
        """Let a request do its next step with Redis away."""
        request = self.under_way[which]
        request.fail()
        if request.done:
            self.under_way.remove(request)

    def reservation(self, request_id: str) -> Reservation:
        """The latest one of this request."""
        return next(each for each in reversed(self.reservations) if each.request_id == request_id)

    def crash(self, process: int) -> None:
        """The process is gone with all it had under way; another one takes its place."""
        gone = self.processes[process]
        self.under_way = [request for request in self.under_way if request.process is not gone]
        self.processes[process] = Process(self)

    def flushall(self) -> None:
        self.redis.flushall()
        self.truth.lost_redis()
        self.flushes += 1

    def tick(self, ticks: int) -> None:
        self.now += ticks
        self.redis.now = self.now

    # --- rest --------------------------------------------------------------------------------------------------------

    def come_to_rest(self) -> None:
        """Nothing in flight, all leases ended, reaped, folded."""
        while self.under_way:
            self.under_way.pop(0).finish()
        self.tick(max([self.now, *(hold.deadline for hold in self.redis.holds.values())]) + 1 - self.now)
        self.do(0, "reap")
        while self.sql.unfolded:
            self.do(0, "fold", 3)

    def check_at_rest(self) -> None:
        self._check_what_fits()
        for each, balance in self.redis.balances.items():
            must(balance.held == 0, "4: money is held at rest", each, balance)
        live = [each for each in self.redis.balances if each.window_start in {None, window_start(self.now)}]
        for each in live:
            balance, spend = self.redis.balances[each], self.truth.spend(each)
            must(
                not balance.seeded or balance.used >= spend, "4: a counter is short at rest", each, balance, spend
            )
        self.do(0, "rebase", live)
        for each in live:
            used, spend = self.redis.balances[each].used, self.truth.spend(each)
            must(used == spend, "4: used is not the spend at rest", each, used, spend)

    def _check_what_fits(self) -> None:
        """A call that fits exactly is allowed, in a counter as the protocol has left it."""
        snapshot = self.sql.snapshot()
        if not snapshot.opens:
            return
        assert snapshot.team is not None
        key_room = snapshot.key.cap - self.truth.spend(counter(KEY, self.now))
        room = min(key_room, snapshot.team.cap - self.truth.spend(counter(snapshot.key.team, self.now)))
        if room <= 0:
            return
        name = self.fresh()
        answer = self.do(0, "verify", name, room)
        if isinstance(answer, Exception):
            raise Broken("4: no verdict at rest") from answer
        must(
            answer.verdict is Verdict.ALLOWED, "4: a call that fits was refused at rest", room, self.redis.balances
        )
        self.do(0, "release", name)


def charge(world: World, request_id: str, amount: int) -> None:
    """A call, verified and settled."""
    world.do(0, "verify", request_id, amount)
    world.do(0, "settle", world.reservation(request_id), amount)

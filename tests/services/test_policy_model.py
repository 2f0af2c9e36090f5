"""A request sent after a change was answered never meets the old state, whatever order things happen in.

Hypothesis chooses the order: writers and readers of two processes step by step, FLUSHALL, Redis away from a
process, a process killed, marks that lapse. That this would find a fault is shown by planting each kind of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from hypothesis.strategies import integers, sampled_from

from app.config import Settings
from app.errors import StoreUnavailable, WriteStands
from app.services.snapshots import Snapshot, Snapshots, _entities_of
from app.store.connection import Lease, Script
from app.store.policies import Entity, Freshness, Policies, Versions
from tests.conftest import SALT_KEY
from tests.clients import MASTER_KEY
from tests.services.policy_world import Killed, Request, World

PROCESS = integers(0, 1)


class Orders(RuleBasedStateMachine):
    """Any order of any steps."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.world.reset()
        self.history = [self.world.state()]  # every state that was ever committed, in that order
        self.answered = 0  # the youngest of them that somebody was told of
        self.under_way: list[Request] = []
        self.writes: dict[Request, int] = {}
        self.known: dict[Request, int] = {}
        self.next_state = self.history[0]

    # --- requests --------------------------------------------------------------------------------------------------

    @rule(process=PROCESS)
    def begin_to_read(self, process: int) -> None:
        request = self.world.read(process)
        self.known[request] = self.answered
        self.under_way.append(request)

    @rule(process=PROCESS)
    def read(self, process: int) -> None:
        self.begin_to_read(process)
        self.under_way[-1].finish()
        self._settle()

    @precondition(lambda self: len(self.writes) < 3)
    @rule(process=PROCESS)
    def begin_to_write(self, process: int) -> None:
        self.next_state += 1
        request = self.world.write(process, self.next_state)
        self.writes[request] = self.next_state
        self.under_way.append(request)

    @precondition(lambda self: self.under_way)
    @rule(which=integers(0, 5), steps=integers(1, 8))
    def go_on(self, which: int, steps: int) -> None:
        request = self.under_way[which % len(self.under_way)]
        for _ in range(steps):
            if not request.done:
                request.step()
                self._note_commit()
        self._settle()

    @precondition(lambda self: self.under_way)
    @rule(which=integers(0, 5))
    def finish(self, which: int) -> None:
        request = self.under_way[which % len(self.under_way)]
        while not request.done:
            request.step()
            self._note_commit()
        self._settle()

    # --- faults ----------------------------------------------------------------------------------------------------

    # One rule for all of them: most of the time nothing goes wrong.
    @rule(fault=sampled_from(["flush", "lapse", "away", "back", "kill"]), process=PROCESS, which=integers(0, 5))
    def go_wrong(self, fault: str, process: int, which: int) -> None:
        if fault == "flush":
            self.world.flush()
            for request in self.writes:
                request.lost_its_mark = True
        elif fault == "lapse":
            self.world.let_marks_lapse()
        elif fault in {"away", "back"}:
            self.world.stores[process].away = fault == "away"
        elif self.under_way:
            request = self.under_way.pop(which % len(self.under_way))
            request.kill()
            self.writes.pop(request, None)
            self.world.restart(process)

    def teardown(self) -> None:
        for request in self.under_way:
            request.kill()

    # --- what must hold --------------------------------------------------------------------------------------------

    def _note_commit(self) -> None:
        state = self.world.state()
        if state != self.history[-1]:
            self.history.append(state)

    def _settle(self) -> None:
        for request in [request for request in self.under_way if request.done]:
            self.under_way.remove(request)
            if request in self.writes:
                self._judge_write(request, self.writes.pop(request))
            else:
                self._judge_read(request)

    def _judge_write(self, request: Request, state: int) -> None:
        if isinstance(request.error, StoreUnavailable):
            assert isinstance(request.error, WriteStands) or state not in self.history or request.missed_redis
            return
        assert request.error is None, request.error
        # A mark lost with Redis and, in the same change, a publication that fails: what is left of the old state
        # then is bounded by the age of a copy alone.
        if not (request.lost_its_mark and request.missed_redis):
            self.answered = max(self.answered, self.history.index(state))

    def _judge_read(self, request: Request) -> None:
        assert request.error is None, request.error
        assert self.history.index(request.result) >= self.known[request], "a read has met the old state"


# --- faults planted in the protocol --------------------------------------------------------------------------------


class NoMark(Policies):
    def _mark(self, entities: Sequence[Entity], mark: str) -> None:
        pass


class NoPublication(Policies):
    def _publish(self, entities: Sequence[Entity], mark: str) -> None:
        pass


class PublishedBeforeTheCommit(Policies):
    @contextmanager
    def change(self, entities: Sequence[Entity]) -> Iterator[Any]:
        with super().change(entities):
            pass
        yield lambda: None


class EveryMarkTakenOff(Policies):
    def _publish(self, entities: Sequence[Entity], mark: str) -> None:
        with self._redis.lease() as lease:
            for entity in entities:
                lease._call("DEL", lease.name("policy", entity.kind, entity.id))
        super()._publish(entities, mark)


class MarksIgnored(Policies):
    def check(self, versions: Versions) -> Freshness:
        found = super().check(versions)
        return Freshness.FRESH if found is Freshness.DIRTY else found


class LapseWithoutANewToken(Policies):
    def check(self, versions: Versions) -> Freshness:
        with self._redis.lease() as lease:
            for entity in versions.entities:
                name = lease.name("policy", entity.kind, entity.id)
                fields = lease._call("HGETALL", name)
                for field, value in zip(fields[::2], fields[1::2], strict=True):
                    if value == "1":
                        lease._call("HDEL", name, field)
        return super().check(versions)


class OneTokenForAll(Lease):
    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        constant = [("0" * 32 if len(str(value)) == 32 else value) for value in arguments]
        return super().run(script, keys, constant)


class VersionsReadAfterTheState(Snapshots):
    def _load(self, token: str, now: datetime) -> Snapshot | None:
        snapshot = self._read(token, now)
        versions = self._policies.adopt(_entities_of(snapshot, token))
        if not versions.dirty:
            self._cache[token] = (snapshot, versions)
        return snapshot


PLANTED: dict[str, dict[str, Any]] = {
    "no mark": {"policies": NoMark},
    "no publication": {"policies": NoPublication},
    "published before the commit": {"policies": PublishedBeforeTheCommit},
    "every mark taken off": {"policies": EveryMarkTakenOff},
    "marks ignored": {"policies": MarksIgnored},
    "a lapse without a new token": {"policies": LapseWithoutANewToken},
    "one token for all": {"lease": OneTokenForAll},
    "versions read after the state": {"snapshots": VersionsReadAfterTheState},
    "a deadline that never comes": {"clock_stands": True},
}


def explore(world: World, examples: int, *, derandomize: bool) -> None:
    machine = type("Orders", (Orders,), {"world": world})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            derandomize=derandomize,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def sqlite_settings(sqlite_url: str, redis_url: str) -> Settings:
    return Settings.parse(
        {
            "DATABASE_URL": sqlite_url,
            "REDIS_URL": redis_url,
            "KEYLEDGER_MASTER_KEY": MASTER_KEY,
            "KEYLEDGER_SALT_KEY": SALT_KEY,
        }
    )


def test_no_order_of_events_shows_the_old_state_after_a_change_was_answered(sqlite_settings: Settings) -> None:
    world = World(sqlite_settings)

    explore(world, 150, derandomize=False)

    world.close()


@pytest.mark.parametrize("fault", PLANTED)
def test_a_fault_planted_in_the_protocol_is_found(sqlite_settings: Settings, fault: str) -> None:
    world = World(sqlite_settings, **PLANTED[fault])

    with pytest.raises(AssertionError, match="a read has met the old state"):
        explore(world, 2000, derandomize=True)

    world.close()

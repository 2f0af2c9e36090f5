"""A request sent after a change was answered never meets the old state, whatever order things happen in.

Nor does one sent after a change was committed under its mark, though nobody answers it: its writer was killed,
or could not publish.

Hypothesis chooses the order: writers and readers of two processes step by step, FLUSHALL, Redis away from a
process, a process killed, marks that lapse. That this would find a fault is shown by planting each kind of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import lists, sampled_from

from app.config import Settings
from app.errors import StoreUnavailable, WriteStands
from app.services.decisions import snapshot_rows
from app.services.decisions.snapshots import Sighting, Snapshots
from app.store.connection import Lease, Script
from app.store.policies import Entity, Freshness, Policies, Versions
from tests.environment import ENVIRONMENT
from tests.services.policy_world import Request, World

OLD_STATE = "a read has met the old state"

# What can happen next, the ordinary more often than the faults. The number chooses a process or a request.
EVENTS = [
    *((name, which) for name in ("read", "begin_to_read") for which in range(2) for _ in range(3)),
    *(("begin_to_write", which) for which in range(2) for _ in range(3)),
    *(("go_on", which) for which in range(3) for _ in range(6)),
    *(("finish", which) for which in range(3) for _ in range(2)),
    *((name, which) for name in ("lose_redis", "lose_redis", "kill") for which in range(2)),
    *(("flush", 0), ("flush", 0), ("let_marks_lapse", 0)),
]


class Orders:
    """One order of events, and what everybody has been told so far."""

    def __init__(self, world: World) -> None:
        world.reset()
        self.world = world
        self.history = [world.state()]  # every state that was ever committed, in that order
        self.promised = 0  # the youngest of them that everybody must meet: answered, or committed under its mark
        self.under_way: list[Request] = []
        self.writes: dict[Request, int] = {}
        self.known: dict[Request, int] = {}
        self.next_state = self.history[0]

    def happen(self, name: str, which: int) -> None:
        getattr(self, name)(which)
        for request in [request for request in self.under_way if request.done]:
            self.under_way.remove(request)
            self._judge(request)

    def end(self) -> None:
        for request in self.under_way:
            request.kill()

    # --- events ----------------------------------------------------------------------------------------------------

    def begin_to_read(self, process: int) -> Request:
        request = self.world.read(process)
        self.known[request] = self.promised
        self.under_way.append(request)
        return request

    def read(self, process: int) -> None:
        self.begin_to_read(process).finish()

    def begin_to_write(self, process: int) -> None:
        if len(self.writes) < 3:
            self.next_state += 1
            request = self.world.write(process, self.next_state)
            self.writes[request] = self.next_state
            self.under_way.append(request)

    def go_on(self, which: int) -> None:
        if self.under_way:
            request = self.under_way[which % len(self.under_way)]
            request.step()
            state = self.world.state()
            if state != self.history[-1]:
                self.history.append(state)
                if not request.lost_its_mark:
                    self._promise(state)

    def finish(self, which: int) -> None:
        if self.under_way:
            request = self.under_way[which % len(self.under_way)]
            while not request.done:
                self.go_on(which)

    def flush(self, _: int) -> None:
        self.world.flush()
        for request in self.writes:
            request.lost_its_mark = True

    def let_marks_lapse(self, _: int) -> None:
        self.world.let_marks_lapse()
        for request in self.writes:
            # Later than that a writer gives up by itself; this is a commit that takes longer than one may.
            request.lost_its_mark |= request.may_commit

    def lose_redis(self, process: int) -> None:
        """For the next call of this process."""
        self.world.stores[process].fails_next = True

    def kill(self, process: int) -> None:
        """One process, with all that it has under way."""
        for request in [request for request in self.under_way if request.process == process]:
            self.under_way.remove(request)
            self.writes.pop(request, None)
            request.kill()
        self.world.restart(process)

    # --- what must hold --------------------------------------------------------------------------------------------

    def _judge(self, request: Request) -> None:
        if request not in self.writes:
            assert request.error is None, request.error
            assert self.history.index(request.result) >= self.known[request], OLD_STATE
            return
        state = self.writes.pop(request)
        if isinstance(request.error, StoreUnavailable):
            return
        assert request.error is None, request.error
        self._promise(state)

    def _promise(self, state: int) -> None:
        self.promised = max(self.promised, self.history.index(state))


# --- faults planted in the protocol --------------------------------------------------------------------------------


class NoMark(Policies):
    def _mark(self, entities: Sequence[Entity], mark: str) -> None:
        pass


class NoPublication(Policies):
    def _publish(self, entities: Sequence[Entity], mark: str) -> None:
        pass


class SilentOnAFailedPublication(Policies):
    @contextmanager
    def change(self, entities: Sequence[Entity]) -> Iterator[Any]:
        with suppress(WriteStands), super().change(entities) as before_commit:
            yield before_commit


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
    def look_again(self, token: str, now: datetime) -> Sighting:
        snapshot = self._read(token, now)
        with suppress(StoreUnavailable):
            versions = self._policies.adopt(snapshot_rows.entities_of(snapshot, token))
            self._cache[token] = (snapshot, versions)
        return Sighting(token, snapshot, None)


# What is planted, and one order of events that shows it. The first writer's steps: before its mark, marked, before
# the commit, before publication, published, answered.
PLANTED: dict[str, tuple[dict[str, Any], str]] = {
    "no mark": ({"protocol": NoMark}, "read 1, write 0, go, lose 0, finish, read 1"),
    "no publication": ({"protocol": NoPublication}, "write 0, go, flush, read 1, finish, read 1"),
    "silent on a failed publication": (
        {"protocol": SilentOnAFailedPublication},
        "write 0, go, flush, read 1, lose 0, finish, read 1",
    ),
    "published before the commit": (
        {"protocol": PublishedBeforeTheCommit},
        "write 0, go, go, go, go, read 1, finish, read 1",
    ),
    "every mark taken off": (
        {"protocol": EveryMarkTakenOff},
        "write 0, go, write 1, go 1, finish 1, read 1, go, lose 0, finish, read 1",
    ),
    "marks ignored": ({"protocol": MarksIgnored}, "read 1, write 0, go, go, lose 0, finish, read 1"),
    "a lapse without a new token": (
        {"protocol": LapseWithoutANewToken},
        "read 1, write 0, go, go, lose 0, finish, lapse, read 1",
    ),
    "one token for all": ({"lease": OneTokenForAll}, "read 1, write 0, finish, read 1"),
    "versions read after the state": (
        {"snapshots": VersionsReadAfterTheState},
        "begin_to_read 1, write 0, finish 1, finish, read 1",
    ),
    "a deadline that never comes": (
        {"clock_stands": True},
        "write 0, go, lapse, read 1, go, go, read 1",
    ),
}
SHORT = {
    "write": "begin_to_write",
    "go": "go_on",
    "lose": "lose_redis",
    "lapse": "let_marks_lapse",
}


def play(world: World, order: str) -> None:
    orders = Orders(world)
    try:
        for event in order.split(", "):
            name, _, which = event.partition(" ")
            orders.happen(SHORT.get(name, name), int(which or 0))
    finally:
        orders.end()


def explore(world: World, examples: int, *, derandomize: bool) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=derandomize,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(lists(sampled_from(EVENTS), min_size=30, max_size=60))
    def in_any_order(events: list[tuple[str, int]]) -> None:
        orders = Orders(world)
        try:
            for name, which in events:
                orders.happen(name, which)
        finally:
            orders.end()

    in_any_order()


@pytest.fixture
def sqlite_settings(sqlite_url: str, redis_url: str) -> Settings:
    return Settings.parse(
        {
            "DATABASE_URL": sqlite_url,
            "REDIS_URL": redis_url,
            **ENVIRONMENT,
        }
    )


def test_no_order_of_events_shows_the_old_state_after_a_change_was_answered(sqlite_settings: Settings) -> None:
    world = World(sqlite_settings)

    explore(world, 100, derandomize=False)

    world.close()


@pytest.mark.parametrize("fault", PLANTED)
def test_a_fault_planted_in_the_protocol_shows_the_old_state(sqlite_settings: Settings, fault: str) -> None:
    parts, order = PLANTED[fault]
    sound, planted = World(sqlite_settings), World(sqlite_settings, **parts)

    play(sound, order)
    with pytest.raises(AssertionError, match=OLD_STATE):
        play(planted, order)

    sound.close()
    planted.close()


@pytest.mark.parametrize("fault", ["no mark", "published before the commit", "marks ignored", "one token for all"])
def test_a_fault_planted_in_the_protocol_is_found_without_being_told_the_order(
    sqlite_settings: Settings, fault: str
) -> None:
    world = World(sqlite_settings, **PLANTED[fault][0])

    with pytest.raises(AssertionError, match=OLD_STATE):
        explore(world, 1000, derandomize=True)

    world.close()

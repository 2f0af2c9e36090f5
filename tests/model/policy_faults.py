"""Faults in the policy versions. An order begins in a fresh world, with nothing cached."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.model import changes
from tests.model.redis import Redis, Versions
from tests.model.requests import Requests, Steps, entities
from tests.model.sql import Snapshot
from tests.model.world import World


class NoMark(Redis):
    def mark(self, entities: Sequence[str], mark: str) -> int:
        deadline = super().mark(entities, mark)
        for entity in entities:
            del self.versions[entity].marks[mark]
        return deadline


def a_publication_is_lost(world: World) -> None:
    world.do(0, "verify", "a", 1)
    change = world.start(1, "change", changes.BLOCK).until("publish")
    change.fail()
    assert change.answer
    world.do(0, "verify", "b", 1)


class TornSnapshot(Requests):
    """Key and team are read in two statements."""

    def read_snapshot(self) -> Steps[Snapshot]:
        yield "snapshot"
        key = self.sql.snapshot().key
        yield "snapshot"
        return Snapshot(key, None if key.deleted else self.sql.policy.teams[key.team])


def a_change_between_two_statements(world: World) -> None:
    change = world.start(1, "change", changes.TIGHTEN).until("commit")
    read = world.start(0, "verify", "a", 1).past("snapshot")
    change.finish()
    read.finish()


class KeyReadWithTheIds(Requests):
    """The row that gives the ids is kept, so it is older than the versions."""

    def load(self) -> Steps[tuple[Snapshot, Versions | None]]:
        yield "ids"
        old = self.sql.snapshot()
        yield "adopt"
        versions = self.redis.adopt(entities(old), self.token())
        yield "snapshot"
        team = self.sql.policy.teams[old.key.team]
        self.process.cache = (Snapshot(old.key, None if old.key.deleted else team), versions)
        return self.process.cache


def a_change_between_ids_and_versions(world: World) -> None:
    read = world.start(0, "verify", "a", 1).past("ids")
    world.do(1, "change", changes.BLOCK)
    read.finish()
    world.do(0, "verify", "b", 1)


class VersionCarriedByTheProcess(Requests):
    """Where a token is absent, a process puts back the one it remembers."""

    def decide(self, request_id: str, estimate: int) -> Steps[Any]:
        if self.process.cache is not None:
            for entity, token in self.process.cache[1].tokens.items():
                version = self.redis.versions.get(entity)
                if version is None:
                    self.redis.publish([entity], "", token)
        return (yield from super().decide(request_id, estimate))


def redis_is_lost_after_a_change(world: World) -> None:
    world.do(0, "verify", "a", 1)
    world.do(1, "change", changes.BLOCK)
    world.flushall()
    world.do(0, "verify", "b", 1)


@dataclass
class TokensOfLua(Redis):
    """Random of the script's own: the same numbers again after each start."""

    drawn: int = 0

    def flushall(self) -> None:
        super().flushall()
        self.drawn = 0

    def publish(self, entities: Sequence[str], mark: str, fresh: str) -> None:
        super().publish(entities, mark, self._draw())

    def adopt(self, entities: Sequence[str], fresh: str) -> Versions:
        return super().adopt(entities, self._draw())

    def _draw(self) -> str:
        self.drawn += 1
        return f"lua-{self.drawn}"


def redis_starts_anew_after_a_change(world: World) -> None:
    world.do(0, "verify", "a", 1)
    world.do(1, "change", changes.BLOCK)
    world.flushall()
    world.do(1, "verify", "b", 1)
    world.do(0, "verify", "c", 1)


class RefusedUnchecked(Requests):
    """What a cached snapshot forbids is refused without a look at its versions."""

    def decide(self, request_id: str, estimate: int) -> Steps[Any]:
        if self.process.cache is not None and not self.process.cache[0].opens:
            self.process.cache = (self.process.cache[0], Versions({}, dirty=False))
        return (yield from super().decide(request_id, estimate))


def a_key_is_unblocked(world: World) -> None:
    world.do(1, "change", changes.BLOCK)
    world.do(0, "verify", "a", 1)
    world.do(1, "change", changes.UNBLOCK)
    world.do(0, "verify", "b", 1)

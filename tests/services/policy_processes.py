"""What the tests of policy versions and of cached copies share: several processes on one Redis and one store."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, event

from app.container import Services
from app.services.audit.audit import Act
from app.store import policies
from app.store.connection import HotRedis, Lease, Script
from app.store.policies import Entity, Policies
from tests.environment import REDIS_SECONDS

KEY, TEAM, OTHER = policies.key("k-1"), policies.team("t-1"), policies.key("k-2")


class Monotonic:
    """A writer's own stopwatch, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Boom(Exception):
    """The writer's transaction failed."""


def marks(redis: Redis) -> list[str]:
    """Every mark that is left anywhere."""
    fields = [str(field) for name in redis.scan_iter("keyledger:*") for field in redis.hkeys(name)]
    return [field for field in fields if field != "token"]


def change(policies_: Policies, *entities: Entity) -> None:
    with policies_.change(entities) as before_commit:
        before_commit()


@contextmanager
def failing(policies_: Policies, *entities: Entity) -> Iterator[None]:
    with pytest.raises(Boom), policies_.change(entities):
        yield
        raise Boom


@dataclass
class Statements:
    """Counts what is sent to SQL."""

    texts: list[str] = field(default_factory=list)

    def during(self, work: Callable[[], Any]) -> int:
        before = len(self.texts)
        work()
        return len(self.texts) - before


@contextmanager
def counted(engine: Engine) -> Iterator[Statements]:
    statements = Statements()

    def note(_conn: Any, _cursor: Any, text: str, *_: Any) -> None:
        statements.texts.append(text)

    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


class Interrupted(HotRedis):
    """A connection to Redis after each of whose calls of one script something else happens."""

    def __init__(self, url: str, script: Script, then: Callable[[], None]) -> None:
        super().__init__(url, seconds=REDIS_SECONDS)
        self._script, self._then = script, then

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        with super().lease() as lease:
            run, ran = lease.run, []

            def noting(script: Script, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
                ran.append(script)
                return run(script, keys, arguments)

            lease.run = noting  # type: ignore[method-assign]
            yield lease
        if self._script in ran:
            self._then()


def make_key(services: Services, act: Act, **fields: Any) -> str:
    return services.keys.generate(act, fields, "/key/generate").view.token

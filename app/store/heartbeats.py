"""Signs of life: when each background part was last known to work.

A part writes its instant from inside the loop that does its work, so a part whose loop has stopped falls silent
even while its process exists. Losing these costs nothing: the next beat writes them again.
"""

from datetime import datetime
from enum import StrEnum

from redis import Redis
from redis.exceptions import RedisError

from app.errors import RedisUnavailable

# Far beyond every interval: the reader judges an instant by its age; this only clears away what is forgotten.
KEPT_SECONDS = 600


class Part(StrEnum):
    """Who gives signs of life."""

    WORKER = "worker"
    BEAT = "beat"
    # A job that beat has sent was run by a worker: beat, broker and worker together.
    JOBS = "jobs"


class Heartbeats:
    """The last sign of life of each part, in Redis."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def record(self, part: Part, now: datetime) -> None:
        """Note that `part` works at `now`; raises StoreUnavailable. A repeat moves the instant."""
        try:
            self._client.set(_name(part), now.isoformat(), ex=KEPT_SECONDS)
        except (RedisError, OSError) as error:
            raise RedisUnavailable from error

    def read(self) -> dict[Part, datetime | None]:
        """The last instant of every part, None for one that was never heard; raises StoreUnavailable."""
        try:
            found = self._client.mget([_name(part) for part in Part])
        except (RedisError, OSError) as error:
            raise RedisUnavailable from error
        return {part: _instant(value) for part, value in zip(Part, found, strict=True)}


def _name(part: Part) -> str:
    return f"keyledger:heartbeat:{part}"


def _instant(value: bytes | str | None) -> datetime | None:
    if value is None:
        return None
    return datetime.fromisoformat(value.decode() if isinstance(value, bytes) else value)

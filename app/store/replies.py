"""What workers answer to a request that waits for them: a list in Redis per message, which soon forgets itself.

A reply is lost with Redis, or when nobody waits any more; whoever waited says so and may ask again.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from redis import Redis
from redis.exceptions import RedisError

from app.errors import RedisUnavailable

# Longer than anybody waits.
KEPT_SECONDS = 120
# One wait in Redis; shorter than the client's own patience with a silent server.
_SLICE_SECONDS = 0.5


class Replies:
    """`client` must wait longer than half a second for an answer."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def send(self, message_id: str, reply: Mapping[str, Any]) -> None:
        """Leave the reply to a message; raises StoreUnavailable. A repeat leaves another, which nobody reads."""
        try:
            with self._client.pipeline() as pipeline:
                pipeline.rpush(_name(message_id), orjson.dumps(dict(reply)))
                pipeline.expire(_name(message_id), KEPT_SECONDS)
                pipeline.execute()
        except (RedisError, OSError) as error:
            raise RedisUnavailable from error

    def collect(self, message_ids: Iterable[str], seconds: float) -> dict[str, dict[str, Any]]:
        """The replies that come within the time, by message; raises StoreUnavailable."""
        deadline = time.monotonic() + seconds
        awaited = {_name(message_id): message_id for message_id in message_ids}
        replies: dict[str, dict[str, Any]] = {}
        while awaited and (left := deadline - time.monotonic()) > 0:
            try:
                popped: Any = self._client.blpop(list(awaited), timeout=max(0.01, min(left, _SLICE_SECONDS)))
            except (RedisError, OSError) as error:
                raise RedisUnavailable from error
            if popped is not None:
                name, reply = popped
                replies[awaited.pop(name.decode())] = orjson.loads(reply)
        return replies


def _name(message_id: str) -> str:
    return f"keyledger:reply:{message_id}"

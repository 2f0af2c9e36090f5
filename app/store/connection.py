"""The hot path's own way to Redis: short timeouts, no retries, and always sure which server it talks to.

A restarted or promoted Redis may hold an old copy of our data. Each connection therefore learns the server's
`run_id` when it is made, and names are built from the run_id of the very connection that carries them: what
another life of the server knew is never read.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from app.errors import RedisUnavailable


class Script:
    """A Lua script of this package, sent by its digest and in full only where the server does not know it.

    Several names are files that make one script, in that order.
    """

    def __init__(self, *names: str) -> None:
        folder = files("app.store")
        self.source = "".join(folder.joinpath(f"{name}.lua").read_text("utf-8") for name in names)
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


class Lease:
    """One borrowed connection; `name` builds keys that only this life of the server has."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.run_id: str = connection.run_id

    def name(self, *parts: str) -> str:
        return ":".join(("keyledger", self.run_id, *parts))

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """Run the script in one round trip (two where the server has not seen it)."""
        try:
            return self._call("EVALSHA", script.digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return self._call("EVAL", script.source, len(keys), *keys, *arguments)

    def fields(self, keys: Sequence[str], name: str) -> list[str | None]:
        """The same field of several hashes, None where there is none; one round trip."""
        for key in keys:
            self._connection.send_command("HGET", key, name)
        return [self._connection.read_response() for _ in keys]

    def members(self, key: str) -> int:
        """How many a sorted set has."""
        return int(self._call("ZCARD", key))

    def now(self) -> float:
        """The server's clock, in seconds since the epoch."""
        seconds, microseconds = self._call("TIME")
        return int(seconds) + int(microseconds) / 1_000_000

    def _call(self, *command: Any) -> Any:
        self._connection.send_command(*command)
        return self._connection.read_response()


class HotRedis:
    """A pool of connections to the Redis that holds policy versions and counters."""

    def __init__(self, url: str, *, seconds: float) -> None:
        self._pool = ConnectionPool.from_url(
            url,
            protocol=2,
            decode_responses=True,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=_learn_run_id,
        )

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """Borrow a connection; raises StoreUnavailable whatever goes wrong with it."""
        try:
            connection: Any = self._pool.get_connection()
        except (RedisError, OSError) as error:
            raise RedisUnavailable from error
        try:
            yield Lease(connection)
        except (RedisError, OSError) as error:
            # A late answer must not be read as the answer to somebody else's question.
            connection.disconnect()
            raise RedisUnavailable from error
        finally:
            self._pool.release(connection)

    def close(self) -> None:
        self._pool.close()


def _learn_run_id(connection: Any) -> None:
    connection.on_connect()
    connection.send_command("INFO", "server")
    answer = connection.read_response()
    fields = dict(line.split(":", 1) for line in answer.splitlines() if ":" in line)
    connection.run_id = fields["run_id"]

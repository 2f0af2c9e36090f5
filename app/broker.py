"""The queue as its senders see it: how the broker is reached, and messages that go out by name.

The workers' configuration is built on the same connection, so a message is always where they look for it.
Celery itself is loaded with the first message.
"""

import ssl
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from redis import Redis
from redis.exceptions import RedisError

from app.dispatch import QUEUE_OF, TaskName
from app.errors import Overloaded, RedisUnavailable

if TYPE_CHECKING:
    from celery import Celery

PREFIX = "keyledger:queue:"
# A request waits for this: the broker answers at once, or the message is not sent.
SEND_SECONDS = 1.0
# With no worker that takes messages off, an outage must not fill Redis.
LONGEST_QUEUE = 1000


def broker_url(redis_url: str) -> str:
    """The one setting in kombu's dialect: redis-py's `unix:///path?db=1` is `redis+socket:///path?virtual_host=1`."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={database}"


def broker_tls(redis_url: str) -> dict[str, Any] | None:
    """The server's certificate is verified unless the URL says otherwise (kombu's default is the reverse)."""
    if not redis_url.startswith("rediss://") or "ssl_cert_reqs=" in redis_url:
        return None
    return {"ssl_cert_reqs": ssl.CERT_REQUIRED}


class CeleryDispatch:
    """Sends messages to the workers; `client` reads how many wait already."""

    def __init__(self, redis_url: str, client: Redis) -> None:
        self._redis_url = redis_url
        self._client = client

    def send(
        self, task: TaskName, arguments: Sequence[str | int], *, message_id: str, expires_seconds: float
    ) -> None:
        """Put one message into the task's queue; a worker that finds it later than `expires_seconds` drops it.

        Raises StoreUnavailable, then it was most likely not sent, and Overloaded, then it was not.
        """
        queue = QUEUE_OF[task]
        try:
            waiting: Any = self._client.llen(PREFIX + queue)
            if waiting >= LONGEST_QUEUE:
                raise Overloaded("Too much is waiting for the workers. Try again later.")
            self._celery.send_task(
                task.value,
                args=list(arguments),
                task_id=message_id,
                queue=queue.value,
                expires=expires_seconds,
                retry=False,
                ignore_result=True,
            )
        except (RedisError, OSError) as error:
            raise RedisUnavailable from error
        except self._failures as error:
            raise RedisUnavailable from error

    @cached_property
    def _celery(self) -> "Celery":
        from celery import Celery  # noqa: PLC0415 - few processes send anything

        app = Celery("keyledger", set_as_current=False)
        app.conf.update(
            broker_url=broker_url(self._redis_url),
            broker_use_ssl=broker_tls(self._redis_url),
            broker_connection_timeout=SEND_SECONDS,
            broker_transport_options={
                "global_keyprefix": PREFIX,
                "socket_timeout": SEND_SECONDS,
                "socket_connect_timeout": SEND_SECONDS,
                # Kombu would try for ever.
                "max_retries": 0,
                "interval_start": 0,
                "interval_step": 0,
                "interval_max": 0,
            },
            result_backend=None,
            task_ignore_result=True,
            task_serializer="json",
            accept_content=["json"],
        )
        return app

    @property
    def _failures(self) -> tuple[type[Exception], ...]:
        from kombu.exceptions import KombuError  # noqa: PLC0415

        return (KombuError,)

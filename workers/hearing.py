"""Whether this worker still takes messages off its queues.

After a broken connection Celery's consumer can come back without ever asking for messages again, alive to all
appearance; https://github.com/celery/kombu/issues/2629 is one way into it. From outside it shows: messages wait,
and the worker has nothing to do. It then has to be started anew.
"""

from collections.abc import Callable

from redis import Redis
from redis.exceptions import RedisError

from app.broker import PREFIX
from app.dispatch import QueueName

# At one look a message may have come just now.
LOOKS = 3


class Hearing:
    """`idle` tells whether the worker has nothing in hand."""

    def __init__(self, broker: Redis, idle: Callable[[], bool]) -> None:
        self._broker = broker
        self._idle = idle
        self._missed = 0

    def is_lost(self) -> bool:
        """Look once more: whether messages have waited for an idle worker at each of the last LOOKS."""
        self._missed = self._missed + 1 if self._idle() and self._waiting() else 0
        return self._missed >= LOOKS

    def _waiting(self) -> bool:
        try:
            return any(self._broker.llen(PREFIX + queue) for queue in QueueName)
        except (RedisError, OSError):
            return False

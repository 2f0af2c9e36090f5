"""The periodic jobs: each calls one service method and logs one line.

They do bookkeeping only. Run twice, late, or two at once, they leave the same state.
"""

import time

import app.container  # noqa: F401 - loaded before the pool forks, so that its processes share it
import structlog

from app.dispatch import TaskName
from app.errors import StoreUnavailable
from workers.celery import SOFT_LIMIT_SECONDS, celery
from workers.resources import services

_log = structlog.get_logger(__name__)


@celery.task(name=TaskName.EXPIRE_KEYS.value, throws=(StoreUnavailable,))  # type: ignore[untyped-decorator]
def expire_keys() -> None:
    """Mark expired keys, batch after batch, until none is left or the time limit nears; the next run goes on."""
    until = time.monotonic() + SOFT_LIMIT_SECONDS / 2
    expired = 0
    while count := services().key_ends.expire_due():
        expired += count
        if time.monotonic() > until:
            break
    _log.log(20 if expired else 10, "keys_expired", count=expired)


@celery.task(name=TaskName.HEARTBEAT.value, throws=(StoreUnavailable,))  # type: ignore[untyped-decorator]
def heartbeat() -> None:
    """Show that what beat sends reaches a worker."""
    services().health.beat_heard()
    _log.debug("beat_heard")

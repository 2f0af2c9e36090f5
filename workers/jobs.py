"""The periodic jobs: each calls one service method and logs one line.

They do bookkeeping only. Run twice, late, or two at once, they leave the same state.
"""

import logging
import time

import structlog

import app.container  # noqa: F401 - loaded before the pool forks, so that its processes share it
from app.dispatch import TaskName
from app.errors import StoreUnavailable
from app.services.key_ends import EXPIRY_BATCH
from workers.celery import SOFT_LIMIT_SECONDS, celery
from workers.resources import services

_log = structlog.get_logger(__name__)


# Between two full batches others get their turn at the store's one writing place.
PAUSE_SECONDS = 0.05


@celery.task(name=TaskName.EXPIRE_KEYS.value, throws=(StoreUnavailable,))  # type: ignore[untyped-decorator]
def expire_keys() -> None:
    """Record expiries, batch after batch, until none is due or the time limit nears; the next run goes on."""
    until = time.monotonic() + SOFT_LIMIT_SECONDS / 2
    expired = batch = services().key_ends.expire_due()
    while batch == EXPIRY_BATCH and time.monotonic() < until:
        time.sleep(PAUSE_SECONDS)
        batch = services().key_ends.expire_due()
        expired += batch
    _log.log(logging.INFO if expired else logging.DEBUG, "keys_expired", count=expired)


@celery.task(name=TaskName.HEARTBEAT.value, throws=(StoreUnavailable,))  # type: ignore[untyped-decorator]
def heartbeat() -> None:
    """Show that what beat sends reaches a worker."""
    services().health.beat_heard()
    _log.debug("beat_heard")

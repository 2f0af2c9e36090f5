"""What goes to the outside: each task calls one service method and logs one line."""

from typing import Any

import structlog

from app.dispatch import TaskName
from app.errors import StoreUnavailable
from workers.celery import celery
from workers.resources import services

_log = structlog.get_logger(__name__)


@celery.task(  # type: ignore[untyped-decorator]
    name=TaskName.TEST_CALLBACK.value, bind=True, throws=(StoreUnavailable,)
)
def test_callback(self: Any, key_id: str, index: int) -> None:
    """Send a test log to one callback of a key; the result goes to the request that waits for it."""
    health = services().callback_probes.run(key_id, index, self.request.id)
    _log.info("callback_tested", key_id=key_id, callback=health.callback_name, ok=health.ok, reason=health.reason)

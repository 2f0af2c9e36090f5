"""What goes to the outside: each task calls one service method and logs one line."""

from typing import Any

import structlog
from celery.signals import worker_init

from app.dispatch import TaskName
from app.errors import StoreUnavailable
from workers.celery import celery
from workers.jobs import run_job
from workers.resources import services
from workers.turn import Turn

_log = structlog.get_logger(__name__)

# Opened by the worker, for all processes of its pool.
_turn = Turn()
worker_init.connect(_turn.open, weak=False)


@celery.task(  # type: ignore[untyped-decorator]
    name=TaskName.TEST_CALLBACK.value, bind=True, throws=(StoreUnavailable,)
)
def test_callback(self: Any, key_id: str, index: int) -> None:
    """Send a test log to one callback of a key; the result goes to the request that waits for it."""
    health = services().callback_probes.run(key_id, index, self.request.id)
    _log.info("callback_tested", key_id=key_id, callback=health.callback_name, ok=health.ok, reason=health.reason)


@celery.task(name=TaskName.DELIVER.value, throws=(StoreUnavailable,))  # type: ignore[untyped-decorator]
def deliver() -> None:
    """Deliver what waits, unless another process of this worker does: the jobs need the rest of them."""
    with _turn.taken() as mine:
        if mine:
            run_job(TaskName.DELIVER)

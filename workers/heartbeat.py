"""Signs of life of the worker and of beat, each given from inside its own main loop.

A loop that hangs or has lost its broker gives none, even while its process lives.
"""

import os
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import structlog
from celery import bootsteps
from celery.worker import state
from redbeat.schedulers import RedBeatScheduler, acquire_distributed_beat_lock
from redis.exceptions import LockError

from app.clock import SystemClock
from app.errors import StoreUnavailable
from app.store.heartbeats import Part
from workers.hearing import Hearing
from workers.resources import broker, heartbeats, settings

_log = structlog.get_logger(__name__)
_clock = SystemClock()
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def record(part: Part) -> None:
    """Write a sign of life; a store that is away is logged, for the loop must go on."""
    try:
        heartbeats().record(part, _clock.now())
    except StoreUnavailable:
        _log.warning("heartbeat_not_recorded", part=part)


def beat(hearing: Hearing) -> None:
    """Give a sign of life, or end the worker where it is deaf: whoever keeps it running starts another one."""
    if hearing.is_lost():
        _log.error("worker_hears_no_messages")
        state.should_stop = os.EX_UNAVAILABLE
        return
    record(Part.WORKER)


class WorkerHeartbeat(bootsteps.StartStopStep):  # type: ignore[misc]
    """A timer in the worker's event loop; it starts and stops with the connection to the broker."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        self._timer: Any = None
        super().__init__(consumer, **options)

    def start(self, consumer: Any) -> None:
        record(Part.WORKER)
        hearing = Hearing(broker(), lambda: not state.reserved_requests)
        self._timer = consumer.timer.call_repeatedly(settings().heartbeat_seconds, beat, (hearing,))

    def stop(self, _consumer: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    shutdown = stop


class Scheduler(RedBeatScheduler):  # type: ignore[misc]
    """RedBeat, with a sign of life, which starts over when Redis has lost what it kept there."""

    _due = 0.0

    def tick(self, *arguments: Any, **options: Any) -> float:
        """Send what is due and say in how many seconds to come again; raises when Redis is away."""
        try:
            seconds: float = super().tick(*arguments, **options)
        except LockError:
            self._start_over()
            return 0.0
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + settings().heartbeat_seconds
            record(Part.BEAT)
        return seconds

    def _start_over(self) -> None:
        """Take the lock as at the start, waiting for another beat that may hold it, and install the schedule."""
        _log.warning("beat_lock_lost")
        acquire_distributed_beat_lock(sender=SimpleNamespace(scheduler=self))
        self.setup_schedule()

    def update_from_dict(self, entries: dict[str, Any]) -> None:
        """Install entries; one that Redis does not know, as after a FLUSHALL, is due at once."""
        unknown = [name for name in entries if not self._is_known(name)]
        super().update_from_dict(entries)
        for name in unknown:
            self._entry(name).reschedule(_LONG_AGO)

    def _is_known(self, name: str) -> bool:
        try:
            self._entry(name)
        except KeyError:
            return False
        return True

    def _entry(self, name: str) -> Any:
        return self.Entry.from_key(self.Entry.generate_key(self.app, name), app=self.app)

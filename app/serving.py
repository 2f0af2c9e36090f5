"""The web server: a main process that minds the workers, and what each of them runs.

The application is imported before the workers are forked, so that they share its memory and a replaced one
answers at once. When the server is told to stop, readiness says so first, for as long as load balancers need to
notice; requests that still come are served.
"""

import gc
import os
import signal
from contextlib import suppress
from threading import Thread, Timer
from typing import Any

from flask import Flask
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.mp import MPServer

from app import (
    api,  # noqa: F401 - see above
    create_app,
    logs,
)
from app.config import Settings, from_environment
from app.processes import die_with_parent
from app.services.jobs.health import Health

DRAIN = signal.SIGUSR1
# Its few lines go where all others go, in their form.
LOGGING = {"loggers": {"_granian": {"handlers": [], "propagate": True}}}


class Server(MPServer):
    """Granian, which tells its workers to drain before it stops them. A second signal stops them at once."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            "app.serving:application",
            factory=True,
            interface=Interfaces.WSGI,
            websockets=False,
            address=settings.host,
            port=settings.port,
            workers=settings.web_processes,
            blocking_threads=settings.web_threads,
            respawn_failed_workers=True,
            # For the requests that are under way when the draining is over.
            workers_kill_timeout=max(1, round(settings.busy_seconds / 2)),
            log_level=LogLevels(settings.log_level.lower()),
            log_dictconfig=LOGGING,
        )
        self._drain_seconds = settings.drain_seconds
        self._is_draining = False

    def signal_handler_interrupt(self, *signal_and_frame: Any) -> None:
        """Begin the end."""
        if self._is_draining or not self._drain_seconds:
            super().signal_handler_interrupt(*signal_and_frame)  # type: ignore[no-untyped-call]
            return
        self._is_draining = True
        for worker in self.wrks:
            with suppress(ProcessLookupError):
                os.kill(worker.inner.pid, DRAIN)
        timer = Timer(self._drain_seconds, super().signal_handler_interrupt)
        timer.daemon = True
        timer.start()


def application() -> Flask:
    """Build the application, in a worker that ends with the server's main process."""
    die_with_parent()
    app = create_app()
    Thread(target=_drain_when_told, args=(app.extensions["keyledger"].health,), name="drain", daemon=True).start()
    return app


def _drain_when_told(health: Health) -> None:
    """Wait for the signal in a thread of its own.

    A handler would run in the main thread, which sleeps in a lock: a signal that comes just before the sleep is
    noted there and does not end it. A blocked one waits for whoever asks for it.
    """
    signal.sigwait({DRAIN})
    health.drain()


def main() -> None:
    """Serve until told to stop; raises BadSettings."""
    settings = from_environment()
    signal.pthread_sigmask(signal.SIG_BLOCK, {DRAIN})  # in all threads and workers to come; one waits for it
    server = Server(settings)
    logs.configure(settings.log_level)
    # What was imported stays shared with the workers when their garbage collectors leave it alone.
    gc.collect()
    gc.freeze()
    server.serve()


if __name__ == "__main__":
    main()

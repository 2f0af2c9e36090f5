"""The supervised processes: each in a group of its own, restarted with backoff, stopped in order.

A restart or a stop deals with the whole group, so a dead process never leaves its own children behind.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from app.processes import dying_with_parent, group_exists, identity, kill_group

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
# A process that lived this long was not failing: its next death starts the backoff anew.
STEADY_SECONDS = 30.0


@dataclass(slots=True)
class Child:
    """One supervised process. `environment` is its whole environment; secrets travel there, never in `argv`."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    log: Callable[[], Path]
    pid_file: Path
    restart_at: float | None = None
    _process: subprocess.Popen[bytes] | None = None
    _log_path: Path | None = None
    _log_offset: int = 0
    _started: float = 0.0
    _delay: float = field(default=FIRST_DELAY_SECONDS)

    @property
    def pid(self) -> int:
        """The process id, 0 before the first start."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start the process, its output appended to its log; raises OSError."""
        self._log_path = self.log()
        descriptor = os.open(self._log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            self._log_offset = os.fstat(descriptor).st_size
            self._process = subprocess.Popen(
                self.argv,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=subprocess.STDOUT,
                # A terminal's Ctrl-C reaches the supervisor alone, which stops the others in order.
                process_group=0,
                preexec_fn=dying_with_parent(),  # noqa: PLW1509 - the supervisor has one thread
            )
        finally:
            os.close(descriptor)
        self._started = time.monotonic()
        self.restart_at = None
        self.pid_file.write_text(f"{self.pid} {identity(self.pid) or ''}")

    def exit_status(self) -> int | None:
        """None while it runs; else its exit status, negative for a signal."""
        return self._process.poll() if self._process else None

    def plan_restart(self) -> float:
        """Decide when to start again after a death; the answer is the delay in seconds."""
        self.kill()  # what the dead process has left in its group
        now = time.monotonic()
        if now - self._started > STEADY_SECONDS:
            self._delay = FIRST_DELAY_SECONDS
        delay, self._delay = self._delay, min(self._delay * 2, LONGEST_DELAY_SECONDS)
        self.restart_at = now + delay
        return delay

    def terminate(self) -> None:
        """Ask the process to stop; it stops its own children in order."""
        if self.is_uncollected():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process and all that it has started."""
        if self._process:
            kill_group(self.pid)

    def is_uncollected(self) -> bool:
        """Whether it runs, or is dead and nobody has asked for its exit status."""
        return self._process is not None and self._process.returncode is None

    def is_gone(self) -> bool:
        """Whether neither the process nor anything in its group is left."""
        return self._process is None or (self._process.poll() is not None and not group_exists(self.pid))

    def forget(self) -> None:
        """Remove the pid file of a process that is gone."""
        self.pid_file.unlink(missing_ok=True)

    def last_words(self, lines: int = 12) -> list[str]:
        """The end of what this run has written to its log."""
        if self._log_path is None:
            return []
        with self._log_path.open("rb") as log:
            # Since then it may have been emptied.
            size = os.fstat(log.fileno()).st_size
            log.seek(self._log_offset if self._log_offset <= size else 0)
            return log.read().decode(errors="replace").strip().splitlines()[-lines:]


def reap(children: Iterable[Child]) -> None:
    """Collect every dead process: a known child through its own record, an adopted one here."""
    if sys.platform != "linux":  # nobody is adopted there
        for child in children:
            child.exit_status()
        return
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None:
            return
        known = [child for child in children if child.pid == found.si_pid and child.is_uncollected()]
        if known:
            known[0].exit_status()
        else:
            os.waitpid(found.si_pid, 0)


def wait_until_gone(stopping: Sequence[Child], all_children: Sequence[Child], is_over: Callable[[], bool]) -> None:
    """Wait until every one of `stopping` is gone, or `is_over` says that the patience has ended."""
    while not all(child.is_gone() for child in stopping) and not is_over():
        time.sleep(0.02)
        reap(all_children)

"""The true worker, as `keyledger worker` starts it, in a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from redis import Redis

from app.store.heartbeats import Heartbeats, Part
from tests.servers import children, eventually, launcher

ROOT = Path(__file__).resolve().parents[2]


class Worker:
    """Runs between enter and exit, on the settings of `environment`; its log is kept in `folder`."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._environment = {"KEYLEDGER_LOG_LEVEL": "DEBUG", "KEYLEDGER_HEARTBEAT_SECONDS": "1", **environment}
        self._log = folder / "worker.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it takes messages."""
        with Redis.from_url(self._environment["REDIS_URL"]) as client:
            for part in Part:
                client.delete(f"keyledger:heartbeat:{part}")
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [*launcher(), sys.executable, "-m", "app.cli", "worker"],
                    cwd=ROOT,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    process_group=0,
                )
            eventually(lambda: Heartbeats(client).read()[Part.WORKER] or self._process_has_ended())
        assert not self._process_has_ended(), self.log()

    def stop(self) -> None:
        """Let it end what it does, and kill it when it takes too long."""
        if self._process is None or self._process_has_ended():
            return
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(15)
        self._process.kill()
        self._process.wait()

    def kill(self) -> None:
        """SIGKILL to it and to every process of its pool."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def is_running(self) -> bool:
        return self._process is not None and not self._process_has_ended()

    def pids(self) -> list[int]:
        """It and its pool."""
        assert self._process is not None
        return [self._process.pid, *children(self._process.pid)]

    def delivering(self) -> int | None:
        """The process of its pool whose turn it is to deliver, by the lock that it holds; None between two sweeps."""
        assert self._process is not None
        pool = set(children(self._process.pid))
        files = {inode for pid in pool for inode in _nameless_files(pid)}
        for line in Path("/proc/locks").read_text().splitlines():
            _, kind, _, _, pid, place, *_ = line.split()
            if kind == "POSIX" and pid.isdecimal() and int(pid) in pool and int(place.split(":")[2]) in files:
                return int(pid)
        return None

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _process_has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None


def _nameless_files(pid: int) -> Iterator[int]:
    """The inodes of the files that a process has open and that have no name any more."""
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if entry.readlink().name.endswith("(deleted)"):
                    yield entry.stat().st_ino

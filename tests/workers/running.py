"""`keyledger up` as a process of its own, watched from outside only: its output, its HTTP, its files, /proc."""

import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError

from tests.leaks import SECRETS
from tests.servers import eventually, free_port, launcher

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
LAST_LINE = "Ctrl-C stops everything."


@dataclass(frozen=True)
class Finished:
    """How a start that was refused has ended."""

    status: int
    output: str
    errors: list[str]


class Up:
    """One supervisor on one folder; started again, it finds the folder of the time before. Left, nothing runs."""

    def __init__(self, folder: Path, data: str = "data", **environment: str) -> None:
        self.folder = folder
        self.data = folder / data
        self.port = free_port()
        # No server on PATH: the one of the wheel is under test. Nothing of the developer's own settings.
        self._environment = {
            "PATH": str(folder),
            "PORT": str(self.port),
            "KEYLEDGER_DATA_DIR": str(self.data),
            "KEYLEDGER_HEARTBEAT_SECONDS": "2",
        } | environment
        self._process: subprocess.Popen[bytes] | None = None
        self.ready_seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # --- its life ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it and wait until it says that everything is ready."""
        began = time.monotonic()
        self._process = self._launch()
        eventually(lambda: LAST_LINE in self.output() or self._process_has_ended(), START_SECONDS)
        assert not self._process_has_ended(), self.output() + self.errors()
        self.ready_seconds = time.monotonic() - began

    def is_running(self) -> bool:
        return self._process is not None and not self._process_has_ended()

    def refused(self) -> Finished:
        """Start it and wait for its end."""
        self._process = self._launch()
        status = self._process.wait(START_SECONDS)
        return Finished(status, self.output(), self.errors().splitlines())

    def stop(self, number: signal.Signals) -> tuple[int, float]:
        """Send a signal as a terminal would, to the whole foreground group; its status and seconds to the end."""
        assert self._process is not None
        began = time.monotonic()
        self.send(number)
        status = self._process.wait(120)
        return status, time.monotonic() - began

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL to the supervisor alone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pids(self) -> list[int]:
        """Every living process that has our folder in its environment or its arguments."""
        mark = os.fsencode(self.folder)
        return [pid for pid in _all_pids() if mark in _seen(pid, "environ") or mark in _seen(pid, "cmdline")]

    def pid_of(self, part: str) -> int:
        """The process that runs `part`, 0 while there is none."""
        try:
            return int((self.data / "run" / f"{part}.pid").read_text().split()[0])
        except (OSError, IndexError):
            return 0

    def arguments(self) -> bytes:
        """The command lines of all its processes."""
        return b"\n".join(_seen(pid, "cmdline") for pid in self.pids())

    def output(self) -> str:
        return (self.folder / "stdout").read_text(errors="replace")

    def errors(self) -> str:
        return (self.folder / "stderr").read_text(errors="replace")

    def logs(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted((self.data / "log").iterdir()))

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask its SQL store itself; a reader hinders nobody there."""
        return rows(self.data / "keyledger.sqlite3", statement, *values)

    # --- its service -------------------------------------------------------------------------------------------

    def pasted(self) -> tuple[int, Any]:
        """Do what the printed `curl` does."""
        words = shlex.split(re.findall(r"^\s*(curl .*)$", self.output(), re.MULTILINE)[-1])
        url = next(word for word in words if word.startswith("http"))
        headers = [words[index + 1] for index, word in enumerate(words) if word == "-H"]
        return self._send(url, dict(header.split(": ", 1) for header in headers), words[words.index("-d") + 1])

    def post(self, path: str, **body: Any) -> Any:
        """Call as the master key; the body of the answer, which must be a 200."""
        status, answer = self._send(f"http://127.0.0.1:{self.port}{path}", self._headers(), json.dumps(body))
        assert status == 200, answer
        return answer

    def get(self, path: str) -> tuple[int, Any]:
        """Call as the master key; 0 while nothing answers."""
        try:
            return self._send(f"http://127.0.0.1:{self.port}{path}", self._headers(), None)
        except OSError:
            return 0, None

    def master_key(self) -> str:
        """The one that it was given, else the one that it has made for itself."""
        given = self._environment.get("KEYLEDGER_MASTER_KEY")
        return given or (self.data / "master-key").read_text().strip()

    def is_ready(self, since: str = "") -> bool:
        """Whether all parts are alive, heard after the instant `since`."""
        status, report = self.get("/health/readiness")
        return status == 200 and all(
            report[part]["state"] == "alive" and report[part]["last_seen_at"] > since
            for part in ("worker", "beat")
        )

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.master_key()}", "Content-Type": "application/json"}

    def _send(self, url: str, headers: dict[str, str], body: str | None) -> tuple[int, Any]:
        request = urllib.request.Request(url, body.encode() if body else None, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                found = json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)
        if isinstance(found, dict):
            SECRETS.remember(found.get("key"))  # which the logs of all parts are searched for in the end
        return answer.status, found

    def _launch(self) -> subprocess.Popen[bytes]:
        with (self.folder / "stdout").open("wb") as out, (self.folder / "stderr").open("wb") as err:
            return subprocess.Popen(
                [*launcher(), sys.executable, "-m", "app.cli", "up"],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                process_group=0,
            )

    def _process_has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None


def rows(store: Path, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """What a SQLite file answers; it is only read."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        return connection.execute(statement, values).fetchall()


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _seen(pid: int, what: str) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{what}").read_bytes()
    return b""

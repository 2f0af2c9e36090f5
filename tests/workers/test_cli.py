"""The command of each process: what it says when it cannot start, and how the web ends."""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environment import ENVIRONMENT
from tests.servers import RedisServer, eventually, free_port, launcher
from tests.stores import copy_of

ROOT = Path(__file__).resolve().parents[2]
# Within so long a busy machine gets to ask it at least once.
DRAIN_SECONDS = 6


def environment(tmp_path: Path, **changes: str) -> dict[str, str]:
    """Settings that are right, but for the changes; an empty one counts as missing."""
    return {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'keyledger.db'}",
        "REDIS_URL": f"redis://:hush@127.0.0.1:{free_port()}/0",
        **ENVIRONMENT,
    } | changes


def run(command: list[str], settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *command],
        cwd=ROOT,
        env=settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


SQL_AWAY = {"DATABASE_URL": "postgresql://me:hush@127.0.0.1:1/x"}
NOT_A_STORE = {"DATABASE_URL": f"sqlite:///{ROOT / 'Makefile'}"}
NO_FOLDER = {"DATABASE_URL": "sqlite:////dev/null/folder/x.db"}
WELL_KNOWN = {"KEYLEDGER_MASTER_KEY": "sk-1234"}


@pytest.mark.parametrize(
    ("command", "changes", "says"),
    [
        ("worker", {}, "Redis at redis://127.0.0.1:"),
        ("beat", {}, "Redis at redis://127.0.0.1:"),
        ("worker", SQL_AWAY, "The SQL store postgresql+psycopg://me:***@127.0.0.1:1/x does not answer"),
        ("web", SQL_AWAY, "The SQL store postgresql+psycopg://me:***@127.0.0.1:1/x does not answer"),
        ("migrate", SQL_AWAY, "The SQL store postgresql+psycopg://me:***@127.0.0.1:1/x does not answer"),
        ("migrate", NOT_A_STORE, "does not answer: file is not a database"),
        ("migrate", NO_FOLDER, "does not answer: Not a directory"),
        ("web --host 0.0.0.0", WELL_KNOWN, "KEYLEDGER_MASTER_KEY is too short or well known to listen on 0.0.0.0"),
        ("beat", {"KEYLEDGER_SALT_KEY": ""}, "KEYLEDGER_SALT_KEY is missing"),
    ],
)
def test_a_process_that_cannot_start_says_why_in_one_line(
    command: str, changes: dict[str, str], says: str, tmp_path: Path
) -> None:
    ended = run(command.split(), environment(tmp_path, **changes))

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("keyledger: ")
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert says in ended.stderr
    assert "hush" not in ended.stderr


def test_every_bad_setting_is_named_at_once(tmp_path: Path) -> None:
    ended = run(["migrate"], environment(tmp_path, PORT="x", KEYLEDGER_LOG_LEVEL="LOUD", KEYLEDGER_SALT_KEY=""))

    assert ended.returncode == 1
    assert [line.split()[1] for line in ended.stderr.splitlines()] == [
        "KEYLEDGER_SALT_KEY",
        "PORT",
        "KEYLEDGER_LOG_LEVEL",
    ]


def test_migrating_twice_is_as_good_as_once(tmp_path: Path) -> None:
    settings = environment(tmp_path)

    assert run(["migrate"], settings).returncode == 0
    assert run(["migrate"], settings).returncode == 0


def test_help_loads_neither_the_web_nor_the_workers() -> None:
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "import app.cli, sys; print({'flask', 'sqlalchemy', 'celery', 'redis'} & set(sys.modules))",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout == "set()\n"


# --- the end of the web --------------------------------------------------------------------------------------------


class Web:
    """`keyledger web` on a port of its own."""

    def __init__(self, tmp_path: Path, database_url: str, redis_url: str) -> None:
        self.port = free_port()
        self._settings = environment(
            tmp_path,
            DATABASE_URL=database_url,
            REDIS_URL=redis_url,
            PORT=str(self.port),
            KEYLEDGER_DRAIN_SECONDS=str(DRAIN_SECONDS),
        )
        self.process = self._launch()

    def serve(self) -> None:
        """Wait until it answers; where the test before has ended it, it is started again."""
        if self.process.poll() is not None:
            self.process = self._launch()
        eventually(lambda: self.readiness()[0] == 200)

    def _launch(self) -> subprocess.Popen[bytes]:
        argv = [*launcher(), sys.executable, "-m", "app.cli", "web"]
        return subprocess.Popen(argv, cwd=ROOT, env=self._settings, stderr=subprocess.DEVNULL)

    def readiness(self) -> tuple[int, str]:
        """The status and the word for it; 0 when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", "/health/readiness")
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())["status"]
        except OSError:
            return 0, ""
        finally:
            connection.close()


@pytest.fixture(scope="module")
def running(
    migrated_file: Path, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("web")
    web = Web(folder, copy_of(migrated_file, folder), redis_server.url)
    yield web
    web.process.kill()
    web.process.wait()


@pytest.fixture
def web(running: Web) -> Web:
    running.serve()
    return running


@pytest.mark.processes
def test_a_web_process_that_is_killed_is_replaced(web: Web) -> None:
    children = Path(f"/proc/{web.process.pid}/task/{web.process.pid}/children")
    (first,) = children.read_text().split()

    subprocess.run(["/bin/kill", "-9", first], check=True)

    eventually(lambda: children.read_text().split() not in ([], [first]))
    eventually(lambda: web.readiness()[0] == 200)


@pytest.mark.processes
def test_a_web_that_is_told_to_stop_says_so_while_it_still_serves_and_then_ends(web: Web) -> None:
    began = time.monotonic()

    web.process.terminate()

    eventually(lambda: web.readiness() == (503, "shutting_down"))
    assert web.process.wait(60) == 0
    assert time.monotonic() - began >= DRAIN_SECONDS


@pytest.mark.processes
def test_the_processes_of_a_killed_web_do_not_outlive_it(web: Web) -> None:
    children = Path(f"/proc/{web.process.pid}/task/{web.process.pid}/children")
    (worker,) = children.read_text().split()

    web.process.kill()
    web.process.wait()

    eventually(lambda: web.readiness()[0] == 0, 5)
    eventually(
        lambda: not Path(f"/proc/{worker}/environ").exists() or not Path(f"/proc/{worker}/cmdline").read_bytes(), 5
    )

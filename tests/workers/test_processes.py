"""What a former run has left behind is ended, and nothing else; and a killed run of the tests leaves nothing."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from app.children import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, Child
from app.processes import die_with_parent, end_strays, identity
from tests.environment import ENVIRONMENT
from tests.forks import forks
from tests.servers import eventually
from tests.workers.worker import Worker

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(SLEEP, process_group=0) as process:
        yield process
        process.kill()


def test_a_process_that_was_noted_is_ended(process: subprocess.Popen[bytes], tmp_path: Path) -> None:
    (tmp_path / "web.pid").write_text(f"{process.pid} {identity(process.pid)}")

    ended = end_strays(tmp_path)

    assert ended == [f"web (pid {process.pid})"]
    assert process.wait(60) < 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("noted", ["", "another-boot/123", "123"])
def test_another_process_that_has_the_pid_now_is_left_alone(
    process: subprocess.Popen[bytes], tmp_path: Path, noted: str
) -> None:
    (tmp_path / "web.pid").write_text(f"{process.pid} {noted}")

    ended = end_strays(tmp_path)

    assert ended == []
    assert process.poll() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "nonsense", "-1 x", "999999999 boot/1"])
def test_a_pid_file_that_means_nothing_is_removed(content: str, tmp_path: Path) -> None:
    (tmp_path / "web.pid").write_text(content)

    assert end_strays(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_keeps_dying_is_started_ever_more_slowly(tmp_path: Path) -> None:
    child = Child("web", [sys.executable, "-c", ""], {}, lambda: tmp_path / "log", tmp_path / "web.pid")
    delays = []

    for _ in range(9):
        child.start()
        eventually(lambda: child.exit_status() is not None)
        delays.append(child.plan_restart())

    assert delays[:3] == [FIRST_DELAY_SECONDS, 2 * FIRST_DELAY_SECONDS, 4 * FIRST_DELAY_SECONDS]
    assert delays[-1] == LONGEST_DELAY_SECONDS


@pytest.mark.processes
def test_a_worker_and_its_pool_die_with_the_tests_that_started_it(
    sqlite_url: str, redis_url: str, tmp_path: Path
) -> None:
    started, tell = forks.Pipe(duplex=False)
    environment = {"DATABASE_URL": sqlite_url, "REDIS_URL": redis_url, **ENVIRONMENT}
    tests = forks.Process(target=_tests_with_a_worker, args=(environment, tmp_path, tell), daemon=True)
    tests.start()
    pids = started.recv()

    tests.kill()

    assert len(pids) > 1
    eventually(lambda: not any(map(identity, pids)))


def _tests_with_a_worker(environment: dict[str, str], folder: Path, tell: Connection) -> None:
    die_with_parent()
    with Worker(environment, folder) as worker:
        tell.send(worker.pids())
        signal.pause()

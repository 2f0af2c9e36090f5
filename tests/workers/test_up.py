"""`keyledger up`, for real: web, worker, beat and a redis-server of its own, started, harmed and stopped."""

import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from app.data_dir import LOG_LIMIT_BYTES
from tests.servers import eventually
from tests.workers.running import Up, free_port

pytestmark = pytest.mark.processes

# What hangs takes for ever; a part that dies again and again is started again after half a minute at the latest.
HANGS_SECONDS = 120.0
# Five seconds, on a machine that has a third of its time for it; without a second signal it waits this long at least.
STOP_SECONDS, PATIENCE_SECONDS = 15.0, 3.6
PARTS = ("web", "worker", "beat", "redis")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    intervals = {"KEYLEDGER_EXPIRY_INTERVAL_SECONDS": "1"}
    with Up(tmp_path_factory.mktemp("up"), data="d%20 ?é'", **intervals) as up:
        yield up


@pytest.fixture
def up(running: Up) -> Up:
    """The shared service, whole again after what the test before has done to it, or to a part of it."""
    if not running.is_running():
        running.start()
    eventually(running.is_ready, HANGS_SECONDS)
    return running


def expiry_is_recorded(up: Up, alias: str) -> bool:
    """Ask SQL itself; a reader hinders nobody there."""
    with closing(sqlite3.connect(f"file:{quote(str(up.data))}/keyledger.sqlite3?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT expiry_recorded_at FROM keys WHERE key_alias = ?", (alias,)).fetchone()
    return bool(found and found[0])


def now() -> str:
    """As the readiness report writes an instant."""
    return datetime.now(UTC).isoformat()  # noqa: TID251 - processes that are not ours to move in time


# --- start ---------------------------------------------------------------------------------------------------------


def test_it_says_once_it_is_ready_what_runs_where(up: Up) -> None:
    output = up.output()

    sys.stdout.write(f"ready after {up.ready_seconds:.1f} s\n")
    for part in PARTS:
        assert re.search(rf"^  {part} .*pid \d+$", output, re.MULTILINE), part
    assert f"http://127.0.0.1:{up.port}" in output
    assert str(up.data / "log") in output
    assert up.errors() == ""


def test_the_printed_curl_makes_a_key_when_pasted(up: Up) -> None:
    status, body = up.pasted()

    assert status == 200
    assert body["key"].startswith("sk-")
    assert body["expires"] is not None


def test_a_key_that_has_expired_is_recorded_by_beat_and_worker(up: Up) -> None:
    up.post("/key/generate", key_alias="short-lived", duration="1s")

    eventually(lambda: expiry_is_recorded(up, "short-lived"), HANGS_SECONDS)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("jobs run watch_jobs", "watch_jobs: "),
        ("ledger rebase", "their counters are what the ledger says"),
        ("secrets rotate", "Every stored secret is sealed with the present salt key."),
    ],
)
def test_beside_it_the_commands_of_an_operator_need_no_settings(up: Up, command: str, says: str) -> None:
    ended = subprocess.run(
        [Path(sys.executable).with_name("keyledger"), *command.split()],
        cwd=up.folder,
        env={"KEYLEDGER_DATA_DIR": up.data.name},
        capture_output=True,
        text=True,
        timeout=HANGS_SECONDS,
        check=False,
    )

    assert (ended.returncode, says in ended.stdout + ended.stderr) == (0, True), ended


def test_what_it_keeps_is_its_owners_alone(up: Up) -> None:
    open_to_others = [
        path for path in [up.data, *up.data.rglob("*")] if stat.S_IMODE(path.lstat().st_mode) & 0o077
    ]

    assert open_to_others == []


def test_the_master_key_is_on_no_command_line_and_in_no_log(up: Up) -> None:
    up.pasted()

    assert up.arguments()
    assert up.master_key().encode() not in up.arguments()
    assert up.master_key() not in up.logs()


# --- faults at the start -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        pytest.param("PORT", "{taken}", "already in use", id="port-taken"),
        pytest.param("PORT", "banana", "PORT is wrong", id="port-unreadable"),
        pytest.param("KEYLEDGER_TIMEZONE", "Mars/Olympus", "KEYLEDGER_TIMEZONE is wrong", id="bad-setting"),
        pytest.param("REDIS_URL", "redis://:hush@127.0.0.1:{free}/0", "does not answer", id="redis-away"),
        pytest.param("DATABASE_URL", "postgresql://me:hush@127.0.0.1:{free}/x", "does not answer", id="sql-away"),
        pytest.param("DATABASE_URL", "mysql://127.0.0.1/x", "DATABASE_URL is wrong", id="sql-unknown"),
        pytest.param("KEYLEDGER_DATA_DIR", "{file}/data", "Not a directory", id="data-dir-unusable"),
    ],
)
def test_a_fault_at_the_start_is_one_line_and_leaves_nothing_running(
    setting: str, value: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        places = {"taken": listener.getsockname()[1], "free": free_port(), "file": tmp_path / "file"}

        with Up(tmp_path, **{setting: value.format(**places)}) as up:
            refused = up.refused()
            left_running = up.pids()

    assert (refused.status, len(refused.errors)) == (1, 1), refused
    assert refused.errors[0].startswith("keyledger: ")
    assert says in refused.errors[0]
    assert "hush" not in refused.errors[0] + refused.output
    assert left_running == []


def test_a_log_that_has_grown_too_long_is_moved_aside_while_its_part_goes_on(up: Up) -> None:
    pid, log = up.pid_of("beat"), up.data / "log" / "beat.log"
    with log.open("ab") as grown:
        grown.write(b"x" * LOG_LIMIT_BYTES + b"\n")

    eventually(lambda: log.stat().st_size < LOG_LIMIT_BYTES, HANGS_SECONDS)

    assert log.with_suffix(".log.1").stat().st_size > LOG_LIMIT_BYTES
    assert up.pid_of("beat") == pid


def test_a_second_one_on_the_same_data_directory_is_refused_and_harms_nothing(up: Up, tmp_path: Path) -> None:
    with Up(tmp_path, KEYLEDGER_DATA_DIR=str(up.data)) as second:
        refused = second.refused()

    assert (refused.status, len(refused.errors)) == (1, 1), refused
    assert "already runs on the data directory" in refused.errors[0]
    assert up.is_ready()


# --- while it runs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_killed_comes_back(up: Up, part: str) -> None:
    killed_pid, killed_at = up.pid_of(part), now()

    os.kill(killed_pid, signal.SIGKILL)

    eventually(lambda: up.pid_of(part) not in {0, killed_pid}, HANGS_SECONDS)
    eventually(lambda: up.is_ready(since=killed_at), HANGS_SECONDS)
    assert f"{part} was ended by signal 9" in up.output()
    assert killed_pid not in up.pids()


def test_jobs_run_again_after_redis_has_lost_everything(up: Up) -> None:
    # The worker may be another one since a moment ago, or be about to be: it must be at work.
    up.post("/key/generate", key_alias="of-now", duration="1s")
    eventually(lambda: expiry_is_recorded(up, "of-now"), HANGS_SECONDS)
    up.post("/key/generate", key_alias="of-before", duration="1h")
    redis_socket = redis.Redis(unix_socket_path=str(up.data / "redis" / "redis.sock"))

    redis_socket.flushall()
    up.post("/key/generate", key_alias="of-after", duration="1s")

    eventually(lambda: expiry_is_recorded(up, "of-after"), HANGS_SECONDS)
    assert up.get("/key/list?key_alias=of-before")[1]["total_count"] == 1
    redis_socket.close()


# --- the end -------------------------------------------------------------------------------------------------------


def test_a_killed_supervisor_leaves_nothing_and_the_next_finds_everything(tmp_path: Path) -> None:
    with Up(tmp_path, data="longer-than-a-socket-may-be-" * 4) as up:
        up.start()
        master_key, secret = up.master_key(), up.post("/key/generate", key_alias="kept")["key"]

        started = up.pids()
        up.kill()
        eventually(lambda: up.pids() == [], HANGS_SECONDS)
        up.start()

        assert len(started) > len(PARTS)
        assert up.master_key() == master_key
        assert up.get(f"/key/info?key={secret}")[1]["info"]["key_alias"] == "kept"
        status, seconds = up.stop(signal.SIGINT)
        sys.stdout.write(f"stopped after {seconds:.1f} s\n")
        assert (status, up.pids()) == (0, [])
        assert seconds < STOP_SECONDS


def test_a_second_signal_ends_it_at_once(up: Up) -> None:
    os.kill(up.pid_of("worker"), signal.SIGSTOP)  # it will not stop by itself

    up.send(signal.SIGTERM)
    eventually(lambda: "stopping" in up.output())
    status, seconds = up.stop(signal.SIGTERM)

    assert (status, up.pids()) == (0, [])
    assert seconds < PATIENCE_SECONDS


def test_a_part_that_does_not_stop_is_killed_in_time(up: Up) -> None:
    os.kill(up.pid_of("worker"), signal.SIGSTOP)  # it will not stop by itself

    status, seconds = up.stop(signal.SIGTERM)

    assert (status, up.pids()) == (0, [])
    assert seconds < STOP_SECONDS

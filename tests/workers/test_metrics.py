"""Web, worker and beat as true processes: each tells what it has counted, its own processes together."""

import http.client
import re
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import closing

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.servers import eventually, free_port
from tests.workers.running import Up

pytestmark = pytest.mark.processes

TOKEN = "a-scraper-of-the-tests-0123"


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {"worker": free_port(), "beat": free_port()}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, ports: dict[str, int]) -> Iterator[Up]:
    settings = {f"KEYLEDGER_{part.upper()}_METRICS_PORT": str(port) for part, port in ports.items()}
    folder = tmp_path_factory.mktemp("metrics")
    temporary = folder / "tmp"
    temporary.mkdir()
    with Up(folder, WEB_CONCURRENCY="2", KEYLEDGER_METRICS_TOKEN=TOKEN, TMPDIR=str(temporary), **settings) as up:
        up.start()
        yield up


def read(port: int) -> dict[str, float]:
    """Every sample by its name and labels."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read().decode()
    assert not re.search(r"sk-|[0-9a-f]{32}", text)
    return {
        f"{sample.name} {' '.join(f'{name}={value}' for name, value in sorted(sample.labels.items()))}".strip(): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_web_processes_count_together(up: Up) -> None:
    counted = "keyledger_http_requests_total method=GET route=/key/list status=200"
    before = read(up.port).get(counted, 0)
    for _ in range(40):  # each over a connection of its own, so that both processes get some
        with closing(http.client.HTTPConnection("127.0.0.1", up.port, timeout=60)) as connection:
            connection.request("GET", "/key/list", headers={"Authorization": f"Bearer {up.master_key()}"})
            assert connection.getresponse().status == 200

    assert {read(up.port)[counted] - before for _ in range(10)} == {40}


def test_a_worker_tells_of_the_tasks_of_all_its_processes(up: Up, ports: dict[str, int]) -> None:
    key = up.post("/key/generate", duration="1s")["key_id"]
    recorded = "SELECT count(*) FROM keys WHERE key_id = ? AND expiry_recorded_at IS NOT NULL"
    eventually(lambda: up.rows(recorded, key)[0][0], 30)

    def rows() -> float:
        return read(ports["worker"]).get("keyledger_job_rows_total job=keyledger.expire_keys", 0)

    eventually(lambda: rows() == 1, 10)
    found = read(ports["worker"])
    assert found["keyledger_tasks_total state=success task=keyledger.expire_keys"] >= 1
    assert found["keyledger_task_seconds_count task=keyledger.expire_keys"] >= 1


def test_beat_tells_what_it_has_sent(up: Up, ports: dict[str, int]) -> None:
    eventually(
        lambda: read(ports["beat"]).get("keyledger_tasks_sent_total task=keyledger.fold_ledger", 0) >= 2, 30
    )


def test_what_was_counted_is_taken_away_at_the_end(up: Up) -> None:
    def left() -> list[str]:
        return [path.name for path in (up.folder / "tmp").glob("keyledger-metrics-*")]

    assert len(left()) == 2  # of web and of the worker

    up.stop(signal.SIGINT)

    assert left() == []

"""With nobody calling in, true worker and beat write down what the clock has decided."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.factories import JOBS
from tests.servers import eventually
from tests.workers.running import Up

pytestmark = pytest.mark.processes

# Every job runs each second here; what is due after five seconds is written down soon after.
SOON_SECONDS = 30
WINDOW = "SELECT window_start, window_spend_nanos FROM budget_state WHERE scope_id = ?"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    intervals = {"KEYLEDGER_EXPIRY_INTERVAL_SECONDS": "1", "KEYLEDGER_RESET_INTERVAL_SECONDS": "1"}
    with Up(tmp_path_factory.mktemp("jobs"), **intervals) as up:
        up.start()
        yield up


@dataclass(frozen=True)
class Due:
    """Keys of which something is due within seconds, all at about the same time."""

    expiring: Any
    in_window: Any
    window_start: str
    increased: Any
    regenerated: Any


@pytest.fixture(scope="module")
def due(up: Up) -> Due:
    in_window = up.post("/key/generate", budget_duration="5s", spend=1.5)
    ((window_start, _),) = up.rows(WINDOW, in_window["key_id"])
    increased = up.post("/key/generate", max_budget=1, metadata={"app": "x"})
    until = (datetime.now(UTC) + timedelta(seconds=3)).isoformat()  # noqa: TID251 - a process of its own
    up.post("/key/update", key=increased["key"], temp_budget_increase=5, temp_budget_expiry=until)
    regenerated = up.post("/key/generate")
    up.post("/key/regenerate", key=regenerated["key"], grace_period="2s")
    return Due(up.post("/key/generate", duration="2s"), in_window, window_start, increased, regenerated)


def audited(up: Up, action: str, key_id: str) -> int:
    return up.rows("SELECT count(*) FROM audit WHERE action = ? AND entity_id = ?", action, key_id)[0][0]


def test_a_key_of_two_seconds_is_marked_expired(up: Up, due: Due) -> None:
    made = due.expiring

    eventually(lambda: audited(up, "expire", made["key_id"]), SOON_SECONDS)

    assert up.rows("SELECT expiry_recorded_at IS NOT NULL FROM keys WHERE key_id = ?", made["key_id"]) == [(1,)]


def test_a_window_of_five_seconds_is_moved_and_its_spend_is_zero(up: Up, due: Due) -> None:
    made = due.in_window

    eventually(lambda: up.rows(WINDOW, made["key_id"])[0][0] > due.window_start, SOON_SECONDS)

    assert up.rows(WINDOW, made["key_id"])[0][1] == 0
    assert up.rows("SELECT count(*) FROM audit WHERE action = 'reset'")[0][0] >= 1
    info = up.get(f"/key/info?key={made['token']}")[1]["info"]
    assert (info["spend"], info["total_spend"]) == (0, 1.5)


def test_an_increase_ends_and_leaves_the_metadata(up: Up, due: Due) -> None:
    made = due.increased

    eventually(lambda: audited(up, "end_increase", made["key_id"]), SOON_SECONDS)

    (stored,) = up.rows("SELECT metadata, increase_ends_at FROM keys WHERE key_id = ?", made["key_id"])
    assert (json.loads(stored[0]), stored[1]) == ({"app": "x"}, None)


def test_a_secret_in_grace_is_dropped(up: Up, due: Due) -> None:
    made = due.regenerated

    eventually(lambda: audited(up, "end_grace", made["key_id"]), SOON_SECONDS)

    assert up.rows("SELECT count(*) FROM key_secrets WHERE key_id = ?", made["key_id"]) == [(1,)]


def test_every_job_tells_its_last_run_and_with_all_of_them_at_work_the_service_is_healthy(up: Up) -> None:
    def is_healthy() -> bool:
        return up.get("/health/readiness")[1]["status"] == "healthy"

    eventually(lambda: all(job["last_finished_at"] for job in up.get("/jobs")[1]["jobs"]), SOON_SECONDS)
    eventually(is_healthy, SOON_SECONDS)

    jobs = up.get("/health/readiness")[1]["jobs"]
    assert [(job["state"], job["failures"]) for job in jobs] == [("alive", 0)] * len(JOBS)

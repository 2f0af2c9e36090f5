"""The names by which tasks are sent are exactly those that the worker knows, and beat sends nothing else."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from app.dispatch import QueueName, TaskName
from workers import resources, schedule
from workers.celery import QUEUE_OF, broker_tls, broker_url, celery

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    "DATABASE_URL": "sqlite:///nowhere.db",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "KEYLEDGER_MASTER_KEY": "sk-of-the-contract-tests",
    "KEYLEDGER_SALT_KEY": "salt",
}


@pytest.fixture(scope="module")
def conf() -> Iterator[Any]:
    """Celery's configuration, with its tasks loaded."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        resources.settings.cache_clear()
        celery.loader.import_default_modules()
        celery.finalize()
        yield celery.conf
    resources.settings.cache_clear()


def test_every_name_has_a_task_and_every_task_a_name(conf: Any) -> None:
    registered = {name for name in celery.tasks if not name.startswith("celery.")}

    assert registered == set(TaskName)


def test_every_task_goes_to_a_queue_that_the_worker_reads(conf: Any) -> None:
    assert set(QUEUE_OF) == set(TaskName)
    assert set(QUEUE_OF.values()) <= set(QueueName)
    assert {queue.name for queue in conf.task_queues} == set(QueueName)
    assert len({queue.routing_key for queue in conf.task_queues}) == len(QueueName)


def test_beat_sends_known_tasks_at_their_intervals_with_a_reason(conf: Any) -> None:
    entries = schedule.entries(Settings.parse(ENVIRONMENT))

    assert {entry["task"] for entry in entries.values()} <= set(TaskName)
    assert all(entry["schedule"] > 0 for entry in entries.values())
    assert all(periodic.reason for periodic in schedule.TABLE)
    assert len(entries) == len(schedule.TABLE)


def test_a_lost_task_comes_back_only_when_it_cannot_run_any_more(conf: Any) -> None:
    visibility = conf.broker_transport_options["visibility_timeout"]

    assert conf.task_soft_time_limit < conf.task_time_limit < visibility
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost


def test_the_lock_of_beat_outlives_three_of_its_loops(conf: Any) -> None:
    assert conf.redbeat_lock_timeout >= 3 * conf.beat_max_loop_interval


def test_only_json_is_taken_from_the_queue(conf: Any) -> None:
    assert set(conf.accept_content) == {"json"}
    assert conf.task_serializer == "json"


@pytest.mark.parametrize(
    ("redis_url", "broker"),
    [
        ("redis://h:6379/2", "redis://h:6379/2"),
        ("rediss://:pw@h:6380/0", "rediss://:pw@h:6380/0"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock?virtual_host=0"),
        ("unix:///run/redis.sock?db=3", "redis+socket:///run/redis.sock?virtual_host=3"),
        ("unix://me:pw@/run/redis.sock", "redis+socket://me:pw@/run/redis.sock?virtual_host=0"),
    ],
)
def test_one_redis_setting_serves_the_broker_too(redis_url: str, broker: str) -> None:
    assert broker_url(redis_url) == broker


@pytest.mark.parametrize(
    ("redis_url", "is_ours_to_say"),
    [("redis://h", False), ("rediss://h", True), ("rediss://h?ssl_cert_reqs=none", False)],
)
def test_a_broker_behind_tls_is_verified_unless_the_url_says_otherwise(
    redis_url: str, is_ours_to_say: bool
) -> None:
    assert (broker_tls(redis_url) is not None) == is_ours_to_say


def test_loading_the_workers_needs_no_setting_and_no_server() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import workers.celery, workers.jobs"],
        cwd=ROOT,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (loaded.returncode, loaded.stderr) == (0, "")

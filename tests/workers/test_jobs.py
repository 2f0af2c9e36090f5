"""The jobs as the worker runs them, on both stores, with the services that they build for themselves."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from app.clock import SystemClock
from app.config import Settings
from app.container import build
from app.db import Database
from app.models.keys import keys
from app.services.keys.key_ends import EXPIRY_BATCH
from app.store.heartbeats import Part
from tests.apps import app_over
from tests.clients import MASTER_KEY, Api
from tests.clocks import MovableClock
from tests.environment import SALT_KEY
from tests.factories import copy_key
from workers import jobs, resources


@pytest.fixture
def worker(store_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a worker process has: settings in its environment, nothing else."""
    monkeypatch.setenv("DATABASE_URL", store_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("KEYLEDGER_MASTER_KEY", MASTER_KEY)
    monkeypatch.setenv("KEYLEDGER_SALT_KEY", SALT_KEY)
    resources.release()
    yield
    resources.release()


def recorded(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(
            select(func.count()).select_from(keys).where(keys.c.expiry_recorded_at.is_not(None))
        ).scalar_one()


def test_one_run_records_every_due_expiry_however_many_batches_it_takes(
    worker: None, settings: Settings, database: Database
) -> None:
    yesterday = build(settings, MovableClock(SystemClock().now() - timedelta(days=1)))
    made = Api(app_over(yesterday)).generate(duration="1s")
    yesterday.close()
    copy_key(database, made["key_id"], EXPIRY_BATCH)

    jobs.expire_keys()

    assert recorded(database) == EXPIRY_BATCH + 1


def test_a_run_with_nothing_due_changes_nothing(worker: None, settings: Settings, database: Database) -> None:
    services = build(settings, SystemClock())
    Api(app_over(services)).generate(duration="1d")
    services.close()

    jobs.expire_keys()

    assert recorded(database) == 0


def test_the_heartbeat_job_shows_that_beat_reaches_the_worker(worker: None) -> None:
    before = SystemClock().now()

    jobs.heartbeat()

    heard = resources.heartbeats().read()[Part.JOBS]
    assert heard is not None
    assert heard >= before

"""The purges of keys, archive and audit: off unless they are set, and no work for what is not old enough."""

from dataclasses import replace

import pytest

from app.config import Settings
from app.container import Services, build
from app.dispatch import TaskName
from tests.api.counting import statements
from tests.bench.plans import sent_to
from tests.clocks import MovableClock
from tests.factories import on_one_store

INDEXES = {
    TaskName.PURGE_EXPIRED_KEYS: ["ix_keys_by_expires_at"],
    TaskName.PURGE_ARCHIVE: [
        "ix_deleted_keys_deleted_at",
        "ix_deleted_teams_by_deleted_at",
        "ix_retired_secrets_retired_at",
    ],
    TaskName.PURGE_AUDIT: ["ix_audit_at"],
}


@pytest.mark.parametrize("task", INDEXES)
def test_without_its_setting_a_purge_asks_the_store_for_nothing(services: Services, task: TaskName):
    with statements(services.database) as sent:
        assert services.jobs.run(task, lambda: True) == 0

    assert [statement.split()[:3] for statement in sent] == [["INSERT", "INTO", "job_runs"]]


@on_one_store
@pytest.mark.parametrize("task", INDEXES)
def test_an_index_finds_and_orders_what_is_to_go(settings: Settings, clock: MovableClock, task: TaskName):
    services = build(replace(settings, expired_key_days=1, archive_days=40, audit_days=1), clock)
    with sent_to(services.database) as sent:
        services.jobs.run(task, lambda: True)
    plans = []
    with services.database.read() as connection:
        for statement in sent[:-1]:  # the last one records the run
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement.text}", statement.parameters)
            plans.append([row.detail for row in plan])
    services.close()

    assert [len(plan) for plan in plans] == [1] * len(INDEXES[task]), plans
    for (step,), index in zip(plans, INDEXES[task], strict=True):
        assert step.startswith("SEARCH"), step
        assert f"INDEX {index} " in step, step


@on_one_store
@pytest.mark.parametrize(
    ("task", "condition", "index"),
    [
        (TaskName.DELIVER, "UPDATE events SET sealed", "ix_events_sealed"),
        (TaskName.DELIVER, "UPDATE deliveries SET sealed", "ix_deliveries_sealed_since"),
        (TaskName.ROTATE_KEYS, "keys.key_rotation_at <= ", "ix_keys_rotation_due"),
    ],
)
def test_an_index_finds_what_is_to_be_erased_or_rotated_and_holds_nothing_else(
    services: Services, task: TaskName, condition: str, index: str
):
    with sent_to(services.database) as sent:
        services.jobs.run(task, lambda: False)

    looked = [statement for statement in sent if condition in statement.text]
    assert looked
    with services.database.read() as connection:
        for statement in looked:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement.text}", statement.parameters)
            assert [row.detail for row in plan if f"INDEX {index} " in row.detail and "SEARCH" in row.detail], (
                statement
            )

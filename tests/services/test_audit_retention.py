"""Old rows of the audit go, and what is left says so."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.clock import iso
from app.config import Settings
from app.container import Services
from app.db import Database
from app.dispatch import TaskName
from app.models import audit
from app.services.rows.old_rows import DROP_BATCH
from tests.api.counting import statements
from tests.clients import Api
from tests.clocks import START, MovableClock
from tests.factories import everything, rows
from tests.services.due import restore
from tests.services.job_processes import check_one_batch, kills, together
from tests.stores import note

TASK = TaskName.PURGE_AUDIT
KEPT = timedelta(days=90)
SECOND = timedelta(seconds=1)
INSTANT = timedelta(microseconds=1)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, audit_days=KEPT.days)


def run(services: Services) -> int:
    return services.jobs.run(TASK, lambda: True)


def old(database: Database, clock: MovableClock, count: int) -> None:
    """So many rows, a second apart, of which the last is an instant older than it need be."""
    with database.transaction() as transaction:
        for number in range(count):
            note(transaction, START + number * SECOND)
    clock.set(at(count - 1) + KEPT + INSTANT)


def at(number: int) -> datetime:
    return START + number * SECOND


def told(database: Database) -> list[dict[str, Any]]:
    """What the purges say of themselves."""
    return [row["after"] for row in rows(database, audit, action="purge")]


def test_a_row_goes_an_instant_after_the_days_and_its_purge_is_a_row(
    services: Services, api: Api, clock: MovableClock
):
    old(services.database, clock, 3)
    clock.set(at(1) + KEPT)

    assert [run(services), run(services)] == [1, 0]
    clock.advance(INSTANT)
    assert [run(services), run(services)] == [1, 0]

    assert told(services.database) == [
        {"rows": 1, "from": iso(at(number)), "until": iso(at(number))} for number in (0, 1)
    ]
    (second, first) = api.get("/audit", action="purge", entity="audit").body["audit_logs"]
    assert (first["actor_role"], first["actor_user_id"], first["object_id"]) == ("system", "system", "audit")
    assert second["updated_at"] == iso(clock.now())
    assert [row["at"] for row in rows(services.database, audit, action="a")] == [at(2)]


def test_the_row_of_a_purge_goes_when_it_is_old_itself(services: Services, clock: MovableClock):
    old(services.database, clock, 1)
    run(services)
    first = clock.now()
    clock.advance(KEPT + INSTANT)

    assert run(services) == 1

    assert told(services.database) == [{"rows": 1, "from": iso(first), "until": iso(first)}]


@pytest.mark.parametrize("count", [1, 30])
def test_a_batch_costs_the_same_statements_however_many_rows_it_has(
    services: Services, clock: MovableClock, count: int
):
    old(services.database, clock, count)

    with statements(services.database) as sent:
        assert run(services) == count

    assert len(sent) == 4  # find, drop and tell; the record
    assert told(services.database) == [{"rows": count, "from": iso(at(0)), "until": iso(at(count - 1))}]


def test_nothing_old_costs_one_look_and_no_row(services: Services, clock: MovableClock):
    old(services.database, clock, 1)
    clock.set(START)

    with statements(services.database) as sent:
        assert run(services) == 0

    assert len(sent) == 2
    assert told(services.database) == []


def test_each_batch_of_a_long_run_is_told(services: Services, clock: MovableClock):
    old(services.database, clock, DROP_BATCH + 3)

    assert run(services) == DROP_BATCH + 3

    assert told(services.database) == [
        {"rows": DROP_BATCH, "from": iso(at(0)), "until": iso(at(DROP_BATCH - 1))},
        {"rows": 3, "from": iso(at(DROP_BATCH)), "until": iso(at(DROP_BATCH + 2))},
    ]


def test_a_purge_that_is_killed_at_any_point_and_run_again_has_told_of_each_row_once(
    services: Services, settings: Settings, clock: MovableClock
):
    old(services.database, clock, 3)
    stored = everything(services.database)
    found = []

    for point, left in kills(services, settings, clock, TASK, stored):
        found.append((point, left))
        if left:
            run(services)
            assert [row["rows"] for row in told(services.database)] == [3]
            assert len(rows(services.database, audit)) == 1
            restore(services.database, stored)

    check_one_batch(found)
    assert [row["rows"] for row in told(services.database)] == [3]


def test_two_processes_tell_of_each_row_once(services: Services, settings: Settings, clock: MovableClock):
    old(services.database, clock, 2 * DROP_BATCH + 50)

    shares = together(TASK, settings, clock.now())

    assert sum(shares) == 2 * DROP_BATCH + 50
    assert services.database.is_sqlite or min(shares) >= DROP_BATCH, "the two did not work at once"
    assert sum(row["rows"] for row in told(services.database)) == 2 * DROP_BATCH + 50
    assert rows(services.database, audit, action="a") == []

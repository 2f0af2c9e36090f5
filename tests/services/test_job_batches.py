"""The jobs do bookkeeping: run twice, late, or with nothing due, they leave the same state."""

import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from app.container import Services
from app.dispatch import TaskName
from app.errors import InvalidRequest, RedisUnavailable
from app.models import audit, budget_state, events, key_secrets, keys
from app.services.jobs.job_batches import PAUSE_SECONDS, JobBatch
from app.services.jobs.jobs import Job, Jobs
from tests.api.counting import statements
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import on_one_store
from tests.services.due import DUE, Due

KEY = "sk-of-the-jobs-0123456789"
JOBS = (
    TaskName.EXPIRE_KEYS,
    TaskName.RESET_BUDGETS,
    TaskName.END_INCREASES,
    TaskName.END_GRACES,
    TaskName.PURGE_LEDGER,
    TaskName.WATCH_BUDGETS,
    TaskName.ANNOUNCE_EXPIRY,
    TaskName.WATCH_JOBS,
)


def run(services: Services, name: str) -> int:
    return services.jobs.run(name, lambda: True)


def count(services: Services, table: object, **where: object) -> int:
    with services.database.read() as connection:
        conditions = [table.c[name] == value for name, value in where.items()]
        return connection.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one()


@pytest.mark.parametrize("name", JOBS)
def test_a_job_with_nothing_due_writes_nothing_but_its_run(services: Services, api: Api, name: str) -> None:
    api.generate(key=KEY, duration="1h", budget_duration="1d")
    written = count(services, audit)

    assert run(services, name) == 0

    assert count(services, audit) == written
    record = next(record for record in services.jobs.records() if record.name == name)
    assert record.last_finished_at == services.clock.now()
    assert (record.last_rows, record.failures, record.last_error) == (0, 0, None)


def test_an_expiry_is_recorded_once_with_audit_and_event(
    services: Services, api: Api, clock: MovableClock
) -> None:
    api.generate(key=KEY, duration="2s")
    clock.advance(2)

    assert [run(services, TaskName.EXPIRE_KEYS) for _ in range(3)] == [1, 0, 0]

    assert count(services, audit, action="expire") == 1
    assert count(services, events, kind="key_expired") == 1


def test_a_passed_window_is_moved_once_and_its_spend_is_zero(
    services: Services, api: Api, clock: MovableClock
) -> None:
    made = api.generate(key=KEY, budget_duration="5s", spend=1.5)
    clock.advance(11)
    before_the_job = api.info(KEY)

    assert [run(services, TaskName.RESET_BUDGETS) for _ in range(2)] == [1, 0]

    after = api.info(KEY)
    assert (before_the_job["spend"], after["spend"]) == (0, 0)
    assert before_the_job["budget_reset_at"] == after["budget_reset_at"]
    assert after["total_spend"] == 1.5
    with services.database.read() as connection:
        state = connection.execute(select(budget_state).where(budget_state.c.scope_id == made["key_id"])).one()
    assert state.window_spend_nanos == 0
    assert state.reset_at > clock.now()


def test_a_tier_resets_the_keys_that_have_no_window_of_their_own(
    services: Services, api: Api, clock: MovableClock
) -> None:
    api.post("/budget/new", {"budget_id": "daily", "budget_duration": "1d", "max_budget": 5})
    api.generate(key=KEY, budget_id="daily", spend=2)
    api.generate(key="sk-own-window-0123456789", budget_id="daily", budget_duration="30d", spend=2)
    clock.advance(timedelta(days=1))

    assert run(services, TaskName.RESET_BUDGETS) == 1

    assert api.info(KEY)["spend"] == 0
    assert api.info("sk-own-window-0123456789")["spend"] == 2


def test_a_window_without_a_reset_time_is_due(services: Services, api: Api) -> None:
    made = api.generate(key=KEY, budget_duration="1d")
    with services.database.transaction() as transaction:
        transaction.execute(
            update(budget_state)
            .where(budget_state.c.scope_id == made["key_id"])
            .values(reset_at=None, window_start=None)
        )

    assert run(services, TaskName.RESET_BUDGETS) == 1
    assert run(services, TaskName.RESET_BUDGETS) == 0


def test_a_window_that_cannot_be_computed_is_parked_and_stops_no_other(
    services: Services, api: Api, clock: MovableClock
) -> None:
    bad = api.generate(key=KEY, budget_duration="1d")
    api.generate(key="sk-good-window-0123456789", budget_duration="1d", spend=1)
    with services.database.transaction() as transaction:
        transaction.execute(
            update(keys).where(keys.c.key_id == bad["key_id"]).values(budget_duration="fortnightly")
        )
    clock.advance(timedelta(days=1))

    assert run(services, TaskName.RESET_BUDGETS) == 1
    assert run(services, TaskName.RESET_BUDGETS) == 0

    assert api.info("sk-good-window-0123456789")["spend"] == 0
    assert count(services, budget_state, scope_id=bad["key_id"]) == 1


def test_a_due_window_in_which_nothing_is_over_keeps_its_spend_and_is_due_no_longer(
    services: Services, api: Api, clock: MovableClock
) -> None:
    """As after a change of the zone or the start of day, which moves the end of a window but not its start."""
    made = api.generate(key=KEY, budget_duration="1d", spend=1.5)
    shown = api.info(KEY)
    with services.database.transaction() as transaction:
        transaction.execute(
            update(budget_state)
            .where(budget_state.c.scope_id == made["key_id"])
            .values(reset_at=clock.now(), previous_spend_nanos=7)
        )

    assert [run(services, TaskName.RESET_BUDGETS) for _ in range(2)] == [1, 0]

    after = api.info(KEY)
    assert (after["spend"], after["budget_reset_at"]) == (1.5, shown["budget_reset_at"])
    with services.database.read() as connection:
        kept = connection.execute(select(budget_state.c.previous_spend_nanos)).scalar_one()
    assert kept == 7, "the window before is still that one"


def test_a_key_whose_window_cannot_be_computed_is_shown_and_stops_no_job(
    services: Services, api: Api, clock: MovableClock
) -> None:
    api.generate(key=KEY, max_budget=1, budget_duration="1d", duration="2s", spend=1)
    until = (clock.now() + timedelta(seconds=2)).isoformat()
    api.post("/key/update", {"key": KEY, "temp_budget_increase": 5, "temp_budget_expiry": until})
    api.generate(key="sk-another-key-0123456789", duration="2s")
    api.post("/key/regenerate", {"key": KEY, "grace_period": "2s"})
    with services.database.transaction() as transaction:
        transaction.execute(update(keys).values(budget_duration="fortnightly"))
    clock.advance(2)

    done = {name: run(services, name) for name in JOBS if name != TaskName.RESET_BUDGETS}

    assert done == {
        TaskName.EXPIRE_KEYS: 2,
        TaskName.END_INCREASES: 1,
        TaskName.END_GRACES: 1,
        TaskName.PURGE_LEDGER: 0,
        # When it was raised, and when that ended.
        TaskName.WATCH_BUDGETS: 2,
        TaskName.ANNOUNCE_EXPIRY: 0,
        TaskName.WATCH_JOBS: 0,
    }
    shown = [
        (key["spend"], key["budget_reset_at"])
        for key in api.get("/key/list", return_full_object="true").body["keys"]
    ]
    assert sorted(shown) == [(0, None), (1, None)]


@pytest.mark.parametrize("size", [2, 30])
@pytest.mark.parametrize("due", DUE, ids=[due.task for due in DUE])
def test_a_batch_costs_the_same_statements_however_many_rows_it_has(
    services: Services, api: Api, clock: MovableClock, due: Due, size: int
) -> None:
    due.make(api, services, clock, size)

    with statements(services.database) as sent:
        assert run(services, due.task) == size

    # Find, change, audit and tell, with the keys for the telling, or the spellings. The last is the record.
    # The end of an increase is to be looked at, and is looked for among tiers as well.
    assert len(sent) == (8 if due.task == TaskName.END_INCREASES else 6)


def test_every_batch_of_a_long_run_is_recorded(services: Services, clock: MovableClock) -> None:
    def batch() -> JobBatch:
        clock.advance(1)
        return JobBatch(500, more=True)

    jobs = Jobs(services.database, services.clock, {TaskName.EXPIRE_KEYS: Job(batch, 1)})
    seen = []

    def go_on() -> bool:
        (record,) = jobs.records()
        seen.append((record.last_finished_at, record.last_rows))
        return len(seen) < 3

    began = clock.now()
    jobs.run(TaskName.EXPIRE_KEYS, go_on)

    assert seen == [(began + timedelta(seconds=n), 500 * n) for n in (1, 2, 3)]


@pytest.mark.parametrize(
    "run", [Jobs.run_out_of_turn, lambda jobs, name: jobs.run(name, lambda: True)], ids=["by hand", "by schedule"]
)
def test_between_two_batches_others_get_their_turn_at_the_store(
    services: Services, run: Callable[[Jobs, TaskName], int]
) -> None:
    at: list[float] = []

    def batch() -> JobBatch:
        at.append(time.monotonic())
        return JobBatch(1, more=len(at) < 3)

    jobs = Jobs(services.database, services.clock, {TaskName.EXPIRE_KEYS: Job(batch, 1)})

    assert run(jobs, TaskName.EXPIRE_KEYS) == 3
    assert all(after - before >= PAUSE_SECONDS for before, after in pairwise(at)), at


def test_a_run_out_of_turn_puts_off_none_that_is_due(services: Services, clock: MovableClock) -> None:
    services.jobs.run(TaskName.PURGE_AUDIT, lambda: True)
    due = clock.now() + timedelta(seconds=services.settings.purge_interval_seconds)
    clock.advance(50)

    services.jobs.run_out_of_turn(TaskName.PURGE_AUDIT)

    (record,) = (record for record in services.jobs.records() if record.name == TaskName.PURGE_AUDIT)
    assert (record.next_due_at, record.last_finished_at) == (due, clock.now())


def test_an_increase_counts_until_its_instant_and_then_leaves_the_metadata(
    services: Services, api: Api, clock: MovableClock
) -> None:
    api.generate(key=KEY, max_budget=1, metadata={"app": "x"})
    until = (clock.now() + timedelta(seconds=3)).isoformat()
    api.post("/key/update", {"key": KEY, "temp_budget_increase": 5, "temp_budget_expiry": until})
    during = api.info(KEY)["metadata"]
    clock.advance(3)
    over = api.info(KEY)["metadata"]

    assert [run(services, TaskName.END_INCREASES) for _ in range(2)] == [1, 0]

    assert during["temp_budget_increase"] == 5
    assert over == {"app": "x"} == api.info(KEY)["metadata"]
    assert count(services, audit, action="end_increase") == 1
    assert count(services, events, kind="increase_ended") == 1


def test_a_secret_past_its_grace_is_dropped_once(services: Services, api: Api, clock: MovableClock) -> None:
    made = api.generate(key=KEY)
    api.post("/key/regenerate", {"key": KEY, "grace_period": "10s"})
    clock.advance(10)

    assert [run(services, TaskName.END_GRACES) for _ in range(2)] == [1, 0]

    assert count(services, key_secrets, key_id=made["key_id"]) == 1
    assert count(services, audit, action="end_grace") == 1
    assert count(services, events, kind="grace_ended") == 1


def test_a_failed_run_is_recorded_and_raised(services: Services) -> None:
    class Broken(Exception):
        pass

    def fail() -> None:
        raise Broken

    jobs = Jobs(services.database, services.clock, {"broken": Job(fail, 1)})
    for _ in range(2):
        with pytest.raises(Broken):
            jobs.run("broken", lambda: True)

    (record,) = jobs.records()
    assert (record.failures, record.last_error, record.last_finished_at) == (2, "Broken", None)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RedisUnavailable(), "RedisUnavailable: Redis is away or too busy at the moment. Try again"),
        (InvalidRequest("'0s' is no length.", "duration"), "InvalidRequest: '0s' is no length."),
        (LookupError("what a row holds"), "LookupError"),
    ],
)
@on_one_store
def test_a_failure_says_what_it_is_and_nothing_of_what_is_stored(
    services: Services, error: Exception, told: str
) -> None:
    def fail() -> JobBatch:
        raise error

    jobs = Jobs(services.database, services.clock, {TaskName.EXPIRE_KEYS: Job(fail, 1)})
    with pytest.raises(type(error)):
        jobs.run(TaskName.EXPIRE_KEYS, lambda: True)

    assert [record.last_error for record in jobs.records()] == [told]


def test_a_failure_of_a_statement_says_what_the_driver_said(services: Services) -> None:
    def fail() -> JobBatch:
        with services.database.read() as connection:
            connection.execute(text("SELECT :secret FROM nowhere"), {"secret": "hush"})
        return JobBatch(0)

    jobs = Jobs(services.database, services.clock, {TaskName.EXPIRE_KEYS: Job(fail, 1)})
    with pytest.raises(DBAPIError):
        jobs.run(TaskName.EXPIRE_KEYS, lambda: True)

    (told,) = (record.last_error for record in jobs.records())
    assert told in {
        "OperationalError: no such table: nowhere",
        'UndefinedTable: relation "nowhere" does not exist',
    }

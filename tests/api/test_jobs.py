"""What is told of the periodic jobs: to everybody their times and states, to administrators the rest."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import text
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from app.clock import iso
from app.config import Settings
from app.container import Services, build
from app.dispatch import TaskName
from app.services.jobs.jobs import Job, Jobs
from app.store.heartbeats import Heartbeats, Part
from tests.api.counting import statements
from tests.apps import app_over
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import JOBS, on_one_store

# In seconds; the others run by the interval of the expiry.
INTERVALS = {
    TaskName.RESET_BUDGETS: 7,
    TaskName.ROTATE_KEYS: 17,
    TaskName.FOLD_LEDGER: 11,
    TaskName.REAP_HOLDS: 9,
    TaskName.PURGE_EXPIRED_KEYS: 60,
    TaskName.PURGE_ARCHIVE: 60,
    TaskName.PURGE_AUDIT: 60,
    TaskName.PURGE_LEDGER: 60,
    TaskName.PURGE_EVENTS: 60,
    TaskName.PURGE_CALL_LOGS: 60,
    TaskName.DELIVER: 12,
    TaskName.WATCH_BUDGETS: 13,
    TaskName.WATCH_JOBS: 13,
}
NEVER = {"state": "unknown", "last_finished_at": None, "failures": 0}


@pytest.fixture
def clock(store_url: str, redis_url: str) -> MovableClock:
    """Stands at the time of the test, its servers started: Redis's clock, which it is held against, goes on."""
    return MovableClock(datetime.now(UTC))  # noqa: TID251


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With intervals of their own, so that no job passes for another."""
    return Settings.parse(
        {
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "KEYLEDGER_MASTER_KEY": settings.master_key.reveal(),
            "KEYLEDGER_SALT_KEY": settings.salt_key.reveal(),
            "KEYLEDGER_EXPIRY_INTERVAL_SECONDS": "40",
            "KEYLEDGER_RESET_INTERVAL_SECONDS": "7",
            "KEYLEDGER_ROTATION_INTERVAL_SECONDS": "17",
            "KEYLEDGER_FOLD_INTERVAL_SECONDS": "11",
            "KEYLEDGER_REAP_INTERVAL_SECONDS": "9",
            "KEYLEDGER_WATCH_INTERVAL_SECONDS": "13",
            "KEYLEDGER_DELIVERY_INTERVAL_SECONDS": "12",
            "KEYLEDGER_HEARTBEAT_SECONDS": "2",
            "KEYLEDGER_MAX_CLOCK_SKEW_SECONDS": "60",
        }
    )


@pytest.fixture
def at_work(redis_url: str, clock: MovableClock) -> Iterator[None]:
    """Worker and beat, alive."""
    with Redis.from_url(redis_url) as client:
        for part in (Part.WORKER, Part.BEAT):
            Heartbeats(client).record(part, clock.now())
        yield


def ran(services: Services, clock: MovableClock, *names: TaskName, ago: timedelta = timedelta(0)) -> datetime:
    """Run jobs as if it were so long ago; that instant."""
    now = clock.now()
    clock.set(now - ago)
    for name in names:
        services.jobs.run(name, lambda: True)
    clock.set(now)
    return now - ago


def failed(services: Services, name: TaskName, times: int = 1) -> None:
    """Let a job fail so many times, with an error whose text is nobody's business."""

    def fail() -> Any:
        raise LookupError("the text of an error")

    jobs = Jobs(services.database, services.clock, {name: Job(fail, 1)})
    for _ in range(times):
        with pytest.raises(LookupError):
            jobs.run(name, lambda: True)


def told(api: Api) -> tuple[str, dict[str, dict[str, Any]]]:
    """The status and what is told of each job, to somebody without a key."""
    answer = api.get("/health/readiness", key=None)
    assert answer.status == 200, answer
    return answer.body["status"], {job.pop("name"): job for job in answer.body["jobs"]}


def silent_after(name: TaskName) -> timedelta:
    return timedelta(seconds=3 * INTERVALS.get(name, 40) + 3 * 2)


def test_readiness_tells_when_each_job_last_succeeded(
    api: Api, services: Services, clock: MovableClock, at_work: None
):
    moments = {name: ran(services, clock, name, ago=timedelta(seconds=n)) for n, name in enumerate(JOBS)}

    assert told(api) == (
        "healthy",
        {name: {"state": "alive", "last_finished_at": iso(at), "failures": 0} for name, at in moments.items()},
    )


@pytest.mark.parametrize(("late", "state", "status"), [(0, "alive", "healthy"), (0.001, "silent", "degraded")])
@pytest.mark.parametrize("name", JOBS)
@on_one_store
def test_a_job_without_a_success_for_three_intervals_and_heartbeats_is_silent_and_degrades(
    api: Api, services: Services, clock: MovableClock, at_work: None,
    name: TaskName, late: float, state: str, status: str,
):  # fmt: skip
    ran(services, clock, *JOBS)
    at = ran(services, clock, name, ago=silent_after(name) + timedelta(seconds=late))

    found, jobs = told(api)

    assert (found, jobs.pop(name)) == (status, {"state": state, "last_finished_at": iso(at), "failures": 0})
    assert {job["state"] for job in jobs.values()} == {"alive"}


@on_one_store
def test_a_success_that_a_clock_ahead_has_written_hides_no_silence(
    api: Api, services: Services, clock: MovableClock, at_work: None
):
    ran(services, clock, *JOBS)
    at = ran(services, clock, TaskName.FOLD_LEDGER, ago=-timedelta(hours=5))

    found, jobs = told(api)

    assert (found, jobs[TaskName.FOLD_LEDGER]) == (
        "degraded",
        {"state": "silent", "last_finished_at": iso(at), "failures": 0},
    )


@pytest.mark.parametrize(("late", "state", "status"), [(0, "unknown", "healthy"), (0.001, "silent", "degraded")])
@on_one_store
def test_a_job_that_never_ran_is_silent_once_this_process_has_lived_long_enough(
    settings: Settings, clock: MovableClock, at_work: None, late: float, state: str, status: str
):
    now = clock.now()
    clock.set(now - silent_after(TaskName.RESET_BUDGETS) - timedelta(seconds=late))
    services = build(settings, clock)
    clock.set(now)

    found, jobs = told(Api(app_over(services)))
    services.close()

    assert (found, jobs.pop(TaskName.RESET_BUDGETS)) == (status, NEVER | {"state": state})
    assert list(jobs.values()) == [NEVER] * (len(JOBS) - 1)


def test_a_job_that_fails_degrades_until_it_succeeds_and_tells_strangers_only_how_often(
    api: Api, services: Services, clock: MovableClock, at_work: None
):
    ran(services, clock, *JOBS)
    failed(services, TaskName.END_GRACES, times=3)

    status, jobs = told(api)
    public = api.get("/health/readiness", key=None).body
    ran(services, clock, TaskName.END_GRACES)
    after = told(api)

    assert (status, jobs[TaskName.END_GRACES]) == (
        "degraded",
        {"state": "failing", "last_finished_at": iso(clock.now()), "failures": 3},
    )
    assert "LookupError" not in str(public)
    assert "text of an error" not in str(public)
    assert (after[0], after[1][TaskName.END_GRACES]["failures"]) == ("healthy", 0)


def test_the_list_of_jobs_is_for_administrators_and_holds_the_rest(
    api: Api, services: Services, clock: MovableClock
):
    ran(services, clock, *JOBS)
    failed(services, TaskName.RESET_BUDGETS)

    listed = {job["name"]: job for job in api.get("/jobs").body["jobs"]}

    assert listed[TaskName.RESET_BUDGETS] == {
        "name": TaskName.RESET_BUDGETS,
        "interval_seconds": 7,
        "last_started_at": iso(clock.now()),
        "last_finished_at": iso(clock.now()),
        "next_due_at": iso(clock.now() + timedelta(seconds=7)),
        "last_rows": 0,
        "last_parked_rows": 0,
        "parked_rows": 0,
        "parked": [],
        "failures": 1,
        "last_error": "LookupError",
    }
    assert api.get("/jobs", key=None).status == 401
    assert api.get("/jobs", key=api.generate(user_id="somebody")["key"]).status in {401, 403}


def test_readiness_asks_sql_one_question(api: Api, services: Services):
    with statements(services.database) as sent:
        told(api)

    assert len(sent) == 1


def test_a_store_without_its_tables_is_not_ready_and_says_why(
    api: Api, services: Services, at_work: None, clock: MovableClock
):
    with services.database.transaction() as transaction:
        transaction.execute(text("ALTER TABLE job_runs RENAME TO job_runs_away"))
    try:
        answer = api.get("/health/readiness", key=None)
        with capture_logs(processors=[merge_contextvars]) as lines:
            broken = api.get("/jobs")
    finally:
        with services.database.transaction() as transaction:
            transaction.execute(text("ALTER TABLE job_runs_away RENAME TO job_runs"))

    assert (answer.status, answer.body["db"]) == (503, "unmigrated")
    assert {job["state"] for job in answer.body["jobs"]} == {"unknown"}
    assert broken.status == 500
    (line,) = lines
    assert (line["event"], line["request_id"], line["route"]) == (
        "unexpected_error",
        broken.headers["x-request-id"],
        "/jobs",
    )
    assert line["reason"] in {"no such table: job_runs", 'relation "job_runs" does not exist'}

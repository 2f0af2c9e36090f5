"""Retention: the ledger gets shorter, and every balance that is recomputed from it stays what it was."""

import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, insert, select

from app.container import Services
from app.db import Database
from app.dispatch import TaskName
from app.domain.teams import member_id
from app.models import budget_state, ledger, ledger_unfolded
from app.services.ledger import retention
from app.services.ledger.retention import PURGE_BATCH, Retention
from tests.api.counting import statements
from tests.clients import Api
from tests.clocks import START, MovableClock
from tests.factories import charge, rows
from tests.servers import eventually
from tests.stores import opened

ROOT = Path(__file__).resolve().parents[2]

DAYS = 40
OLD = START - timedelta(days=DAYS, seconds=1)
YOUNG = START - timedelta(days=DAYS)


@pytest.fixture
def purge(database: Database, clock: MovableClock) -> Callable[[], int]:
    """Run the job to its end, as a new process would; how many rows went."""

    def run() -> int:
        job = Retention(database, clock, days=DAYS)
        gone = 0
        while True:
            batch = job.purge_due()
            gone += batch.rows
            if not batch.more:
                return gone

    return run


def put(database: Database, *charges: dict[str, Any]) -> list[int]:
    with database.transaction() as transaction:
        statement = insert(ledger).returning(ledger.c.ledger_id)
        return [transaction.execute(statement, one).scalar_one() for one in charges]


def arm(
    database: Database, scope: tuple[str, str, str], start: datetime | None, end: datetime | None = None
) -> None:
    with database.transaction() as transaction:
        transaction.execute(
            insert(budget_state).values(
                scope=scope[0], scope_id=scope[1], sub=scope[2], armed_at=start, window_start=start,
                reset_at=end or (start and start + timedelta(days=365)),
            )
        )  # fmt: skip


def kept(database: Database) -> Counter[str]:
    return Counter(row["kind"] for row in rows(database, ledger))


def balances(database: Database) -> dict[tuple[str, ...], tuple[int, int]]:
    """What the ledger says of every scope: over its lifetime, and within its stored window."""
    windows = {
        (row["scope"], row["scope_id"], row["sub"]): (row["window_start"], row["reset_at"])
        for row in rows(database, budget_state)
    }
    found: dict[tuple[str, ...], tuple[int, int]] = {}
    for row in rows(database, ledger):
        for scope in map(tuple, row["scopes"] or [["key", row["key_id"], ""]]):
            start, end = windows.get(scope, (None, None))
            inside = start is None or start <= row["occurred_at"] < end
            lifetime, window = found.get(scope, (0, 0))
            found[scope] = (lifetime + row["amount_nanos"], window + row["amount_nanos"] * inside)
    return {scope: sums for scope, sums in found.items() if sums != (0, 0)}


# --- what goes and what stays --------------------------------------------------------------------------------


def test_old_charges_become_one_checkpoint_for_each_scope(database: Database, purge: Callable[[], int]):
    member = member_id("t", "u")
    scopes = [["key", "k", ""], ["team", "t", ""], ["member", member, ""], ["key_model", "k", "gpt"]]
    put(
        database,
        charge("k", 1, OLD, team_id="t", user_id="u", scopes=scopes),
        charge("k", 2, OLD - timedelta(days=9), team_id="t", scopes=scopes),
        charge("other", 4, OLD, team_id="t", scopes=[["key", "other", ""], ["team", "t", ""]]),
        charge("k", 8, YOUNG, scopes=scopes),
    )

    assert purge() == 3

    found = {tuple(row["scopes"][0]): row for row in rows(database, ledger, kind="checkpoint")}
    assert {scope: row["amount_nanos"] // 10**9 for scope, row in found.items()} == {
        ("key", "k", ""): 3,
        ("key", "other", ""): 4,
        ("team", "t", ""): 7,
        ("member", member, ""): 3,
        ("key_model", "k", "gpt"): 3,
    }
    assert all(len(row["scopes"]) == 1 and row["request_id"].startswith("checkpoint-") for row in found.values())
    assert {row["occurred_at"] for row in found.values()} == {OLD}
    named = {scope: (row["key_id"], row["team_id"], row["user_id"]) for scope, row in found.items()}
    assert named[("key", "k", "")] == ("k", None, None)
    assert named[("team", "t", "")] == (None, "t", None)
    assert named[("key_model", "k", "gpt")] == (None, None, None)
    assert kept(database) == {"checkpoint": 5, "charge": 1}


def test_the_next_purge_takes_the_checkpoints_along(
    database: Database, purge: Callable[[], int], clock: MovableClock
):
    put(database, charge("k", 1, OLD), charge("k", 2, YOUNG))
    purge()
    clock.advance(timedelta(seconds=1))

    assert [purge(), purge()] == [1, 0]

    (row,) = rows(database, ledger)
    assert (row["kind"], row["amount_nanos"], row["occurred_at"]) == ("checkpoint", 3 * 10**9, YOUNG)


def test_without_a_number_of_days_everything_is_kept(database: Database, clock: MovableClock):
    put(database, charge("k", 1, START - timedelta(days=9000)))

    with statements(database) as sent:
        assert Retention(database, clock, days=None).purge_due().rows == 0

    assert sent == []
    assert kept(database) == {"charge": 1}


def test_a_charge_that_was_recorded_late_is_kept_as_long_as_it_can_come_again(
    database: Database, purge: Callable[[], int]
):
    put(database, charge("k", 1, OLD - timedelta(days=20), recorded_at=YOUNG))

    assert purge() == 0


def test_a_charge_that_is_not_folded_yet_stays(database: Database, purge: Callable[[], int]):
    (folding, _) = put(database, charge("k", 1, OLD), charge("k", 2, OLD))
    with database.transaction() as transaction:
        transaction.execute(
            insert(ledger_unfolded).values(
                ledger_id=folding, scope="key", scope_id="k", sub="", amount_nanos=1, occurred_at=OLD
            )
        )

    assert purge() == 1

    assert [row["amount_nanos"] for row in rows(database, ledger, kind="charge")] == [10**9]


@pytest.mark.parametrize(
    ("start", "gone"),
    [(OLD - timedelta(days=1), 0), (OLD, 0), (OLD + timedelta(microseconds=1), 1), (None, 1)],
)
@pytest.mark.parametrize("scope", [("key", "k", ""), ("team", "t", ""), ("key_window", "k", "1y")])
def test_a_charge_inside_the_window_of_any_of_its_scopes_stays(
    database: Database, purge: Callable[[], int], scope: tuple[str, str, str], start: datetime | None, gone: int
):
    arm(database, scope, start)
    put(database, charge("k", 1, OLD, scopes=[["user", "u", ""], ["key", "k", ""], list(scope)]))

    assert purge() == gone


def test_a_window_that_has_passed_but_was_not_moved_keeps_its_charges(
    database: Database, purge: Callable[[], int]
):
    arm(database, ("team", "t", ""), OLD - timedelta(days=30), OLD + timedelta(days=1))
    put(database, charge("k", 1, OLD, scopes=[["team", "t", ""]]))

    assert purge() == 0


def test_a_correction_that_names_no_scope_is_of_its_key(database: Database, purge: Callable[[], int]):
    put(database, charge("k", -1, OLD, kind="correction", scopes=[]), charge("k", 3, OLD))

    assert purge() == 2

    (row,) = rows(database, ledger)
    assert (row["scopes"], row["amount_nanos"]) == ([["key", "k", ""]], 2 * 10**9)


def test_a_correction_that_names_no_scope_stays_inside_the_window_of_its_key(
    database: Database, purge: Callable[[], int]
):
    arm(database, ("key", "k", ""), OLD)
    put(database, charge("k", -1, OLD, kind="correction", scopes=[]))

    assert purge() == 0


def test_a_checkpoint_that_a_window_reaches_back_to_is_left_alone(database: Database, purge: Callable[[], int]):
    put(database, charge("k", 1, OLD))
    purge()
    arm(database, ("key", "k", ""), OLD)
    put(database, charge("k", 2, OLD - timedelta(days=1)))

    assert purge() == 1

    assert Counter(row["amount_nanos"] // 10**9 for row in rows(database, ledger)) == {1: 1, 2: 1}
    assert balances(database) == {("key", "k", ""): (3 * 10**9, 10**9)}


def test_rows_that_must_stay_do_not_hold_up_those_behind_them(database: Database, purge: Callable[[], int]):
    arm(database, ("key", "yearly", ""), OLD - timedelta(days=300))
    stays = [charge("yearly", 1, OLD - timedelta(days=20), request_id=f"r{n}") for n in range(PURGE_BATCH + 1)]
    put(database, *stays, charge("k", 1, OLD))

    assert purge() == 1

    assert kept(database) == {"charge": PURGE_BATCH + 1, "checkpoint": 1}


@pytest.mark.parametrize("count", [1, PURGE_BATCH])
def test_a_batch_takes_as_many_statements_for_five_hundred_rows_as_for_one(
    database: Database, clock: MovableClock, count: int
):
    put(
        database,
        *(charge(f"k{n}", 1, OLD, scopes=[["key", f"k{n}", ""], ["team", "t", ""]]) for n in range(count)),
    )

    with statements(database) as sent:
        assert Retention(database, clock, days=DAYS).purge_due().rows == count

    assert len(sent) == (4 if database.is_sqlite else 5)


# --- the same numbers before and after -----------------------------------------------------------------------

SCOPES = [("key", "k", ""), ("key", "q", ""), ("team", "t", ""), ("user", "ü", ""), ("key_model", "k", 'm"\\')]
INSTANTS = st.integers(0, 90).map(lambda days: START - timedelta(days=days))


@given(
    charges=st.lists(
        st.tuples(
            st.integers(-3, 9),
            INSTANTS,
            st.lists(st.sampled_from(SCOPES), unique=True, min_size=1),
            st.sampled_from(["charge", "correction"]),
        ),
        max_size=12,
    ),
    windows=st.dictionaries(st.sampled_from(SCOPES), INSTANTS),
    advances=st.lists(st.integers(0, 30), min_size=1, max_size=3),
)
@settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_balance_recomputed_from_the_ledger_stays_what_it_was(
    database: Database, charges: list[Any], windows: dict[Any, datetime], advances: list[int]
):
    with database.transaction() as transaction:
        transaction.execute(delete(ledger))
        transaction.execute(delete(budget_state))
    for scope, start in windows.items():
        arm(database, scope, start)
    made = [charge("k", n, at, scopes=list(map(list, scopes)), kind=kind) for n, at, scopes, kind in charges]
    put(database, *made)
    before, clock = balances(database), MovableClock()

    for days in advances:
        clock.advance(timedelta(days=days))
        Retention(database, clock, days=DAYS).purge_due()

        assert balances(database) == before
    old = [one for one in made if one["occurred_at"] < clock.now() - timedelta(days=DAYS)]
    free = [
        one
        for one in old
        if not any(windows.get(tuple(s), clock.now()) <= one["occurred_at"] for s in one["scopes"])
    ]
    assert sum(kept(database)[kind] for kind in ("charge", "correction")) == len(made) - len(free)
    assert kept(database)["checkpoint"] <= len(SCOPES)


def test_purges_at_once_leave_the_same_sums(database: Database, clock: MovableClock):
    made = [
        charge(f"k{n % 3}", n, OLD, request_id=f"r{n}", scopes=[["key", f"k{n % 3}", ""], ["team", "t", ""]])
        for n in range(1, 1501)
    ]
    random.Random(1).shuffle(made)
    put(database, *made)
    before = balances(database)

    def work(_: int) -> int:
        with opened(database.url.render_as_string(hide_password=False)) as mine:
            job = Retention(mine, clock, days=DAYS)
            return sum(job.purge_due().rows for _ in range(4))

    with ThreadPoolExecutor(3) as threads:
        gone = sum(threads.map(work, range(3)))

    assert gone == 1500
    assert balances(database) == before
    assert kept(database) == {"checkpoint": 4}


# Dies right behind the statement that begins so.
KILLED = f"""
import os, signal, sys
from sqlalchemy import event
from app.db import Database
from app.services.ledger.retention import Retention
from tests.clocks import MovableClock

database = Database(sys.argv[1])

def die(_connection, _cursor, statement, *_):
    if statement.startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

event.listen(database.engine, "after_cursor_execute", die)
Retention(database, MovableClock(), days={DAYS}).purge_due()
"""


@pytest.mark.parametrize("statement", ["DELETE FROM ledger", "INSERT INTO ledger"])
def test_a_purge_that_is_killed_half_way_has_done_nothing(
    database: Database, purge: Callable[[], int], statement: str
):
    put(database, charge("k", 1, OLD), charge("k", 2, OLD))
    url = database.url.render_as_string(hide_password=False)

    killed = subprocess.run([sys.executable, "-c", KILLED, url, statement], cwd=ROOT, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert kept(database) == {"charge": 2}
    eventually(lambda: purge() == 2)  # once the server has noticed and let go of the lock
    assert kept(database) == {"checkpoint": 1}


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_a_purge_that_is_not_alone_does_nothing(database: Database, purge: Callable[[], int]):
    put(database, charge("k", 1, OLD))
    with database.transaction() as other:
        other.execute(select(func.pg_advisory_xact_lock(retention._LOCK)))

        assert purge() == 0

    assert purge() == 1


# --- with the whole service ----------------------------------------------------------------------------------


def test_what_was_charged_through_the_service_adds_up_before_and_after(
    api: Api, services: Services, clock: MovableClock, purge: Callable[[], int]
):
    api.post("/team/new", {"team_id": "t", "max_budget": 50, "budget_duration": "1y"})
    daily = api.generate(team_id="t", user_id="u", max_budget=20, budget_duration="1d", tags=["x"])
    free = api.generate(user_id="u", model_max_budget={"m": {"budget_limit": 9, "time_period": "1d"}})
    for key in (daily, free, free):
        spend(api, key, 2)
        clock.advance(timedelta(minutes=2))
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    clock.advance(timedelta(days=DAYS + 1))
    spend(api, free, 1)
    for name in (TaskName.RESET_BUDGETS, TaskName.FOLD_LEDGER):
        services.jobs.run(name, lambda: True)
    before = shown(api, daily, free)
    assert services.ledger_check.check(10).drifts == []

    assert purge() == 2  # not that of the team, whose window is a year

    assert services.ledger_check.check(10).drifts == []
    assert kept(services.database)["charge"] == 2
    assert shown(api, daily, free) == before


def spend(api: Api, key: dict[str, Any], cost: float) -> None:
    held = api.post("/key/verify", {"key": key["key"], "model": "m", "estimate": {"cost": cost}}).body
    settled = api.post("/key/settle", {"reservation_id": held["reservation_id"], "cost": cost})
    assert settled.status == 200, settled


def shown(api: Api, *keys: dict[str, Any]) -> list[Any]:
    """What the service tells of keys and of days."""
    days = api.get("/user/daily/activity", start_date="2026-01-01", end_date="2027-12-31").body
    return [
        days,
        *(
            [info[name] for name in ("spend", "total_spend", "last_active")]
            for info in map(api.info, (k["key"] for k in keys))
        ),
    ]

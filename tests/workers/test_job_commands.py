"""`keyledger jobs`: what it prints, and that it does a job's work."""

import re
from pathlib import Path

import pytest
from sqlalchemy import insert

from app.db import Database
from app.models import budget_state
from tests.clocks import START
from tests.servers import RedisServer
from tests.workers.test_cli import environment, run

AWAY = {"DATABASE_URL": "postgresql://me:hush@127.0.0.1:1/x"}


@pytest.fixture
def settings(tmp_path: Path, redis_server: RedisServer) -> dict[str, str]:
    made = environment(tmp_path, REDIS_URL=redis_server.url)
    assert run(["migrate"], made).returncode == 0
    return made


def test_every_job_is_listed_with_its_last_run(settings: dict[str, str]) -> None:
    before = run(["jobs"], settings)
    ran = run(["jobs", "run", "expire_keys"], settings)
    after = run(["jobs"], settings)

    assert (ran.returncode, ran.stdout) == (0, "expire_keys: 0 rows\n")
    lines = {line.split()[0]: line for line in before.stdout.splitlines()}
    assert {"job", "expire_keys", "fold_ledger", "reap_holds", "reset_budgets"} <= lines.keys()
    assert re.fullmatch(r"expire_keys +5 s +never +never +now +0 +0 +0", lines["expire_keys"])
    (line,) = (line for line in after.stdout.splitlines() if line.startswith("expire_keys"))
    # By hand, so beat's first sending is still to come.
    assert re.fullmatch(r"expire_keys +5 s +never +\d{4}-\d\d-\d\dT[\d:.]+Z +now +0 +0 +0", line)


def test_what_is_parked_is_counted_and_the_first_few_are_told_with_their_reason(settings: dict[str, str]) -> None:
    database = Database(settings["DATABASE_URL"])
    with database.transaction() as transaction:
        parked = [
            {"scope": "team", "scope_id": f"team {n}", "sub": "", "parked_at": START, "parked_reason": "no window"}
            for n in range(7)
        ]
        transaction.execute(insert(budget_state), parked)
    database.close()

    lines = run(["jobs"], settings).stdout.splitlines()

    (line,) = (line for line in lines if re.match(r"reset_budgets +\d", line))
    assert line.split()[-2:] == ["7", "0"]
    told = [line for line in lines if "has parked" in line]
    assert told == [
        *(f"reset_budgets has parked team team {n}: no window" for n in range(5)),
        "reset_budgets has parked 2 more",
    ]


def test_a_job_that_does_not_exist_is_answered_with_those_that_do(settings: dict[str, str]) -> None:
    ended = run(["jobs", "run", "sweep"], settings)

    assert ended.returncode == 1
    assert ended.stderr.startswith("keyledger: There is no job 'sweep'. There are: ")
    assert "expire_keys" in ended.stderr


@pytest.mark.parametrize("command", [["jobs"], ["jobs", "run", "expire_keys"], ["ledger", "check"]])
def test_a_store_that_is_away_is_one_line(command: list[str], tmp_path: Path) -> None:
    ended = run(command, environment(tmp_path, **AWAY))

    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert "does not answer" in ended.stderr
    assert "hush" not in ended.stderr

"""Moving every stored secret to a new salt key, while the service runs, and after it was killed half-way."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from app.config import Settings
from app.container import Services, build
from app.db import Database
from app.domain.minting import Secret
from app.models import audit, deleted_keys, deliveries, events, keys, teams
from app.services.events.delivery import SEALED
from app.services.sealing.sealing import CannotOpen, Sealer
from app.services.sealing.secret_rotation import BATCH
from tests.apps import app_over
from tests.clients import Api
from tests.clocks import START, MovableClock
from tests.factories import rows

ROOT = Path(__file__).resolve().parents[2]
NEW = Secret("the-new-salt-key-of-the-tests")
NAME = "langfuse_secret_key"


def logging(secret: str) -> dict[str, Any]:
    return {
        "logging": [{"callback_name": "langfuse", "callback_vars": {NAME: secret, "langfuse_environment": "e"}}]
    }


@contextmanager
def running(settings: Settings) -> Iterator[Services]:
    services = build(settings, MovableClock())
    try:
        yield services
    finally:
        services.close()


@pytest.fixture
def rotating(settings: Settings) -> Settings:
    """The settings of every process while secrets move."""
    return replace(settings, salt_key=NEW, previous_salt_key=settings.salt_key)


def sealed(database: Database) -> dict[str, str]:
    """The stored text of every key's secret, by its alias."""
    with database.read() as connection:
        rows = [*connection.execute(select(keys)).mappings(), *connection.execute(select(deleted_keys)).mappings()]
    return {
        row["key_alias"]: row["metadata"]["logging"][0]["callback_vars"][NAME]
        for row in rows
        if "logging" in row["metadata"]
    }


def multiplied(database: Database, number: int) -> None:
    """Copies of the one key's row: they open as it does, because nothing of the row is bound to the text."""
    with database.transaction() as transaction:
        row = dict(transaction.execute(select(keys)).mappings().one())
        copies = [row | {"key_id": f"copy-{n:04}", "key_alias": f"copy-{n:04}"} for n in range(number)]
        transaction.execute(insert(keys), copies)


def test_every_secret_moves_live_and_archived_and_the_old_key_opens_none(
    api: Api, database: Database, settings: Settings, rotating: Settings
):
    api.generate(key_alias="live", metadata=logging("one") | {"other": 1})
    gone = api.generate(key_alias="gone", metadata=logging("two"))
    api.generate(key_alias="plain", metadata={"callback_vars": "in words only"})
    api.post("/key/delete", {"keys": [gone["key"]]})

    with running(rotating) as services:
        done = list(services.secret_rotation.batches())
        again = list(services.secret_rotation.batches())

    assert [(batch.table, batch.resealed, batch.unopened) for batch in done] == [
        ("keys", 1, 0),
        ("deleted_keys", 1, 0),
    ]
    assert [batch.resealed for batch in again] == [0, 0]
    texts = sealed(database)
    assert {alias: Sealer(NEW).open(NAME, text) for alias, text in texts.items()} == {"live": "one", "gone": "two"}
    for text in texts.values():
        with pytest.raises(CannotOpen):
            Sealer(settings.salt_key).open(NAME, text)


def test_the_secrets_of_teams_move_in_both_forms(
    api: Api, database: Database, settings: Settings, rotating: Settings
):
    older = {"callback_settings": {"success_callback": ["langfuse"], "callback_vars": {NAME: "two"}}}
    api.post("/team/new", {"team_id": "both", "metadata": logging("one") | older | {"other": 1}})
    api.post("/team/new", {"team_id": "plain", "metadata": {"callback_vars": "in words only"}})
    api.post("/team/new", {"team_id": "clear"})
    with database.transaction() as transaction:
        clear = update(teams).where(teams.c.team_id == "clear")
        transaction.execute(clear.values(metadata=logging("three")))
    before = api.get("/team/info", team_id="both").body

    with running(rotating) as services:
        done = list(services.secret_rotation.batches())
        again = list(services.secret_rotation.batches())
        assert Api(app_over(services)).get("/team/info", team_id="both").body == before

    assert [(batch.table, batch.resealed, batch.unopened) for batch in done] == [("teams", 2, 0)]
    assert [batch.resealed for batch in again] == [0]
    with database.read() as connection:
        found = {row.team_id: row.metadata for row in connection.execute(select(teams))}
    variables = {
        "one": found["both"]["logging"][0]["callback_vars"],
        "two": found["both"]["callback_settings"]["callback_vars"],
        "three": found["clear"]["logging"][0]["callback_vars"],
    }
    assert {Sealer(NEW).open(NAME, each[NAME]) for each in variables.values()} == variables.keys()
    assert found["plain"] == {"callback_vars": "in words only"}
    with pytest.raises(CannotOpen):
        Sealer(settings.salt_key).open(NAME, variables["one"][NAME])


def test_keys_that_are_still_to_be_mailed_move(database: Database, settings: Settings, rotating: Settings):
    sealer = Sealer(settings.salt_key)
    event = {"event_id": "e", "kind": "k", "entity": "key", "entity_id": "k", "payload": {}, "created_at": START}
    sent = {"target": "mail", "subject": "event", "created_at": START, "recipient": "bob@example.com"}
    with database.transaction() as transaction:
        transaction.execute(insert(events).values(**event, sealed=sealer.seal(SEALED, "one")))
        transaction.execute(insert(deliveries).values(**sent, subject_id="e", sealed=sealer.seal(SEALED, "two")))
        transaction.execute(insert(deliveries).values(**sent, subject_id="f"))

    with running(rotating) as services:
        done = list(services.secret_rotation.batches())

    assert [(batch.table, batch.resealed) for batch in done] == [("events", 1), ("deliveries", 1)]
    texts = [row["sealed"] for table in (events, deliveries) for row in rows(database, table)]
    assert [text and Sealer(NEW).open(SEALED, text) for text in texts] == ["one", "two", None]


def test_nothing_but_the_secret_changes(api: Api, database: Database, rotating: Settings):
    made = api.generate(key_alias="live", metadata=logging("one") | {"other": 1})
    before = api.info(made["key"])

    with running(rotating) as services:
        list(services.secret_rotation.batches())

        assert Api(app_over(services)).info(made["key"]) == before


def test_while_it_is_under_way_every_process_opens_every_secret(api: Api, database: Database, rotating: Settings):
    api.generate(key_alias="live", metadata=logging("one"))
    multiplied(database, BATCH)

    with running(rotating) as services:
        next(services.secret_rotation.batches())

    both = Sealer(rotating.salt_key, rotating.previous_salt_key)
    texts = sealed(database)
    assert {both.open(NAME, text) for text in texts.values()} == {"one"}
    assert sum(both.key_id in text for text in texts.values()) == BATCH


def test_a_run_that_was_killed_is_finished_by_the_next(api: Api, database: Database, rotating: Settings):
    api.generate(key_alias="live", metadata=logging("one"))
    multiplied(database, BATCH + 1)

    with running(rotating) as services:
        next(services.secret_rotation.batches())
    with running(rotating) as services:
        done = list(services.secret_rotation.batches())

    assert [batch.resealed for batch in done] == [0, 2]
    assert {Sealer(NEW).open(NAME, text) for text in sealed(database).values()} == {"one"}


def test_a_secret_that_was_clear_is_sealed(api: Api, database: Database, settings: Settings):
    api.generate(key_alias="live", metadata=logging("one"))
    with database.transaction() as transaction:
        transaction.execute(update(keys).values(metadata=logging("clear")))

    with running(settings) as services:
        (done,) = services.secret_rotation.batches()

    assert done.resealed == 1
    assert Sealer(settings.salt_key).open(NAME, sealed(database)["live"]) == "clear"


def test_a_secret_of_a_lost_salt_key_stays_and_is_counted(api: Api, database: Database, rotating: Settings):
    api.generate(key_alias="live", metadata=logging("one"))
    lost = Sealer(Secret("lost")).seal(NAME, "s")
    with database.transaction() as transaction:
        transaction.execute(update(keys).values(metadata=logging(lost)))

    with running(rotating) as services:
        (done,) = services.secret_rotation.batches()

    assert (done.resealed, done.unopened) == (0, 1)
    assert sealed(database) == {"live": lost}


def test_a_batch_that_moved_something_is_in_the_audit(api: Api, database: Database, rotating: Settings):
    api.generate(key_alias="live", metadata=logging("one"))

    with running(rotating) as services:
        list(services.secret_rotation.batches())
        list(services.secret_rotation.batches())

    with database.read() as connection:
        row = connection.execute(select(audit).where(audit.c.action == "rotate")).one()
    assert (row.actor_role, row.entity, row.after) == ("system", "salt_key", {"table": "keys", "rows": 1})


# --- the command ----------------------------------------------------------------------------------------------------


def command(settings: Settings, **changed: str) -> "subprocess.Popen[str]":
    """`keyledger secrets rotate` as an operator runs it."""
    environment = {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "KEYLEDGER_MASTER_KEY": settings.master_key.reveal(),
        "KEYLEDGER_SALT_KEY": NEW.reveal(),
        "KEYLEDGER_PREVIOUS_SALT_KEY": settings.salt_key.reveal(),
        "PYTHONUNBUFFERED": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli", "secrets", "rotate"],
        cwd=ROOT,
        env=environment | changed,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_shows_its_progress_and_what_it_has_done(api: Api, database: Database, settings: Settings):
    api.generate(key_alias="live", metadata=logging("one"))

    with command(settings) as process:
        out, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (0, "")
    assert out.splitlines() == [
        "keys: 1 rows read, 1 sealed anew",
        "Every stored secret is sealed with the present salt key.",
    ]
    assert Sealer(NEW).open(NAME, sealed(database)["live"]) == "one"


def test_the_command_killed_half_way_is_simply_run_again(api: Api, database: Database, settings: Settings):
    api.generate(key_alias="live", metadata=logging("one"))
    multiplied(database, 3 * BATCH)

    with command(settings) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.kill()
    both = Sealer(NEW, settings.salt_key)
    half_way = {both.open(NAME, text) for text in sealed(database).values()}
    with command(settings) as process:
        process.communicate(timeout=60)

    assert first == f"keys: {BATCH} rows read, {BATCH} sealed anew\n"
    assert half_way == {"one"}
    assert process.returncode == 0
    assert {Sealer(NEW).open(NAME, text) for text in sealed(database).values()} == {"one"}


def test_the_command_without_the_right_previous_key_fails_and_changes_nothing(
    api: Api, database: Database, settings: Settings
):
    api.generate(key_alias="live", metadata=logging("one"))
    before = sealed(database)

    with command(settings, KEYLEDGER_PREVIOUS_SALT_KEY="wrong") as process:
        _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "1 rows hold a secret that neither salt key opens" in err
    assert sealed(database) == before

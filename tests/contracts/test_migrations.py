"""One history of migrations builds the schema of the models on both stores, and takes it down again."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import BigInteger, DateTime, Table, inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

import app.models  # noqa: F401 - registers every table
from app.db import Database, UtcDateTime, metadata
from app.errors import StoreUnavailable
from app.migrate import configuration, downgrade, upgrade
from tests.clocks import START
from tests.servers import PostgresServer, eventually
from tests.stores import count, note, opened, sqlite_url

ROOT = Path(__file__).resolve().parents[2]
TABLES = metadata.sorted_tables
POSTGRESQL_TYPES = {"BIGINT", "BOOLEAN", "BYTEA", "INTEGER", "JSONB", "TEXT", "TIMESTAMP WITH TIME ZONE"}
LONGEST_NAME = 63  # PostgreSQL cuts longer ones off
SQLITE_CATALOGUE = (
    """SELECT t.name, c.name, c.type, c."notnull", c.dflt_value, c.pk
       FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table'""",
    """SELECT t.name, k."table", k."from", k."to", k.on_delete
       FROM sqlite_master t, pragma_foreign_key_list(t.name) k WHERE t.type = 'table'""",
    """SELECT name, sql FROM sqlite_master WHERE type = 'index'""",
)
POSTGRESQL_CATALOGUE = (
    """SELECT table_name, column_name, data_type, is_nullable, column_default
       FROM information_schema.columns WHERE table_schema = 'public'""",
    """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
       FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
    """SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'""",
)
UPGRADE = (
    "import sys; from app.db import Database; from app.migrate import upgrade; upgrade(Database(sys.argv[1]))"
)


@pytest.fixture(params=["sqlite", "postgresql"])
def bare_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store without a schema."""
    if request.param == "sqlite":
        yield sqlite_url(tmp_path / "bare.db")
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    yield server.create_database("bare")
    server.drop_database("bare")


@pytest.fixture
def bare(bare_url: str) -> Iterator[Database]:
    with opened(bare_url) as database:
        yield database


def tables(database: Database) -> set[str]:
    with database.read() as connection:
        return set(inspect(connection).get_table_names())


def catalogue(database: Database) -> set[tuple[object, ...]]:
    """Columns, defaults, constraints and indexes as the store itself describes them, but for their order."""
    with database.read() as connection:
        return {
            tuple(row)
            for query in (SQLITE_CATALOGUE if database.is_sqlite else POSTGRESQL_CATALOGUE)
            for row in connection.exec_driver_sql(query)
            if "alembic_version" not in str(row)
        }


def scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(Config(toml_file=ROOT / "pyproject.toml"))


# --- the history -------------------------------------------------------------------------------------------


def test_there_is_one_head():
    assert len(scripts().get_heads()) == 1


def test_revisions_are_numbered_in_their_order_and_their_files_after_them():
    revisions = [script.revision for script in scripts().walk_revisions()][::-1]
    files = sorted(path.name[:4] for path in (ROOT / "migrations" / "versions").glob("*.py"))

    assert revisions == [f"{number:04}" for number in range(1, len(revisions) + 1)]
    assert files == revisions


def test_each_revision_says_why_the_previous_release_survives_it():
    answers = [
        str(script.module.__doc__).partition("Safe with the previous release because: ")
        for script in scripts().walk_revisions()
    ]

    assert all(answer.strip() and not answer.startswith("<") for _, _, answer in answers)


def test_upgrade_makes_every_table_of_the_models(bare: Database):
    upgrade(bare)

    assert tables(bare) == {table.name for table in TABLES} | {"alembic_version"}


def test_upgrading_twice_changes_nothing(bare: Database):
    upgrade(bare)
    with bare.transaction() as tx:
        note(tx, START)

    upgrade(bare)

    assert count(bare) == 1


def test_down_leaves_nothing_behind_and_up_works_again(bare: Database):
    upgrade(bare)

    downgrade(bare, "base")
    left = tables(bare)
    upgrade(bare)

    assert left == {"alembic_version"}
    assert tables(bare) == {table.name for table in TABLES} | {"alembic_version"}


def test_down_leaves_no_sequence_or_type_behind_on_postgresql(postgres_server: PostgresServer):
    with opened(postgres_server.create_database("downed")) as database:
        upgrade(database)
        downgrade(database, "base")
    left = postgres_server.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace UNION ALL "
        "SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typrelid = 0 AND typelem = 0",
        "downed",
    )
    postgres_server.drop_database("downed")

    assert {name for (name,) in left} == {"alembic_version", "alembic_version_pkc"}


def test_the_migrated_schema_is_that_of_the_models(database: Database):
    options = {"compare_type": True, "compare_server_default": True}

    with database.engine.connect() as connection:
        drift = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    assert drift == []


def test_the_migrated_schema_is_to_the_letter_what_the_models_would_make(bare: Database):
    upgrade(bare)
    migrated = catalogue(bare)
    downgrade(bare, "base")

    metadata.create_all(bare.engine)

    assert migrated == catalogue(bare)


def test_events_from_before_their_states_were_listed_are_found_by_them_afterwards(bare: Database):
    upgrade(bare)
    downgrade(bare, "0012")
    event = "'key_updated', 'key', 'k', '{}', '2026-01-01', '2026-01-01'"
    with bare.transaction() as tx:
        tx.exec_driver_sql(
            "INSERT INTO events (event_id, kind, entity, entity_id, payload, created_at, routed_at) "
            f"VALUES ('to somebody', {event}), ('to nobody', {event})"
        )
        tx.exec_driver_sql(
            "INSERT INTO deliveries (target, subject, subject_id, created_at) "
            "VALUES ('t', 'event', 'to somebody', '2026-01-02'), ('t', 'log', 'l', '2026-01-02')"
        )

    upgrade(bare)

    with bare.read() as connection:
        told = connection.exec_driver_sql("SELECT event_id, addressed FROM events").all()
        happened = "(SELECT created_at FROM events WHERE event_id = subject_id)"
        of_events = connection.exec_driver_sql(f"SELECT subject, happened_at = {happened} FROM deliveries").all()
    assert {name: bool(addressed) for name, addressed in told} == {"to somebody": True, "to nobody": False}
    assert {subject: bool(same) for subject, same in of_events} == {"event": True, "log": False}


# --- how it runs -------------------------------------------------------------------------------------------


def test_two_releases_at_once_both_succeed(bare_url: str):
    releases = [
        subprocess.Popen([sys.executable, "-c", UPGRADE, bare_url], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [release.communicate(timeout=60)[1] for release in releases]

    assert [(release.returncode, text) for release, text in zip(releases, told, strict=True)] == [(0, "")] * 2
    with opened(bare_url) as database:
        assert tables(database) >= {"keys", "ledger"}


def test_a_release_waits_for_the_one_that_migrates_on_postgresql(postgres_server: PostgresServer):
    asking = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = 'queued' AND query LIKE '%pg_try_advisory_lock%' "
        "AND pid <> pg_backend_pid()"
    )
    with opened(postgres_server.create_database("queued")) as database, ThreadPoolExecutor(1) as thread:
        with database.read() as holder:
            holder.exec_driver_sql("SELECT pg_advisory_lock(6130247911)")
            release = thread.submit(upgrade, database)
            eventually(lambda: postgres_server.execute(asking) == [(1,)])
            before = tables(database)
            holder.exec_driver_sql("SELECT pg_advisory_unlock(6130247911)")
        release.result(60)

        assert before == set()
        assert tables(database) >= {"keys", "ledger"}
    postgres_server.drop_database("queued")


def test_a_migration_does_not_queue_requests_behind_a_busy_table(postgres_server: PostgresServer):
    with opened(postgres_server.create_database("busy")) as database:
        upgrade(database)
        with database.transaction() as tx:
            note(tx, START)

            with pytest.raises(StoreUnavailable):
                downgrade(database, "base")

        assert tables(database) >= {"audit", "keys"}
        assert count(database) == 1
    postgres_server.drop_database("busy")


def test_a_migrated_store_serves_with_its_own_timeouts_again(postgres_url: str):
    with opened(postgres_url, pool_size=1, busy_seconds=3) as database:
        upgrade(database)

        with database.read() as connection:
            shown = [connection.exec_driver_sql(f"SHOW {name}_timeout").scalar() for name in ("lock", "statement")]

    assert shown == ["3s", "6s"]


def test_references_are_checked_again_after_a_migration_on_sqlite(sqlite_url: str):
    with opened(sqlite_url, pool_size=1) as database:
        upgrade(database)

        with database.read() as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_store_that_cannot_be_reached_is_unavailable():
    with opened("postgresql://u@127.0.0.1:1/keys") as database, pytest.raises(StoreUnavailable):
        upgrade(database)


def test_there_is_no_offline_mode(sqlite_url: str):
    with opened(sqlite_url) as database, pytest.raises(CommandError, match="no offline mode"):
        command.upgrade(configuration(database), "head", sql=True)


def test_alembic_itself_needs_the_database_url_and_no_other_setting(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
):
    told = StringIO()
    configured = Config(toml_file=ROOT / "pyproject.toml", stdout=told)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(CommandError, match="DATABASE_URL is missing"):
        command.check(configured)
    monkeypatch.setenv("DATABASE_URL", sqlite_url)

    command.check(configured)

    assert "No new upgrade operations detected" in told.getvalue()


# --- the shape of every table ------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_money_is_a_64_bit_integer(table: Table):
    wrong = [
        column
        for column in table.columns
        if column.name.endswith("_nanos") and type(column.type) is not BigInteger
    ]

    assert wrong == []


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_what_is_named_like_an_instant_is_an_aware_one(table: Table):
    instants = [column for column in table.columns if column.name.endswith("_at")]
    wrong = [column for column in instants if not isinstance(column.type, UtcDateTime)]

    assert wrong == []


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_no_column_holds_a_float_a_bounded_text_or_a_naive_instant(table: Table):
    wrong = [column for column in table.columns if not _is_allowed(column.type)]

    assert wrong == []


def _is_allowed(type_: TypeEngine[object]) -> bool:
    return not isinstance(type_, DateTime) and type_.compile(postgresql.dialect()) in POSTGRESQL_TYPES


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_every_constraint_and_index_has_a_name_that_postgresql_keeps_whole(table: Table):
    names = [str(part.name or "") for part in (*table.constraints, *table.indexes)]

    assert all(0 < len(name) <= LONGEST_NAME for name in names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_what_outlives_its_subject_references_no_live_entity(table: Table):
    outliving = {"ledger", "ledger_unfolded", "audit", "events", "deliveries", "deleted_keys", "budget_state"}
    referenced = {key.column.table.name for key in table.foreign_keys}

    assert table.name not in outliving or referenced <= {"ledger"}

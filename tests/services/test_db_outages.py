"""An outage of the store is `StoreUnavailable`, whatever its form, and over when its cause is."""

from pathlib import Path

import pytest
from sqlalchemy import func, insert, literal_column, select, text, update
from sqlalchemy.exc import DBAPIError

from app.db import Database
from app.errors import StoreUnavailable
from app.models import budgets
from tests.clocks import START
from tests.servers import PostgresServer, eventually
from tests.stores import count, note, opened

MADE = {"created_at": START, "updated_at": START}


def test_a_statement_that_is_wrong_is_no_outage(database: Database):
    with pytest.raises(DBAPIError), database.transaction() as tx:
        tx.execute(select(literal_column("nothing")).select_from(text("nowhere")))


def test_no_free_connection_in_time_is_unavailable(store_url: str):
    with opened(store_url, pool_size=1, busy_seconds=0.1) as database:
        with database.read(), database.read(), pytest.raises(StoreUnavailable):
            database.ping()

        database.ping()


def test_sqlite_that_stays_busy_is_unavailable_and_recovers(sqlite_url: str):
    with opened(sqlite_url) as one, opened(sqlite_url, busy_seconds=0.1) as other:
        with one.transaction() as tx:
            note(tx, START)
            with pytest.raises(StoreUnavailable), other.transaction() as late:
                note(late, START)

        with other.transaction() as tx:
            note(tx, START)

        assert count(one) == 2


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path):
    path = tmp_path / "keyledger.db"
    path.write_bytes(b"anything but a database" * 100)

    with opened(f"sqlite:///{path}") as database, pytest.raises(StoreUnavailable):
        database.ping()


def test_a_place_that_cannot_be_opened_is_unavailable(tmp_path: Path):
    with opened(f"sqlite:///{tmp_path}") as database, pytest.raises(StoreUnavailable):
        database.ping()


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path):
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailable):
        Database(f"sqlite:///{tmp_path}/file/keyledger.db")


def test_the_folder_of_the_file_is_made(tmp_path: Path):
    with opened(f"sqlite:///{tmp_path}/new/folder/keyledger.db") as database:
        database.ping()

    assert (tmp_path / "new" / "folder" / "keyledger.db").exists()


# --- PostgreSQL --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("postgresql://u@127.0.0.1:1/keys", id="nobody listens"),
        pytest.param("postgresql://u@/keys?host=/nonexistent", id="no socket"),
    ],
)
def test_a_postgresql_that_cannot_be_reached_is_unavailable(url: str):
    with opened(url) as database:
        with pytest.raises(StoreUnavailable):
            database.ping()
        with pytest.raises(StoreUnavailable), database.transaction():
            pass


def test_a_postgresql_database_that_does_not_exist_is_unavailable(postgres_server: PostgresServer):
    with opened(postgres_server.url("nowhere")) as database, pytest.raises(StoreUnavailable):
        database.ping()


def test_a_row_that_stays_locked_is_unavailable(postgres_url: str):
    with opened(postgres_url, busy_seconds=0.1) as database:
        with database.transaction() as tx:
            tx.execute(insert(budgets).values(budget_id="b", **MADE))

        with database.transaction() as tx:
            tx.execute(update(budgets).values(tpm_limit=1))
            with pytest.raises(StoreUnavailable), database.transaction() as late:
                late.execute(update(budgets).values(tpm_limit=2))

        with database.read() as connection:
            assert connection.execute(select(budgets.c.tpm_limit)).scalar_one() == 1


def test_a_statement_that_takes_too_long_is_unavailable(postgres_url: str):
    with opened(postgres_url, busy_seconds=0.05) as database:
        with pytest.raises(StoreUnavailable), database.read() as connection:
            connection.execute(select(func.pg_sleep(30)))

        database.ping()


def test_a_standby_is_unavailable_for_writes(postgres_url: str):
    with opened(f"{postgres_url}&options=-cdefault_transaction_read_only%3Don") as database:
        with pytest.raises(StoreUnavailable), database.transaction() as tx:
            note(tx, START)

        assert count(database) == 0


def test_a_postgresql_host_that_vanishes_is_noticed_within_the_deadline(postgres_url: str):
    with opened(postgres_url, busy_seconds=6) as database, database.read() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        told = driver.info.get_parameters()

    assert told["tcp_user_timeout"] == "12000"
    assert (told["keepalives_idle"], told["keepalives_interval"], told["keepalives_count"]) == ("6", "2", "3")


def test_a_postgresql_that_dies_in_a_transaction_is_unavailable_and_back_after_its_restart():
    with PostgresServer() as server, opened(server.url()) as database:
        with database.transaction() as tx:
            tx.execute(text("CREATE TABLE notes (note text)"))
            tx.execute(text("INSERT INTO notes VALUES ('acknowledged')"))

        with pytest.raises(StoreUnavailable):
            _write_and_kill(database, server)
        with pytest.raises(StoreUnavailable):
            database.ping()
        server.start()

        assert eventually(lambda: _notes(database), 10) == ["acknowledged"]


def test_a_postgresql_that_dies_before_the_commit_is_unavailable():
    with PostgresServer() as server, opened(server.url()) as database, pytest.raises(StoreUnavailable):
        _kill_before_commit(database, server)


def _kill_before_commit(database: Database, server: PostgresServer) -> None:
    with database.transaction() as tx:
        tx.execute(text("CREATE TABLE notes (note text)"))
        server.kill()


def test_connections_that_died_while_idle_are_replaced_at_the_second_try():
    with PostgresServer() as server, opened(server.url()) as database:
        with database.read() as one, database.read() as other:
            one.execute(text("SELECT 1"))
            other.execute(text("SELECT 1"))
        server.restart()

        with pytest.raises(StoreUnavailable):
            database.ping()

        database.ping()
        database.ping()


def _write_and_kill(database: Database, server: PostgresServer) -> None:
    with database.transaction() as tx:
        tx.execute(text("INSERT INTO notes VALUES ('lost')"))
        server.kill()
        tx.execute(text("SELECT 1"))


def _notes(database: Database) -> list[str]:
    try:
        with database.read() as connection:
            return list(connection.scalars(text("SELECT note FROM notes")))
    except StoreUnavailable:
        return []

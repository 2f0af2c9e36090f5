"""Fresh stores, quickly: the schema comes from the migrations, once; each test then gets an empty one.

SQLite: the migrated file is copied. PostgreSQL: one database per server, emptied row by row (a tenth of the time
of CREATE DATABASE or TRUNCATE, because tests leave few rows), its sequences set back so that no id leaks.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Table, func, insert, select

from app.config import Settings
from app.container import open_store
from app.db import Database, metadata
from app.migrate import upgrade
from app.models import audit
from tests.servers import PostgresServer

NAME = "keyledger"
# Deleted rows stay in the files until a VACUUM; below this many nobody notices.
ROWS_WORTH_A_VACUUM = 2_000
_END_THE_OTHERS = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


def sqlite_template(folder: Path) -> Path:
    """Make a migrated SQLite file; closed, it is whole without its WAL."""
    path = folder / "template.db"
    _migrate(sqlite_url(path))
    return path


def copy_of(template: Path, folder: Path) -> str:
    """A fresh store in `folder`, whatever is there or is still read there; its URL."""
    path = folder / "keyledger.db"
    for left in folder.glob(f"{path.name}*"):
        left.unlink()
    return sqlite_url(shutil.copyfile(template, path))


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


class Stores:
    """Stores as settings open them, each known from one test to the next: what a statement is compiled to is kept.

    A tenth of the time of a test that has its own over the same URL. Closed, one has no connection left.
    """

    def __init__(self) -> None:
        self._opened: dict[tuple[Any, ...], Database] = {}

    def of(self, settings: Settings) -> Database:
        options = (settings.database_url, settings.web_threads, settings.busy_seconds)
        return self._opened.setdefault(options, open_store(settings))


class PostgresStore:
    """The migrated database of a server, which `empty` makes as good as new over a connection that it keeps."""

    def __init__(self, server: PostgresServer) -> None:
        self.url = server.create_database(NAME)
        _migrate(self.url)
        tables = [sql.Identifier(table.name) for table in reversed(metadata.sorted_tables)]
        names = server.execute("SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'", NAME)
        self._deletions = [sql.SQL("DELETE FROM {}").format(table) for table in tables]
        # As ALTER SEQUENCE … RESTART, without a new file for each.
        restarts = [sql.SQL("setval({}, 1, false)").format(sql.Literal(name)) for (name,) in names]
        self._restarts = sql.SQL("SELECT {}").format(sql.SQL(", ").join(restarts))
        self._connection = psycopg.connect(self.url, autocommit=True, connect_timeout=60)

    def empty(self) -> None:
        """Delete every row, whoever left it, after ending every connection that a test has left open."""
        self._connection.execute(_END_THE_OTHERS)
        deleted = sum(self._connection.execute(deletion).rowcount for deletion in self._deletions)
        self._connection.execute(self._restarts)
        if deleted > ROWS_WORTH_A_VACUUM:
            self._connection.execute("VACUUM")

    def close(self) -> None:
        self._connection.close()


@contextmanager
def opened(url: str, **options: Any) -> Iterator[Database]:
    """A Database with options of its own, closed afterwards."""
    database = Database(url, **options)
    try:
        yield database
    finally:
        database.close()


def note(tx: Connection, at: datetime) -> None:
    """Write one row, where it does not matter which."""
    tx.execute(insert(audit).values(at=at, actor_role="r", action="a", entity="e", entity_id="e"))


def count(database: Database, table: Table = audit) -> int:
    """How many rows a table has for everybody to see; by default those of `note`."""
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _migrate(url: str) -> None:
    with opened(url) as database:
        upgrade(database)

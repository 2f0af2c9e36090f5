"""How a migration runs: one at a time on a store, bounded in its locks, all of a step or nothing of it.

PostgreSQL: whoever comes second waits for an advisory lock and then finds nothing left to do; each revision is
one transaction; a table that is busy for longer than `LOCK_TIMEOUT` fails the release instead of queueing every
request behind it. SQLite: the whole run is one write transaction, which also is the queue, and the foreign keys
are off while tables are rebuilt and checked before the commit.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, text

import app.models  # noqa: F401 - registers every table
from app.db import Database, metadata
from app.errors import StoreUnavailable

LOCK_TIMEOUT = "4s"
# A backfill belongs in a job; this bounds a statement that should have been one.
STATEMENT_TIMEOUT = "10min"
QUEUE_SECONDS = 600
QUEUE_POLL_SECONDS = 0.1
# Any fixed number that nothing else uses on this database.
ADVISORY_LOCK = 6_130_247_911


def run() -> None:
    if context.is_offline_mode():
        raise CommandError("Migrations run against a store; there is no offline mode.")
    database = context.config.attributes.get("database")
    if database is not None:
        _migrate(database)
        return
    # Alembic's own command line (`alembic revision --autogenerate`): no other setting of the service is needed.
    url = os.environ.get("DATABASE_URL")  # noqa: TID251
    if not url:
        raise CommandError("DATABASE_URL is missing.")
    database = Database(url)
    try:
        _migrate(database)
    finally:
        database.close()


def _migrate(database: Database) -> None:
    with database.engine.connect() as connection:
        # The pool never gets it back: it is set up for this, and closing it gives the advisory lock up.
        connection.detach()
        if database.is_sqlite:
            _migrate_sqlite(connection)
        else:
            _migrate_postgresql(connection)


def _migrate_postgresql(connection: Connection) -> None:
    with _queue(connection):
        connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        connection.exec_driver_sql(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'")
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=metadata,
            compare_type=True,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()


@contextmanager
def _queue(connection: Connection) -> Iterator[None]:
    """Hold the advisory lock.

    It is asked for again and again: a statement that waits has a snapshot, for which the holder's CREATE INDEX
    CONCURRENTLY would wait in turn.
    """
    deadline = time.monotonic() + QUEUE_SECONDS
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": ADVISORY_LOCK}):
        connection.commit()
        if time.monotonic() > deadline:
            raise StoreUnavailable("Another release has been migrating this database for too long.")
        time.sleep(QUEUE_POLL_SECONDS)
    connection.commit()
    yield


def _migrate_sqlite(connection: Connection) -> None:
    cursor = connection.connection.cursor()  # the driver's own: inside a transaction these would be ignored
    for pragma in (f"busy_timeout = {QUEUE_SECONDS * 1000}", "foreign_keys = OFF"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
    with connection.begin():
        context.configure(
            connection=connection,
            target_metadata=metadata,
            compare_type=True,
            render_as_batch=True,
        )
        context.run_migrations()
        orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        if orphans:
            raise CommandError(f"Foreign keys would be broken in: {sorted({row[0] for row in orphans})}.")


run()

"""The SQL store: engines, transactions and what a failure of them means.

Reads run in AUTOCOMMIT, writes in one transaction each, and only this module commits. On SQLite a write begins
with BEGIN IMMEDIATE, because a transaction that reads first and writes later fails there at once instead of
waiting. Constraints are the last judge: a violation surfaces as `ConstraintViolated` with the constraint's
name, and the service that owns the constraint says what it means to the caller.
"""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    MetaData,
    Table,
    TypeDecorator,
    UniqueConstraint,
    create_engine,
    event,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.sql.operators import OperatorType

from app.errors import SqlUnavailable

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class JsonObject(TypeDecorator[dict[str, Any]]):
    """A JSON object; what a hand or an import has stored there that is none reads as an empty one."""

    impl = Json
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> dict[str, Any]:  # noqa: ARG002 - its signature
        return value if isinstance(value, dict) else {}

    def coerce_compared_value(self, op: OperatorType | None, value: Any) -> Any:
        """What stands beside it in a comparison, as the name of a field does, has the type of itself."""
        return self.impl_instance.coerce_compared_value(op, value)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant: `timestamptz` on PostgreSQL, fixed-width UTC text (which sorts) on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True
    python_type = datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored instant must be aware")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


_BROKEN_FILE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# SQLSTATE of a write to a standby: what a client sees in the first moments of a failover.
_READ_ONLY = "25006"


class ConstraintViolated(Exception):
    """A write broke the constraint `name`; the transaction is rolled back."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Database:
    """One store behind one URL.

    `busy_seconds` bounds how long a write waits for another (SQLite's lock, PostgreSQL's `lock_timeout`) and
    how long a statement or a free connection may take; past it the caller sees `StoreUnavailable`.
    """

    def __init__(self, url: str, *, pool_size: int = 10, busy_seconds: float = 5.0) -> None:
        self.url = normalise_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        arguments: dict[str, Any] = {
            "json_serializer": lambda value: orjson.dumps(value).decode(),
            "json_deserializer": _json,
            "hide_parameters": True,  # an error's text must not carry what a row holds
            "pool_size": pool_size,
            "max_overflow": pool_size,
            "pool_timeout": busy_seconds,
            "connect_args": self._connect_args(busy_seconds),
        }
        if not self.is_sqlite:
            arguments |= {"pool_recycle": 1800, "isolation_level": "READ COMMITTED"}
        self.engine: Engine = create_engine(self.url, **arguments)
        if self.is_sqlite:
            _prepare_sqlite(self.engine)
        else:
            from app.postgres import bound_waiting  # noqa: PLC0415 - not loaded where SQLite is the store

            # The server's own timeouts come first; this is for one that hangs as a whole.
            bound_waiting(self.engine, busy_seconds * 2 + 1)
        self.reading: Engine = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    def _connect_args(self, busy_seconds: float) -> dict[str, Any]:
        if self.is_sqlite:
            return {"timeout": busy_seconds, "check_same_thread": False}
        milliseconds = int(busy_seconds * 1000)
        given = self.url.query.get("options", "")
        return {
            "connect_timeout": max(2, int(busy_seconds)),
            # A statement timeout is the server's: a server that cannot be reached at all is noticed by these.
            "tcp_user_timeout": milliseconds * 2,
            "keepalives_idle": max(1, int(busy_seconds)),
            "keepalives_interval": max(1, int(busy_seconds / 3)),
            "keepalives_count": 3,
            "options": f"{given} -c lock_timeout={milliseconds} -c statement_timeout={milliseconds * 2}"
            " -c timezone=UTC -c application_name=keyledger",
        }

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Lend a connection in AUTOCOMMIT; raises StoreUnavailable."""
        with translated(), self.reading.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Lend a connection whose reads all see the store at one instant, however long they take."""
        if self.is_sqlite:
            # One that only reads takes no lock: it begins by itself, as the driver's transactions do not.
            with self.read() as connection:
                connection.exec_driver_sql("BEGIN")
                try:
                    yield connection
                finally:
                    connection.exec_driver_sql("ROLLBACK")
            return
        engine = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with translated(), engine.begin() as connection:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run one write transaction: commit at the end, roll back on any error.

        Raises ConstraintViolated and StoreUnavailable. After a StoreUnavailable from the commit itself the
        outcome is unknown, as with any database: a caller may send the request again.
        """
        with translated(), self.engine.begin() as connection:
            yield connection

    def ping(self) -> None:
        """Raise StoreUnavailable unless the store answers."""
        with self.read() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        self.engine.dispose()


def insertion(connection: Connection, table: Table) -> Any:
    """An INSERT in the store's own dialect, which knows ON CONFLICT."""
    return insertion_on(connection.dialect.name, table)


def insertion_on(store: str, table: Table) -> Any:
    """The same where the statement is drawn once for a kind of store, sqlite or postgresql."""
    dialect = sqlite if store == "sqlite" else postgresql
    return dialect.insert(table)


def normalise_url(url: str) -> URL:
    """Accept every usual spelling for the driver in use; raises ValueError, whose text never holds the URL."""
    try:
        parsed = make_url(url)
    except Exception as error:
        raise ValueError("not a database URL") from error
    if parsed.drivername in {"postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"}:
        _check_postgresql_options(parsed)
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise ValueError("only sqlite:// and postgresql:// are supported")
    if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:"):
        raise ValueError("SQLite needs a file that all processes share, such as sqlite:////var/lib/keyledger.db")
    return parsed.set(drivername="sqlite")


def _check_postgresql_options(url: URL) -> None:
    """Refuse options that only other drivers know (`?schema=public`): each connection would fail on them."""
    from psycopg import ProgrammingError  # noqa: PLC0415 - not loaded where SQLite is the store
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415

    for option in url.query:
        try:
            make_conninfo("", **{option: ""})
        except ProgrammingError as error:
            raise ValueError(f"PostgreSQL knows no connection option '{option}'") from error


def violated_constraint(error: IntegrityError) -> str:
    """Name the constraint behind an IntegrityError, on either database; "" when it cannot be told."""
    diagnosis = getattr(error.orig, "diag", None)
    if diagnosis is not None:
        return diagnosis.constraint_name or ""
    message = str(error.orig)
    if match := re.match(r"UNIQUE constraint failed: (.+)", message):
        return _unique_name([part.strip() for part in match.group(1).split(",")])
    if match := re.match(r"(?:CHECK|UNIQUE) constraint failed: (?:index ')?(\w+)", message):
        return match.group(1)
    return ""


def _unique_name(qualified: Sequence[str]) -> str:
    """SQLite names the columns, not the constraint: find the one that covers exactly those."""
    table = metadata.tables[qualified[0].split(".")[0]]
    columns = {name.split(".")[1] for name in qualified}
    if {column.name for column in table.primary_key.columns} == columns:
        return str(table.primary_key.name)
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint) and {c.name for c in constraint.columns} == columns:
            return str(constraint.name)
    for index in table.indexes:
        if index.unique and {c.name for c in index.columns} == columns:
            return str(index.name)
    return ""


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into ConstraintViolated and StoreUnavailable; a faulty statement stays its own."""
    try:
        yield
    except IntegrityError as error:
        raise ConstraintViolated(violated_constraint(error)) from error
    except PoolTimeout as error:
        raise SqlUnavailable from error
    except DBAPIError as error:
        if _is_outage(error):
            raise SqlUnavailable from error
        raise


def _json(stored: str | bytes | float) -> Any:
    """What a JSON column holds; SQLite keeps the text of a bare number as that number, and any other text as well.

    What is no JSON is the text that it is: it would keep every statement that meets it.
    """
    if isinstance(stored, int | float):
        return stored
    try:
        return orjson.loads(stored)
    except orjson.JSONDecodeError:
        return stored


def _is_outage(error: DBAPIError) -> bool:
    """Whether the store is at fault (away, too busy, broken, read-only), and not the statement."""
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        # SQLite calls a statement that it cannot read an operational error too.
        return code in _BROKEN_FILE or (isinstance(error, OperationalError) and code != sqlite3.SQLITE_ERROR)
    if isinstance(error, OperationalError | InterfaceError):
        return True
    return getattr(error.orig, "sqlstate", None) == _READ_ONLY


def _prepare_sqlite(engine: Engine) -> None:
    folder = Path(engine.url.database or "").parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SqlUnavailable(f"The folder {folder} of the database cannot be made.") from error

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN would come too late
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin_immediate(connection: Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE")

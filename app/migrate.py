"""Bringing the schema of a store to a revision: for the command line, the supervisor and the tests alike.

The steps are Alembic's; how a store is locked, timed and committed while they run stands in `migrations/env.py`.
"""

from pathlib import Path
from threading import Lock

from alembic import command
from alembic.config import Config

from app.db import Database, translated

_PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"

# Alembic keeps the running migration in module globals: one at a time in a process.
_running = Lock()


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the schema up to `revision`; a store that is there already is left alone.

    Releases that start at once wait for each other. Raises StoreUnavailable when the store cannot be reached,
    or a lock cannot be had in time; what was committed stays, and a repeat goes on from there.
    """
    with _running, translated():
        command.upgrade(configuration(database), revision)


def downgrade(database: Database, revision: str) -> None:
    """Take the schema back to `revision` ("base": nothing is left), with the data that only newer tables hold.

    Raises StoreUnavailable as `upgrade` does.
    """
    with _running, translated():
        command.downgrade(configuration(database), revision)


def configuration(database: Database) -> Config:
    """Alembic's configuration, as in pyproject.toml, bound to one store."""
    return Config(toml_file=_PYPROJECT, attributes={"database": database})

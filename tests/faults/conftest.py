"""Stores and processes for the tests of faults and races: made once per worker, because they take seconds."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.db import Database
from app.migrate import upgrade
from tests import leaks
from tests.faults.web import LAPSING, PATIENT, Pair, pair_on
from tests.servers import PostgresServer
from tests.stores import copy_of, opened

STORES = ("sqlite", "postgresql")


class DurablePostgres(PostgresServer):
    """A cluster that waits for the disk before it acknowledges, as one in production does."""

    def __init__(self) -> None:
        super().__init__()
        self._settings += ["fsync=on", "full_page_writes=on", "synchronous_commit=on"]


@pytest.fixture(scope="session")
def durable_postgres() -> Iterator[DurablePostgres]:
    with DurablePostgres() as server:
        yield server
        assert not leaks.in_folder(server.folder), "a plaintext key was stored"


@pytest.fixture(scope="session", params=STORES)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, migrated_file: Path
) -> Iterator[Pair]:
    """Two web processes that share a store; the tests leave their keys behind in it."""
    with _pair_on(request, tmp_path_factory, migrated_file, LAPSING) as pair:
        yield pair


@pytest.fixture(scope="session", params=STORES)
def patient_pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, migrated_file: Path
) -> Iterator[Pair]:
    """As `pair`, for races in which nobody is killed: no writer is given up because others were there before it."""
    with _pair_on(request, tmp_path_factory, migrated_file, PATIENT) as pair:
        yield pair


@contextmanager
def _pair_on(
    request: pytest.FixtureRequest, folders: pytest.TempPathFactory, migrated: Path, settings: Mapping[str, str]
) -> Iterator[Pair]:
    name = str(request.fixturename)
    if request.param == "sqlite":
        url = copy_of(migrated, folders.mktemp(name))
    else:
        url = request.getfixturevalue("durable_postgres").create_database(name)
        with opened(url) as database:
            upgrade(database)
    with pair_on(url, settings) as pair:
        yield pair


@pytest.fixture
def shared(pair: Pair) -> Iterator[Database]:
    """The store of the two processes, as somebody beside them sees it."""
    pair.wait()
    with opened(pair.database_url) as database:
        yield database


@pytest.fixture
def calls(request: pytest.FixtureRequest) -> int:
    """How many calls are made while processes are killed."""
    return int(request.config.getoption("--calls"))


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """How often workers are killed while time passes."""
    return int(request.config.getoption("--kills"))

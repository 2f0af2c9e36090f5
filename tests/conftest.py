"""What every test may ask for. Servers start when the first test needs them, one of each per xdist worker.

A test that harms a server (kills, pauses, fills it) starts its own from `tests.servers`.
"""

import gc
import signal
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.config import Settings
from app.container import Services, build
from app.db import Database
from tests import leaks
from tests.apps import app_over
from tests.clients import Api
from tests.clocks import MovableClock
from tests.environment import ENVIRONMENT
from tests.servers import PostgresServer, RedisServer
from tests.stores import PostgresStore, Stores, copy_of, sqlite_template

# Objects; the interpreter's own 700 are reached within a request.
GARBAGE_WORTH_A_COLLECTION = 50_000


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--calls", type=int, default=400, help="how many calls are made while processes are killed (default: 400)"
    )
    parser.addoption("--accounts", type=int, default=2_000, help="how many accounts' windows pass (default: 2000)")
    parser.addoption(
        "--kills", type=int, default=10, help="how often a worker is killed while time passes (default: 10)"
    )


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, and so would every process that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays until the end (modules, tests, their items): a tenth of a run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_WORTH_A_COLLECTION)


# --- no key anywhere ---------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _no_key_in_any_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """When all tests are over, no key may stand in what they left: stores, journals, logs of processes."""
    yield
    folder = tmp_path_factory.getbasetemp()
    assert [str(path) for path in folder.rglob("*") if leaks.in_files([path])] == [], "a plaintext key was stored"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test whose output or log, or the arguments of whose processes, hold a key."""
    report = yield
    # Sections pile up from phase to phase: each is looked at once.
    new = [(title, text) for title, text in report.sections if title.endswith(call.when)]
    places = [title for title, text in new if leaks.SECRETS.inside(text.encode())]
    if call.when == "call" and item.get_closest_marker("processes") and leaks.in_arguments():
        places.append("the arguments of a process")
    if places and report.passed:
        report.outcome, report.longrepr = "failed", f"a plaintext key stands in {', '.join(places)}"
    return report


# --- once per worker ---------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running cluster; a test that needs a database of its own makes one and drops it."""
    with PostgresServer() as server:
        yield server
        assert not leaks.in_folder(server.folder), "a plaintext key was stored"


@pytest.fixture(scope="session")
def postgres_store(postgres_server: PostgresServer) -> Iterator[PostgresStore]:
    with closing(PostgresStore(postgres_server)) as store:
        yield store


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sqlite_template(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session")
def sqlite_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the SQLite file of each test lies, one after another."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def stores() -> Stores:
    return Stores()


# --- once per test -----------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> MovableClock:
    """Stands at 2026-11-18 13:47:33 UTC, a Wednesday."""
    return MovableClock()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The worker's Redis, emptied."""
    redis_server.clear()
    return redis_server.url


@pytest.fixture
def sqlite_url(migrated_file: Path, sqlite_folder: Path) -> str:
    """A migrated, empty SQLite file."""
    return copy_of(migrated_file, sqlite_folder)


@pytest.fixture
def postgres_url(postgres_store: PostgresStore) -> str:
    """The worker's migrated PostgreSQL database, emptied."""
    postgres_store.empty()
    return postgres_store.url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """A migrated, empty store: each test runs on SQLite and on PostgreSQL."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def database(store_url: str) -> Iterator[Database]:
    database = Database(store_url)
    yield database
    database.close()


@pytest.fixture
def settings(store_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return Settings.parse(
        {
            "DATABASE_URL": store_url,
            "REDIS_URL": redis_url,
            **ENVIRONMENT,
            "KEYLEDGER_DATA_DIR": str(tmp_path),
        }
    )


# --- the whole service -------------------------------------------------------------------------------------


@pytest.fixture
def services(settings: Settings, clock: MovableClock, stores: Stores) -> Iterator[Services]:
    """Everything that a process can do; when the test is over, no key may stand in what it left behind."""
    services = build(settings, clock, stores.of(settings))
    yield services
    services.close()
    left = leaks.in_redis(settings.redis_url)
    if services.database.is_sqlite:
        left |= leaks.in_sqlite(Path(services.database.url.database or ""))
    assert not left, "a plaintext key was stored"


@pytest.fixture
def api(services: Services) -> Api:
    """The application over both stores; every answer is held against its document."""
    return Api(app_over(services))


# --- once per module: for rows of tables that leave nothing behind -------------------------------------------


@pytest.fixture(scope="module")
def shared_services(
    migrated_file: Path, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Services]:
    """Over SQLite, its clock standing; what earlier tests of the module wrote is still there."""
    folder = tmp_path_factory.mktemp("shared")
    settings = Settings.parse(
        {
            "DATABASE_URL": copy_of(migrated_file, folder),
            "REDIS_URL": redis_server.url,
            **ENVIRONMENT,
            "KEYLEDGER_DATA_DIR": str(folder),
        }
    )
    services = build(settings, MovableClock())
    yield services
    services.close()
    assert not leaks.in_redis(redis_server.url), "a plaintext key was stored"


@pytest.fixture(scope="module")
def shared_api(shared_services: Services) -> Api:
    return Api(app_over(shared_services))

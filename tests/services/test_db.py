"""Values, transactions and reads of the store mean the same on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import func, insert, null, select, update
from sqlalchemy.exc import StatementError

from app.db import ConstraintViolated, Database
from app.models import audit, budget_state, budgets, call_logs, events, keys
from tests.clocks import START
from tests.stores import count, note, opened

MADE = {"created_at": START, "updated_at": START}


@pytest.fixture
def sqlite(sqlite_url: str) -> Iterator[Database]:
    with opened(sqlite_url) as database:
        yield database


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Database]:
    with opened(postgres_url) as database:
        yield database


# --- instants ----------------------------------------------------------------------------------------------

INSTANTS = [
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2026, 3, 29, 0, 59, 59, 999_999, tzinfo=UTC),
    datetime(2026, 3, 29, 3, 0, tzinfo=timezone(timedelta(hours=2))),
    datetime(2026, 3, 28, 20, 0, 0, 1, tzinfo=timezone(timedelta(hours=-5))),
    datetime(2026, 11, 18, 13, 47, 33, tzinfo=UTC),
    datetime(2026, 11, 18, 13, 47, 33, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]


def test_instants_come_back_in_utc_to_the_microsecond_and_in_order(database: Database):
    with database.transaction() as tx:
        for instant in reversed(INSTANTS):
            note(tx, instant)

    with database.read() as connection:
        read = connection.scalars(select(audit.c.at).order_by(audit.c.at)).all()

    assert read == INSTANTS
    assert {instant.tzinfo for instant in read} == {UTC}


@pytest.mark.parametrize("index", range(len(INSTANTS)))
def test_a_stored_instant_is_found_by_comparison_from_any_zone(database: Database, index: int):
    with database.transaction() as tx:
        for instant in INSTANTS:
            note(tx, instant)
    asked = INSTANTS[index].astimezone(timezone(timedelta(hours=-9, minutes=-30)))

    with database.read() as connection:
        up_to = connection.scalars(select(audit.c.at).where(audit.c.at <= asked).order_by(audit.c.at)).all()

    assert up_to == INSTANTS[: index + 1]


def test_a_naive_instant_is_refused(database: Database):
    with pytest.raises(StatementError, match="must be aware"), database.transaction() as tx:
        note(tx, START.replace(tzinfo=None))

    assert count(database) == 0


def test_no_instant_is_stored_as_none(database: Database):
    with database.transaction() as tx:
        tx.execute(insert(budgets).values(budget_id="b", budget_reset_at=None, **MADE))

    with database.read() as connection:
        assert connection.execute(select(budgets.c.budget_reset_at)).scalar_one() is None


# --- money and JSON ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("nanos", [0, 1, 2**53 + 1, 9_000_000 * 10**9, -(2**63), 2**63 - 1])
def test_money_is_exact_to_64_bits(database: Database, nanos: int):
    with database.transaction() as tx:
        tx.execute(insert(budgets).values(budget_id="b", max_budget_nanos=nanos, **MADE))

    with database.read() as connection:
        assert connection.execute(select(budgets.c.max_budget_nanos)).scalar_one() == nanos


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"a": None},
        [None, True, 0, -1, 0.1, 1e300, 2**63 - 1],
        {"é漢🔑": "\u2028 ' \" \\ %s :name ?"},
        {"nested": [{"deep": {"er": [1, "2", None]}}]},
        "text",
        0,
        False,
    ],
)
def test_json_comes_back_as_it_went_in(database: Database, value: Any):
    with database.transaction() as tx:
        tx.execute(
            insert(call_logs).values(log_id="l", key_id="k", request_id="r", payload=value, created_at=START)
        )

    with database.read() as connection:
        read = connection.execute(select(call_logs.c.payload)).scalar_one()

    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("value", [{"a": "b"}, {}, [], ["a"], "a", 0, False])
def test_where_an_object_belongs_anything_else_reads_as_an_empty_one(database: Database, value: Any):
    with database.transaction() as tx:
        tx.execute(
            insert(events).values(
                event_id="e", kind="k", entity="e", entity_id="e", payload=value, created_at=START
            )
        )

    with database.read() as connection:
        read = connection.execute(select(events.c.payload)).scalar_one()
        named = connection.execute(
            select(func.count()).select_from(events).where(events.c.payload["a"].as_string() == "b")
        ).scalar_one()

    assert read == (value if isinstance(value, dict) else {})
    assert named == int(value == {"a": "b"})


@pytest.mark.parametrize("nothing", [None, null()])
def test_none_in_a_json_column_is_sql_null_and_reads_as_none(database: Database, nothing: object):
    with database.transaction() as tx:
        tx.execute(insert(keys).values(key_id="k", router_settings=nothing, **MADE))

    with database.read() as connection:
        row = connection.execute(select(keys.c.router_settings, keys.c.router_settings.is_(null()))).one()

    assert tuple(row) == (None, True)


def test_json_columns_that_are_left_out_are_empty_and_not_null(database: Database):
    with database.transaction() as tx:
        tx.execute(insert(keys).values(key_id="k", **MADE))

    with database.read() as connection:
        row = connection.execute(
            select(keys.c.models, keys.c.metadata, keys.c.auto_rotate, keys.c.rotation_count)
        ).one()

    assert tuple(row) == ([], {}, False, 0)


# --- transactions ------------------------------------------------------------------------------------------


def test_what_a_transaction_did_is_there_after_it(database: Database):
    with database.transaction() as tx:
        note(tx, START)

    assert count(database) == 1


def test_nobody_sees_a_transaction_before_its_end(database: Database):
    with database.transaction() as tx:
        note(tx, START)
        seen = count(database)

    assert seen == 0


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_transaction_that_raises_leaves_nothing(database: Database, error: type[BaseException]):
    with pytest.raises(error):
        _write_and_fail(database, error)

    assert (count(database), count(database, budgets)) == (0, 0)


def _write_and_fail(database: Database, error: type[BaseException]) -> None:
    with database.transaction() as tx:
        note(tx, START)
        tx.execute(insert(budgets).values(budget_id="b", **MADE))
        raise error


def test_a_violated_constraint_takes_the_whole_transaction_back(database: Database):
    with pytest.raises(ConstraintViolated):
        _write_twice(database)

    assert (count(database), count(database, budgets)) == (0, 0)


def _write_twice(database: Database) -> None:
    with database.transaction() as tx:
        note(tx, START)
        for _ in range(2):
            tx.execute(insert(budgets).values(budget_id="b", **MADE))


def test_a_connection_is_clean_after_a_failed_transaction(database: Database):
    for _ in range(25):  # more often than there are connections
        with pytest.raises(RuntimeError):
            _write_and_fail(database, RuntimeError)

    with database.transaction() as tx:
        note(tx, START)

    assert count(database) == 1


def test_ids_start_at_one_in_a_fresh_store(database: Database):
    with database.transaction() as tx:
        note(tx, START)
        note(tx, START)

    with database.read() as connection:
        assert connection.scalars(select(audit.c.audit_id).order_by(audit.c.audit_id)).all() == [1, 2]


def test_a_fresh_store_is_empty(database: Database):
    with database.read() as connection:
        rows = [
            connection.scalar(select(func.count()).select_from(table)) for table in budgets.metadata.sorted_tables
        ]

    assert set(rows) == {0}


def test_reading_opens_no_transaction_on_sqlite(sqlite: Database):
    seen: list[str] = []

    with sqlite.read() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.set_trace_callback(seen.append)
        connection.execute(select(keys.c.key_id)).all()
        in_transaction = driver.in_transaction
        driver.set_trace_callback(None)

    assert not in_transaction
    assert [statement.split()[0] for statement in seen] == ["SELECT"]


def test_reading_opens_no_transaction_on_postgresql(postgres: Database):
    with postgres.read() as connection:
        connection.execute(select(keys.c.key_id)).all()
        driver = connection.connection.driver_connection
        assert driver is not None

        assert driver.info.transaction_status.name == "IDLE"


def test_reading_and_writing_take_turns_on_one_connection(store_url: str):
    with opened(store_url, pool_size=1) as database:
        for turn in range(3):
            assert count(database) == turn
            with database.transaction() as tx:
                note(tx, START)


def test_a_reader_is_not_held_up_by_a_writer(store_url: str):
    with opened(store_url, busy_seconds=0.3) as database, database.transaction() as tx:
        note(tx, START)

        assert count(database) == 0


# --- SQLite ------------------------------------------------------------------------------------------------


def test_sqlite_waits_for_the_disk_and_keeps_its_references(sqlite: Database):
    with sqlite.read() as first, sqlite.read() as second:
        found = [
            [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            ]
            for connection in (first, second)
        ]

    assert found == [["wal", 2, 1]] * 2


def test_writers_on_sqlite_queue_and_lose_nothing(sqlite: Database):
    with sqlite.transaction() as tx:
        tx.execute(insert(budget_state).values(scope="key", scope_id="k"))

    def spend_ten_times(_: int) -> None:
        for _ in range(10):
            with sqlite.transaction() as tx:
                spent = tx.execute(select(budget_state.c.window_spend_nanos)).scalar_one()
                tx.execute(update(budget_state).values(window_spend_nanos=spent + 1))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(spend_ten_times, range(8)))

    with sqlite.read() as connection:
        assert connection.execute(select(budget_state.c.window_spend_nanos)).scalar_one() == 80


def test_a_store_of_two_databases_on_one_file_queues_too(sqlite_url: str):
    with opened(sqlite_url) as one, opened(sqlite_url) as other, ThreadPoolExecutor(1) as thread:
        with one.transaction() as tx:
            note(tx, START)
            waiting = thread.submit(_note_after_counting, other)
        seen = waiting.result()

    assert seen == 1


def _note_after_counting(database: Database) -> int:
    with database.transaction() as tx:
        seen: int = tx.execute(select(func.count()).select_from(audit)).scalar_one()
        note(tx, START)
    return seen

"""A walk from cursor to cursor meets every row once, in order, whatever comes and goes meanwhile."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Table, delete, insert, select

from app.db import Database
from app.errors import InvalidRequest
from app.models import users
from app.services.rows import cursors, pages
from app.services.rows.pages import FEW, MOST_COUNTED, Listing, Order, Wanted, Within, page_of
from tests.api.counting import statements
from tests.clocks import START

# Orders by a column that rows may lack, by a text and a number, and by an instant that every row has.
COLUMNS: tuple[Column[Any], ...] = (users.c.user_alias, users.c.tpm_limit, users.c.created_at)
SMALL = st.integers(0, 3)
ROWS = st.dictionaries(
    st.text("abc", min_size=1, max_size=3), st.tuples(st.none() | SMALL, st.none() | SMALL, SMALL), max_size=14
)
# Another table, as it were, that names users.
_NAMING = users.alias()
LIMITED = Within(users.c.user_id, select(_NAMING.c.user_id).where(_NAMING.c.tpm_limit.is_not(None)))


def stored(user_id: str, alias: int | None, limit: int | None, seconds: int) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "user_alias": None if alias is None else f"alias {alias}",
        "tpm_limit": limit,
        "created_at": START + timedelta(microseconds=seconds),
        "updated_at": START,
    }


def put(database: Database, rows: dict[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    kept = [stored(user_id, *values) for user_id, values in rows.items()]
    with database.transaction() as transaction:
        transaction.execute(delete(users))
        if kept:
            transaction.execute(insert(users), kept)
    return kept


def listing(
    column: Column[Any],
    *,
    descending: bool,
    countable: bool = True,
    limits: Sequence[int] = (),
    within: Sequence[Within] = (),
) -> Listing:
    """The users; those of one of the limits or of one of as many names, where there are any."""
    order = Order(column, users.c.user_id, descending=descending, gaps=bool(column.nullable))
    among = [
        either
        for limit in limits
        for either in (users.c.tpm_limit == limit, users.c.user_alias == f"alias {limit}")
    ]
    return Listing(users, (), order, countable=countable, among=among, within=within)


def walk(database: Database, found: Listing, size: int) -> Iterator[pages.Page]:
    cursor = None
    while True:
        with database.read() as connection:
            page = page_of(connection, found, Wanted(size=size, cursor=cursor))
        yield page
        cursor = page.next_cursor
        if cursor is None:
            return


def in_order(kept: list[dict[str, Any]], column: Column[Any], *, descending: bool) -> list[str]:
    present = [row for row in kept if row[column.name] is not None]
    missing = [row for row in kept if row[column.name] is None]
    present.sort(key=lambda row: (row[column.name], row["user_id"]), reverse=descending)
    missing.sort(key=lambda row: row["user_id"], reverse=descending)
    return [row["user_id"] for row in (*present, *missing)]


@pytest.fixture
def each_store(database: Database) -> Callable[[], Database]:
    return lambda: database


@given(
    rows=ROWS,
    column=st.sampled_from(COLUMNS),
    descending=st.booleans(),
    size=st.integers(1, 5),
    limits=st.lists(SMALL, max_size=2),
    limited=st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cursors_and_numbers_lead_through_the_same_rows_in_the_same_order(
    each_store: Callable[[], Database],
    rows: dict[str, tuple[Any, ...]],
    column: Column[Any],
    descending: bool,
    size: int,
    limits: list[int],
    limited: bool,
) -> None:
    database = each_store()
    kept = [
        row
        for row in put(database, rows)
        if not limits or row["tpm_limit"] in limits or row["user_alias"] in {f"alias {limit}" for limit in limits}
        if not limited or row["tpm_limit"] is not None
    ]
    expected = in_order(kept, column, descending=descending)
    found = listing(column, descending=descending, limits=limits, within=[LIMITED] if limited else [])

    walked = list(walk(database, found, size))
    with database.read() as connection:
        numbered = [
            page_of(connection, found, Wanted(size=size, page=number + 1)).ids
            for number in range(max(1, Wanted(size=size).pages_of(len(expected))))
        ]

    assert [row for page in walked for row in page.ids] == expected
    assert [page.ids for page in walked] == numbered
    assert {page.total for page in walked} == {len(expected)}


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
@pytest.mark.parametrize("named", [FEW, FEW + 1])
def test_few_rows_that_another_table_names_and_many_are_walked_alike(
    database: Database, column: Column[Any], descending: bool, named: int
) -> None:
    kept = put(
        database,
        {
            f"{number:05}": (number % 7 or None, None if number >= named else number % 11, number % 13)
            for number in range(named + 50)
        },
    )
    found = listing(column, descending=descending, within=[LIMITED])

    walked = list(walk(database, found, 700))

    expected = in_order(kept[:named], column, descending=descending)
    assert [row for page in walked for row in page.ids] == expected
    assert {page.total for page in walked} == {named}


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_rows_that_come_and_go_during_a_walk_move_no_other(database: Database, column: Column[Any]) -> None:
    kept = put(
        database,
        {
            f"{name}": (number % 3 or None, number % 3 or None, number % 3)
            for number, name in enumerate("bcdefghijklm")
        },
    )
    expected = in_order(kept, column, descending=True)
    seen: list[str] = []

    for turn, page in enumerate(walk(database, listing(column, descending=True), 3)):
        seen += page.ids
        with database.transaction() as transaction:  # one that was seen goes, one that sorts before all comes
            transaction.execute(delete(users).where(users.c.user_id == page.ids[0]))
            transaction.execute(insert(users).values(stored(f"zz{turn}", 9, 9, 9)))

    assert seen == expected


@pytest.mark.parametrize("wanted", [
    Wanted(cursor="?"),
    Wanted(cursor=cursors.encode(["", 1, 0, "a", "b"])),
    Wanted(cursor=cursors.encode([Wanted().fingerprint(), 1, 0, 5, "b"])),
    Wanted(cursor=cursors.encode([Wanted().fingerprint(), 1, 0, "a"])),
])  # fmt: skip
def test_a_cursor_of_nothing_or_of_another_list_is_refused(database: Database, wanted: Wanted) -> None:
    with database.read() as connection, pytest.raises(InvalidRequest, match="cursor"):
        page_of(connection, listing(users.c.user_alias, descending=True), wanted)


def test_what_no_index_counts_is_counted_so_far_and_no_further(database: Database) -> None:
    many = [stored(f"{number:05}", None, None, 0) for number in range(MOST_COUNTED + 5)]
    with database.transaction() as transaction:
        transaction.execute(insert(users), many)

    with database.read() as connection:
        capped = page_of(connection, listing(users.c.created_at, descending=True, countable=False), Wanted())
        exact = page_of(connection, listing(users.c.created_at, descending=True), Wanted())

    assert (capped.total, capped.capped) == (MOST_COUNTED, True)
    assert (exact.total, exact.capped) == (MOST_COUNTED + 5, False)


@pytest.mark.parametrize("table", [users], ids=lambda table: table.name)
def test_a_page_takes_two_statements_and_one_behind_a_cursor_takes_one(database: Database, table: Table) -> None:
    put(database, dict.fromkeys("abcdef", (None, 1, 1)))
    found = listing(table.c.user_alias, descending=True)

    with database.read() as connection, statements(database) as first:
        page = page_of(connection, found, Wanted(size=2))
    with database.read() as connection, statements(database) as second:
        page_of(connection, found, Wanted(size=2, cursor=page.next_cursor))

    assert (len(first), len(second)) == (2, 1)

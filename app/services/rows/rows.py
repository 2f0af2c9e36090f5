"""Rows as statements read and name them.

A statement reads a thing with all that belongs to it, each table under a prefix; it names some at a time.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    cast,
    column,
    func,
    literal,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.sql.selectable import FromClause, TableValuedAlias

from app.db import Json

# A store takes so many parameters in a statement at the most.
_PAGE = 1_000


def paged(names: Collection[str]) -> Iterator[list[str]]:
    """Any number of ids in their order, so many at a time as one statement names."""
    ordered = sorted(names)
    for start in range(0, len(ordered), _PAGE):
        yield ordered[start : start + _PAGE]


def unfolded(connection: Connection, names: ColumnElement[Any]) -> TableValuedAlias:
    """The entries of a JSON list of texts as rows, in a column `value`."""
    on_sqlite = connection.dialect.name == "sqlite"
    function = func.json_each if on_sqlite else func.jsonb_array_elements_text
    entries = function(names).table_valued(column("value", Text))
    return entries if on_sqlite else entries.render_derived()


def among(connection: Connection, names: Sequence[str]) -> Select[str]:
    """Some names as rows, for `IN`: a planner takes them for few, and looks each one up, where a long list of
    parameters would have it read the whole table.
    """
    return select(unfolded(connection, literal(list(names), Json)).c.value)


def tuple_among(
    connection: Connection, columns: Sequence[ColumnElement[Any]], tuples: Iterable[Sequence[str]]
) -> ColumnElement[bool]:
    """Whether columns together are one of some tuples of names, which are rows for the same reason."""
    entry = unfolded(connection, literal(list(map(list, tuples)), Json)).c.value
    names = type_coerce(entry, Json) if connection.dialect.name == "sqlite" else cast(entry, Json)
    return tuple_(*columns).in_(select(*(names[place].as_string() for place in range(len(columns)))))


def labelled(joined: Mapping[str, FromClause]) -> list[ColumnElement[Any]]:
    """Every column of these tables, named `prefix.column`."""
    return [
        column.label(f"{prefix}.{column.name}") for prefix, table in joined.items() for column in table.columns
    ]


def own(row: Mapping[Any, Any], table: FromClause) -> dict[str, Any]:
    """The columns of the table that a row is of."""
    return {name: row[name] for name in _names(table)}


def part(row: Mapping[Any, Any], prefix: str, table: FromClause, identity: str) -> dict[str, Any] | None:
    """One table's part of a row; None where `identity` is NULL, because the join found nothing."""
    return None if row[f"{prefix}.{identity}"] is None else present(row, prefix, table)


def present(row: Mapping[Any, Any], prefix: str, table: FromClause) -> dict[str, Any]:
    """One table's part of a row, where there is no row without it."""
    return {name: row[f"{prefix}.{name}"] for name in _names(table)}


@cache
def _names(table: FromClause) -> tuple[str, ...]:
    """Kept, for every row of a page asks for them.

    SQLAlchemy's own are a kind of text that JSON dumpers refuse as keys.
    """
    return tuple(str(column.name) for column in table.columns)

"""Rows as statements read and name them.

A statement reads a thing with all that belongs to it, each table under a prefix; it names some at a time.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.sql.selectable import FromClause

# A store takes so many parameters in a statement at the most.
_PAGE = 1_000


def paged(names: Collection[str]) -> Iterator[list[str]]:
    """Any number of ids in their order, so many at a time as one statement names."""
    ordered = sorted(names)
    for start in range(0, len(ordered), _PAGE):
        yield ordered[start : start + _PAGE]


def labelled(joined: Mapping[str, FromClause]) -> list[ColumnElement[Any]]:
    """Every column of these tables, named `prefix.column`."""
    return [
        column.label(f"{prefix}.{column.name}") for prefix, table in joined.items() for column in table.columns
    ]


def part(row: Mapping[Any, Any], prefix: str, table: FromClause, identity: str) -> dict[str, Any] | None:
    """One table's part of a row; None where `identity` is NULL, because the join found nothing."""
    if row[f"{prefix}.{identity}"] is None:
        return None
    # SQLAlchemy names are a kind of text that JSON dumpers refuse as keys.
    return {str(column.name): row[f"{prefix}.{column.name}"] for column in table.columns}

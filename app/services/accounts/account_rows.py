"""Which rows the accounts of scopes are, and the one order in which everybody holds several of them."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    TextClause,
    and_,
    func,
    literal_column,
    select,
    text,
    tuple_,
)
from sqlalchemy.sql.selectable import FromClause

from app.domain.limits import Account
from app.domain.scopes import OF_KEYS, Scope, ScopeKind
from app.models import budget_state
from app.services.rows.rows import tuple_among

_PAGE = 500


def lock(transaction: Connection, which: ColumnElement[bool]) -> None:
    """Hold these accounts, in one order for everybody, until the transaction ends; none of them comes here.

    Whoever changes some in several steps holds all of them first.
    """
    held = select(budget_state.c.scope).where(which).order_by(*in_order(transaction)).with_for_update().subquery()
    transaction.execute(select(func.count()).select_from(held))


def in_order(connection: Connection) -> list[ColumnElement[Any]]:
    """The order in which everybody holds accounts: that of `order`, whatever the language of the store."""
    columns = (budget_state.c.scope, budget_state.c.scope_id, budget_state.c.sub)
    # SQLite compares bytes anyway, and its transactions are one after the other.
    return [column if connection.dialect.name == "sqlite" else column.collate("C") for column in columns]


def of_keys(key_ids: Iterable[str]) -> ColumnElement[bool]:
    """All accounts of these keys alone."""
    kinds = [kind.value for kind in OF_KEYS]
    return and_(budget_state.c.scope.in_(kinds), budget_state.c.scope_id.in_(list(key_ids)))


def among(
    connection: Connection, scopes: Iterable[Scope], table: FromClause = budget_state
) -> ColumnElement[bool]:
    """The accounts of these scopes, or what else is named like them: any number, each looked up by its name."""
    place = [table.c[name] for name in ("scope", "scope_id", "sub")]
    return tuple_among(connection, place, (list(names(scope).values()) for scope in scopes))


def same(one: FromClause, other: FromClause = budget_state) -> ColumnElement[bool]:
    """Whether two rows name one account."""
    return and_(*(one.c[name] == other.c[name] for name in ("scope", "scope_id", "sub")))


def place(connection: Connection) -> ColumnElement[Any]:
    """Where a row lies. While it is held nobody moves it, and it is found there without looking up its name."""
    return literal_column("budget_state.rowid" if connection.dialect.name == "sqlite" else "budget_state.ctid")


def at(connection: Connection, places: Sequence[Any]) -> TextClause:
    """The rows that lie there, which the caller holds; on PostgreSQL in the order of their pages.

    The places are one parameter, written here: a driver takes as long to write a list of them as a row takes to be
    moved.
    """
    if connection.dialect.name == "sqlite":
        listed = text("budget_state.rowid IN (SELECT value FROM json_each(:places))")
        return listed.bindparams(places=json.dumps(places))
    quoted = ",".join(f'"{each}"' for each in places)
    return text("budget_state.ctid = ANY(CAST(:places AS tid[]))").bindparams(places=f"{{{quoted}}}")


def pages(connection: Connection) -> Iterator[list[Scope]]:
    """All accounts there are, page by page."""
    place = (budget_state.c.scope, budget_state.c.scope_id, budget_state.c.sub)
    last: tuple[str, str, str] | None = None
    while True:
        page = select(*place)
        if last is not None:
            page = page.where(tuple_(*place) > last)
        rows = connection.execute(page.order_by(*place).limit(_PAGE)).all()
        if not rows:
            return
        yield list(map(scope_of, rows))
        last = (rows[-1].scope, rows[-1].scope_id, rows[-1].sub)


def scope_of(row: Any) -> Scope:
    """The scope that the columns of a row name."""
    return Scope(ScopeKind(row.scope), row.scope_id, row.sub)


def names(scope: Scope) -> dict[str, str]:
    """The scope in columns."""
    return {"scope": scope.kind.value, "scope_id": scope.id, "sub": scope.sub}


def order(account: Account) -> tuple[str, str, str]:
    """The place of an account in that order."""
    return account.scope.kind.value, account.scope.id, account.scope.sub

"""Recomputing every balance from the ledger: what an account holds must be what its charges add up to."""

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select, true

from app.db import Database
from app.models import budget_state, ledger, ledger_unfolded
from app.services.accounts.account_ends import CLOSED
from app.services.accounts.account_rows import pages, same
from app.services.decisions.rebasing import Rebasing


@dataclass(frozen=True, slots=True)
class Drift:
    """An account whose stored numbers are not what the ledger says, in nano-dollars; what agrees is None."""

    scope: str
    scope_id: str
    sub: str
    lifetime: tuple[int, int] | None
    window: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Checked:
    """`unknown` windows were armed on accounts charged before; they are checked from their next start on."""

    accounts: int
    entries: int
    unknown: int
    drifts: list[Drift]


class LedgerCheck:
    def __init__(self, database: Database, rebasing: Rebasing) -> None:
        self._database = database
        self._rebasing = rebasing

    def check(self, most: int) -> Checked:
        """Compare every account with the ledger, as both are at one instant; tells up to `most` drifts.

        Reads all of the ledger, without a time limit; changes nothing.
        """
        with self._database.snapshot() as connection:
            accounts, unknown = connection.execute(
                select(
                    func.count(),
                    func.count().filter(budget_state.c.carried_nanos.is_(None)),
                ).select_from(budget_state)
            ).one()
            entries = connection.execute(select(func.count()).select_from(ledger)).scalar_one()
            return Checked(accounts, entries, unknown, list(_drifts(connection, most)))

    def rebase(self) -> Iterator[int]:
        """Set whatever counters Redis has of every account anew; yields how many accounts were gone through.

        Safe while calls are decided, twice, and after an interruption.
        """
        with self._database.read() as connection:
            for scopes in pages(connection):
                self._rebasing.present(scopes)
                yield len(scopes)


def _drifts(connection: Connection, most: int) -> Iterator[Drift]:
    charged, waiting = _charged(connection), _waiting()
    window = budget_state.c.window_spend_nanos + func.coalesce(waiting.c.inside, 0)
    lifetime = budget_state.c.lifetime_spend_nanos + func.coalesce(waiting.c.total, 0)
    owed = func.coalesce(charged.c.total, 0)
    owed_inside = budget_state.c.carried_nanos + func.coalesce(charged.c.inside, 0)
    rows = connection.execute(
        select(
            budget_state.c.scope,
            budget_state.c.scope_id,
            budget_state.c.sub,
            lifetime.label("lifetime"),
            owed.label("owed"),
            window.label("window"),
            owed_inside.label("owed_inside"),
        )
        .select_from(budget_state.outerjoin(charged, same(charged)).outerjoin(waiting, same(waiting)))
        .where(or_(lifetime != owed, window != owed_inside))
        .order_by(budget_state.c.scope, budget_state.c.scope_id, budget_state.c.sub)
        .limit(most)
    )
    for row in rows:
        agrees = row.owed_inside is None or row.window == row.owed_inside
        yield Drift(
            row.scope,
            row.scope_id,
            row.sub,
            None if row.lifetime == row.owed else (int(row.lifetime), int(row.owed)),
            None if agrees else (int(row.window), int(row.owed_inside)),
        )


def _charged(connection: Connection) -> Any:
    """The ledger's sums by account: all of it, and what lies inside the account's window.

    What was charged before an account of the same name was closed is in no window of this one, whatever its times;
    the entry that closes takes back more than that, or less.
    """
    each, names = _each_scope(connection)
    of_last = [name.label(column) for name, column in zip(names, ("scope", "scope_id", "sub"), strict=True)]
    closed = (
        select(*of_last, func.max(ledger.c.ledger_id).label("ledger_id"))
        .select_from(ledger.join(each, true()))
        .where(ledger.c.reason == CLOSED)
        .group_by(*names)
        .cte("closed")
    )
    each, names = _each_scope(connection)
    mine = and_(*map(operator.eq, (closed.c.scope, closed.c.scope_id, closed.c.sub), names))
    since = or_(closed.c.ledger_id.is_(None), ledger.c.ledger_id > closed.c.ledger_id)
    joined = ledger.join(each, true()).outerjoin(closed, mine)
    return _sums(joined, names, ledger.c.amount_nanos, ledger.c.occurred_at, "charged", since)


def _each_scope(connection: Connection) -> tuple[Any, list[Any]]:
    """The scopes of each row of the ledger, as a table of their own, and the three names of one."""
    if connection.dialect.name == "sqlite":
        each = func.json_each(ledger.c.scopes).table_valued("value", name="each")
        names: list[Any] = [func.json_extract(each.c.value, f"$[{place}]") for place in range(3)]
    else:
        each = func.jsonb_array_elements(ledger.c.scopes).table_valued("value", name="each")
        names = [each.c.value.op("->>")(place) for place in range(3)]
    return each, names


def _waiting() -> Any:
    columns = ledger_unfolded.c
    names = [columns.scope, columns.scope_id, columns.sub]
    return _sums(ledger_unfolded, names, columns.amount_nanos, columns.occurred_at, "waiting", true())


def _sums(
    joined: Any, names: list[Any], amount: Any, occurred_at: Any, name: str, since: ColumnElement[bool]
) -> Any:
    account = budget_state.alias(f"account_of_{name}")
    inside = and_(
        or_(account.c.window_start.is_(None), and_(occurred_at >= account.c.window_start, since)),
        or_(account.c.reset_at.is_(None), occurred_at < account.c.reset_at),
    )
    columns = (account.c.scope, account.c.scope_id, account.c.sub)
    return (
        select(
            *columns,
            func.sum(amount).label("total"),
            func.sum(case((inside, amount), else_=0)).label("inside"),
        )
        .select_from(joined.join(account, and_(*map(operator.eq, columns, names))))
        .group_by(*columns)
        .subquery(name)
    )

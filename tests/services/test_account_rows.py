"""Naming accounts: one parameter however many they are, and one look-up by an index for each."""

import re

from sqlalchemy import Column, Table, delete, insert, literal, select, text, update

from app.db import Database, Json
from app.domain.scopes import Scope, ScopeKind
from app.models import budget_state, rolled_windows
from app.services.accounts import account_rows
from app.services.rows import rows
from tests.bench.plans import sent_to
from tests.clocks import START

# More than an expression of SQLite may have terms.
NAMED = [Scope(ScopeKind.KEY_MODEL, str(number), f"m{number}") for number in range(1_100)]
# So many that to read all of them would cost PostgreSQL more than to look some up; SQLite does not count them.
STORED = {"sqlite": 1, "postgresql": 40_000}
PLANS = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN "}
# By the whole of its name: by a part of it whatever else has that would be read as well.
LOOKED_UP = {
    "sqlite": r"SEARCH {0} USING .*INDEX \S+ \(scope=\? AND scope_id=\? AND sub=\?\)",
    "postgresql": r"Index Cond: .*scope = .*scope_id = .*sub = ",
}


def account_names(table: Table) -> list[Column[str]]:
    return [table.c[name] for name in ("scope", "scope_id", "sub")]


def test_many_accounts_are_one_parameter_and_each_is_found_by_the_index(database: Database) -> None:
    with database.transaction() as transaction:
        store = transaction.dialect.name
        names = [column.name for column in account_names(budget_state)]
        numbers = rows.unfolded(transaction, literal(list(map(str, range(STORED[store]))), Json)).c.value
        each = select(literal(ScopeKind.KEY_MODEL.value), numbers, literal("m") + numbers)
        transaction.execute(insert(budget_state).from_select(names, each))
        window = (literal(START, rolled_windows.c.window_start.type), literal(1), literal(1))
        transaction.execute(
            insert(rolled_windows).from_select(
                [*names, "window_start", "used_nanos", "cap_nanos"], select(*account_names(budget_state), *window)
            )
        )
        transaction.execute(text("ANALYZE" if store == "postgresql" else "SELECT 1"))
        for table in (rolled_windows, budget_state):
            which = account_rows.among(transaction, NAMED, table)
            for statement in (select(table), update(table).values(window_start=START), delete(table)):
                with sent_to(database) as sent:
                    transaction.execute(statement.where(which))
                asked = sent[0]
                plan = transaction.exec_driver_sql(PLANS[store] + asked.text, asked.parameters)
                lines = [str(line) for line in plan]
                assert len(asked.parameters) <= 5, asked
                assert [line for line in lines if re.search(LOOKED_UP[store].format(table.name), line)], lines
                assert not [line for line in lines if re.search(rf"(SCAN|Seq Scan on) {table.name}", line)], lines

"""What a call sends to both stores: SQL statements, and Redis commands as they pass the socket."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event

from app.container import Services
from app.store import balances, policies
from tests.faults.proxy import Command, RedisProxy, runs

# By what each script is known in the tests.
SCRIPTS = {
    "adopt": policies._ADOPT,
    "check": policies._CHECK,
    "mark": policies._MARK,
    "publish": policies._PUBLISH,
    "hold": balances._HOLD,
    "close": balances._CLOSE,
    "extend": balances._EXTEND,
    "expired": balances._EXPIRED,
    "note": balances._NOTE,
    "set": balances._SET,
}


@dataclass(frozen=True)
class Cost:
    """Statements (an executemany is one), write transactions, and the Redis scripts in their order."""

    statements: int
    transactions: int = 0
    scripts: tuple[str, ...] = ()


Measure = Callable[[Callable[[], Any]], Cost]


@contextmanager
def measuring(services: Services, proxy: RedisProxy) -> Iterator[Measure]:
    """Measure what a call sends to both stores, once connections are open and scripts known."""
    statements: list[str] = []
    transactions: list[str] = []
    commands: list[Command] = []

    def executed(_connection: Any, _cursor: Any, text: str, *_: Any) -> None:
        # SQLite's own way to begin; PostgreSQL's driver begins unseen.
        if text != "BEGIN IMMEDIATE":
            statements.append(text)

    def committed(connection: Any) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            transactions.append("commit")

    def measure(work: Callable[[], Any]) -> Cost:
        statements.clear()
        transactions.clear()
        commands.clear()
        work()
        return Cost(len(statements), len(transactions), tuple(map(_named, commands)))

    engine = services.database.engine
    event.listen(engine, "before_cursor_execute", executed)
    event.listen(engine, "commit", committed)
    proxy.watch = commands.append
    try:
        yield measure
    finally:
        proxy.watch = None
        event.remove(engine, "before_cursor_execute", executed)
        event.remove(engine, "commit", committed)


def _named(command: Command) -> str:
    found = [name for name, script in SCRIPTS.items() if runs(command, script)]
    return found[0] if found else command[0].decode()

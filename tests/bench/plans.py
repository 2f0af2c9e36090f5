"""What PostgreSQL does for a statement: which rows it reads one by one, and how many it sorts."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event

from app.db import Database


@dataclass(frozen=True)
class Sent:
    """A statement as the driver got it."""

    text: str
    parameters: Any

    @property
    def counts(self) -> bool:
        return self.text.startswith("SELECT count(")


@contextmanager
def sent_to(database: Database) -> Iterator[list[Sent]]:
    """Collect what the block asks the store; of those that end a transaction, nothing."""
    found: list[Sent] = []

    def record(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            found.append(Sent(statement, parameters))

    event.listen(database.engine, "before_cursor_execute", record)
    try:
        yield found
    finally:
        event.remove(database.engine, "before_cursor_execute", record)


@dataclass(frozen=True)
class Plan:
    """The most rows that one table had read without an index, that were sorted, and that were read at all."""

    scanned: int
    sorted: int
    read: int


def plan_of(database: Database, statement: Sent) -> Plan:
    """The plan of a statement as it was carried out."""
    with database.read() as connection:
        explained = connection.exec_driver_sql(
            f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement.text}", statement.parameters
        ).scalar_one()
    nodes = list(_nodes(explained[0]["Plan"]))
    return Plan(
        scanned=max((_rows(node) for node in nodes if node["Node Type"] == "Seq Scan"), default=0),
        sorted=max((_sorted(node) for node in nodes if node["Node Type"] == "Sort"), default=0),
        read=sum(_rows(node) for node in nodes if "Relation Name" in node),
    )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _rows(node: dict[str, Any]) -> int:
    """Rows that a scan has touched, kept or not, in all its loops."""
    dropped = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return int((node["Actual Rows"] + dropped) * node["Actual Loops"])


def _sorted(node: dict[str, Any]) -> int:
    return int(sum(child["Actual Rows"] * child["Actual Loops"] for child in node["Plans"]))

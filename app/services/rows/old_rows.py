"""Rows that have been kept long enough, for those that drop them: oldest first, a batch at a time."""

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, delete, select

DROP_BATCH = 500


def drop(transaction: Connection, identity: Column[Any], at: Column[Any], before: datetime) -> list[datetime]:
    """Drop up to DROP_BATCH rows that are from before the instant; from when each was, oldest first.

    Two statements at the most. Rows that somebody else is dropping are left to them.
    """
    due = (
        select(identity, at.label("at"))
        .where(at < before)
        .order_by(at, identity)
        .limit(DROP_BATCH)
        .with_for_update(skip_locked=True)
    )
    rows = transaction.execute(due).all()
    if rows:
        transaction.execute(delete(identity.table).where(identity.in_([row[0] for row in rows])))
    return [row.at for row in rows]

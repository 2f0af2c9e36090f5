"""The daily sums that reports are drawn from, and when each key was last used: kept by the rollup, in its fold.

Sums are additions, so charges may come in any order and any batches: the sums of the days are those of the
charges. Rows are written in one fixed order, so that two folds at once cannot wait for each other in a circle.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, bindparam, select, update

from app.db import insertion
from app.models import daily_label_spend, daily_spend, keys

# The row of a key is wide: it is not written anew for every moment in which the key is used.
ACTIVITY_RESOLUTION = timedelta(minutes=1)

Charge = Mapping[str, Any]
_IDENTITIES = ("key_id", "team_id", "user_id", "organization_id", "model")
_SUMS = ("spend_nanos", "input_tokens", "output_tokens", "requests")


def add(transaction: Connection, charges: Sequence[Charge]) -> None:
    """Add the ledger rows of these charges to the sums of their UTC days, and tell their keys when they were used.

    Each charge is to be given exactly once, in the transaction that takes it out of `ledger_unfolded`. Four
    statements at the most, however many charges there are.
    """
    _upsert(transaction, daily_spend, _summed((_identity(charge), charge) for charge in charges))
    _upsert(transaction, daily_label_spend, _summed(_labelled(charges)))
    _touch_keys(transaction, charges)


def _identity(charge: Charge) -> tuple[str, ...]:
    return (_day(charge), *(charge[name] or "" for name in _IDENTITIES))


def _labelled(charges: Iterable[Charge]) -> Iterable[tuple[tuple[str, ...], Charge]]:
    """Each charge once for each of its tags, and once for its end user."""
    for charge in charges:
        tags = charge["tags"]
        labels = {("tag", tag) for tag in (tags if isinstance(tags, list) else ()) if isinstance(tag, str)}
        if charge["end_user"]:
            labels.add(("end_user", charge["end_user"]))
        for label, name in labels:
            yield (_day(charge), label, name, charge["key_id"] or "", charge["model"] or ""), charge


def _day(charge: Charge) -> str:
    occurred_at: datetime = charge["occurred_at"]
    return occurred_at.astimezone(UTC).date().isoformat()


def _summed(parts: Iterable[tuple[tuple[str, ...], Charge]]) -> dict[tuple[str, ...], list[int]]:
    sums: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * len(_SUMS))
    for identity, charge in parts:
        added = (charge["amount_nanos"], charge["input_tokens"] or 0, charge["output_tokens"] or 0, 1)
        sums[identity] = [so_far + more for so_far, more in zip(sums[identity], added, strict=True)]
    return sums


def _upsert(transaction: Connection, table: Table, sums: Mapping[tuple[str, ...], Sequence[int]]) -> None:
    if not sums:
        return
    statement = insertion(transaction, table)
    identity = [column.name for column in table.primary_key.columns]
    added = {name: table.c[name] + statement.excluded[name] for name in _SUMS}
    transaction.execute(
        statement.on_conflict_do_update(index_elements=identity, set_=added),
        [dict(zip((*identity, *_SUMS), (*key, *sums[key]), strict=True)) for key in sorted(sums)],
    )


def _touch_keys(transaction: Connection, charges: Iterable[Charge]) -> None:
    """Move `last_active` forward where it lags by ACTIVITY_RESOLUTION or more.

    A key that somebody is changing at this moment is passed over, and its next charge tells: a rollup neither
    waits for a request nor can it lock a key and a balance in another order than one.
    """
    used: dict[str, datetime] = {}
    for charge in charges:
        key_id, occurred_at = charge["key_id"], charge["occurred_at"]
        if key_id is not None and (key_id not in used or used[key_id] < occurred_at):
            used[key_id] = occurred_at
    if not used:
        return
    free = (
        select(keys.c.key_id, keys.c.last_active)
        .where(keys.c.key_id.in_(used))
        .order_by(keys.c.key_id)
        .with_for_update(skip_locked=True, key_share=True)
    )
    moved = [
        {"used_key": row.key_id, "used_at": used[row.key_id]}
        for row in transaction.execute(free)
        if row.last_active is None or used[row.key_id] - row.last_active >= ACTIVITY_RESOLUTION
    ]
    if moved:
        transaction.execute(
            update(keys)
            .where(keys.c.key_id == bindparam("used_key"))
            .values(last_active=bindparam("used_at", type_=keys.c.last_active.type)),
            moved,
        )

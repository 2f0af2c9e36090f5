"""Moving everything sealed to a new salt key, batch by batch: `keyledger secrets rotate`.

Each sealed text names its key, so processes that hold both keys read either, a run that was killed half-way is
simply started again, and a run over finished rows changes nothing. What cannot be opened stays as it is.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, String, bindparam, cast, select, update

from app.clock import Clock
from app.db import Database
from app.domain import callbacks
from app.models import deleted_keys, deliveries, events, keys, teams
from app.services.audit import audit
from app.services.audit.audit import SYSTEM, Act, Changed
from app.services.events.delivery import SEALED
from app.services.sealing.sealing import CannotOpen, Sealer

BATCH = 500

# By a secret's name and its stored text, the text under the present salt key. Raises CannotOpen.
Reseal = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class _Holder:
    """A column that may hold secrets, where it does, and how its value is sealed anew: None where that is so."""

    identity: Column[Any]
    column: Column[Any]
    filled: ColumnElement[bool]
    resealed: Callable[[Any, Reseal], Any]


def _callbacks(identity: Column[Any], *entries: str) -> _Holder:
    """Of the variables of callbacks, in these entries of the metadata."""
    column = identity.table.c.metadata
    filled = cast(column, String).contains("callback_vars")
    return _Holder(identity, column, filled, partial(_resealed_callbacks, entries))


def _resealed_callbacks(entries: tuple[str, ...], metadata: Mapping[str, Any], reseal: Reseal) -> Any:
    return callbacks.resealed_metadata(metadata, entries, reseal)


def _mailed(identity: Column[Any]) -> _Holder:
    """Of keys that are still to be mailed."""
    column = identity.table.c.sealed
    return _Holder(identity, column, column.is_not(None), _resealed_text)


def _resealed_text(stored: str, reseal: Reseal) -> str | None:
    moved = reseal(SEALED, stored)
    return None if moved == stored else moved


# Of the last two in this order: what moves on from an event into its deliveries meanwhile is met there.
_HOLDERS = (
    _callbacks(keys.c.key_id, callbacks.LOGGING),
    _callbacks(deleted_keys.c.id, callbacks.LOGGING),
    _callbacks(teams.c.team_id, callbacks.LOGGING, callbacks.SETTINGS),
    _mailed(events.c.event_id),
    _mailed(deliveries.c.delivery_id),
)


@dataclass(frozen=True, slots=True)
class Rotated:
    """One batch: how many rows were looked at, sealed anew, and left because a secret could not be opened."""

    table: str
    rows: int
    resealed: int
    unopened: int


class SecretRotation:
    def __init__(self, database: Database, sealer: Sealer, clock: Clock) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock

    def batches(self) -> Iterator[Rotated]:
        """Seal every stored secret under the present salt key, one committed batch after another.

        Of live keys, the archive, teams, and mails to come. Raises StoreUnavailable; what was done stays done.
        """
        for holder in _HOLDERS:
            last: Any = None
            while True:
                with self._database.transaction() as transaction:
                    rows = _locked(transaction, holder, last)
                    if not rows:
                        break
                    done = self._reseal(transaction, holder, rows)
                last = rows[-1][holder.identity]
                yield done

    def _reseal(self, transaction: Connection, holder: _Holder, rows: list[Mapping[Any, Any]]) -> Rotated:
        table, changed, unopened = holder.identity.table, [], 0
        for row in rows:
            try:
                value = holder.resealed(row[holder.column], self._sealer.reseal)
            except CannotOpen:
                unopened += 1
                continue
            if value is not None:
                changed.append({"row": row[holder.identity], "value": value})
        if changed:
            transaction.execute(
                update(table)
                .where(holder.identity == bindparam("row"))
                .values({holder.column: bindparam("value", type_=holder.column.type)}),
                changed,
            )
            change = Changed(self._sealer.key_id, None, {"table": table.name, "rows": len(changed)})
            audit.record(transaction, Act(SYSTEM, self._clock.now()), "rotate", "salt_key", [change])
        return Rotated(table.name, len(rows), len(changed), unopened)


def _locked(transaction: Connection, holder: _Holder, last: Any) -> list[Mapping[Any, Any]]:
    """The next rows that may hold a secret, in the order of their ids."""
    statement = (
        select(holder.identity, holder.column)
        .where(holder.filled)
        .order_by(holder.identity)
        .limit(BATCH)
        .with_for_update()
    )
    if last is not None:
        statement = statement.where(holder.identity > last)
    return list(transaction.execute(statement).mappings())

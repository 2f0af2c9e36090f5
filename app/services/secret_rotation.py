"""Moving everything sealed to a new salt key, batch by batch: `keyledger secrets rotate`.

Each sealed text names its key, so processes that hold both keys read either, a run that was killed half-way is
simply started again, and a run over finished rows changes nothing. What cannot be opened stays as it is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, String, Table, bindparam, cast, select, update

from app.clock import Clock
from app.db import Database
from app.domain import callbacks
from app.models import deleted_keys, deliveries, events, keys, teams
from app.services import audit
from app.services.audit import SYSTEM, Act, Changed
from app.services.delivery import SEALED
from app.services.sealing import CannotOpen, Sealer

BATCH = 500


@dataclass(frozen=True, slots=True)
class _Holder:
    """Where sealed texts are kept: the column of a table, and the one that names a row.

    Callbacks are sealed in `entries` of metadata; without entries the whole column is one sealed key for a mail.
    """

    table: Table
    identity: str
    column: str = "metadata"
    entries: tuple[str, ...] = ()

    @property
    def may_hold(self) -> ColumnElement[bool]:
        column = self.table.c[self.column]
        return cast(column, String).contains("callback_vars") if self.entries else column.is_not(None)

    def resealed(self, stored: Any, sealer: Sealer) -> Any:
        """What to store instead, None where that is the same. Raises CannotOpen."""
        if self.entries:
            return callbacks.resealed_metadata(stored, self.entries, sealer.reseal)
        text = sealer.reseal(SEALED, stored)
        return None if text == stored else text


_HOLDERS = (
    _Holder(keys, "key_id", entries=(callbacks.LOGGING,)),
    _Holder(deleted_keys, "id", entries=(callbacks.LOGGING,)),
    _Holder(teams, "team_id", entries=(callbacks.LOGGING, callbacks.SETTINGS)),
    _Holder(events, "event_id", "sealed"),
    _Holder(deliveries, "delivery_id", "sealed"),
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

        Live keys, the archive, teams, and keys that wait to be mailed. Raises StoreUnavailable; what was done
        until then stays done.
        """
        for holder in _HOLDERS:
            last: Any = None
            while True:
                with self._database.transaction() as transaction:
                    rows = self._locked(transaction, holder, last)
                    if not rows:
                        break
                    done = self._reseal(transaction, holder, rows)
                last = rows[-1]["row"]
                yield done

    def _locked(self, transaction: Connection, holder: _Holder, last: Any) -> list[Mapping[Any, Any]]:
        """The next rows that may hold a secret, in the order of their ids."""
        identity = holder.table.c[holder.identity]
        statement = (
            select(identity.label("row"), holder.table.c[holder.column].label("stored"))
            .where(holder.may_hold)
            .order_by(identity)
            .limit(BATCH)
            .with_for_update()
        )
        if last is not None:
            statement = statement.where(identity > last)
        return list(transaction.execute(statement).mappings())

    def _reseal(self, transaction: Connection, holder: _Holder, rows: list[Mapping[Any, Any]]) -> Rotated:
        changed: list[dict[str, Any]] = []
        unopened = 0
        for row in rows:
            try:
                resealed = holder.resealed(row["stored"], self._sealer)
            except CannotOpen:
                unopened += 1
                continue
            if resealed is not None:
                changed.append({"row": row["row"], "resealed": resealed})
        if changed:
            table, column = holder.table, holder.table.c[holder.column]
            transaction.execute(
                update(table)
                .where(table.c[holder.identity] == bindparam("row"))
                .values({column: bindparam("resealed", type_=column.type)}),
                changed,
            )
            change = Changed(self._sealer.key_id, None, {"table": table.name, "rows": len(changed)})
            audit.record(transaction, Act(SYSTEM, self._clock.now()), "rotate", "salt_key", [change])
        return Rotated(holder.table.name, len(rows), len(changed), unopened)

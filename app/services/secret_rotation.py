"""Moving everything sealed to a new salt key, batch by batch: `keyledger secrets rotate`.

Each sealed text names its key, so processes that hold both keys read either, a run that was killed half-way is
simply started again, and a run over finished rows changes nothing. What cannot be opened stays as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, String, Table, bindparam, cast, select, update

from app.clock import Clock
from app.db import Database
from app.domain import callbacks
from app.models import deleted_keys, keys, teams
from app.services import audit
from app.services.audit import SYSTEM, Act, Changed
from app.services.sealing import CannotOpen, Sealer

BATCH = 500

# Where callbacks are kept: the table, the column that names a row, and the entries of its metadata.
_HOLDERS = (
    (keys, "key_id", (callbacks.LOGGING,)),
    (deleted_keys, "id", (callbacks.LOGGING,)),
    (teams, "team_id", (callbacks.LOGGING, callbacks.SETTINGS)),
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

        Live keys, the archive and teams. Raises StoreUnavailable; what was done until then stays done.
        """
        for table, identity, entries in _HOLDERS:
            last: Any = None
            while True:
                with self._database.transaction() as transaction:
                    rows = self._locked(transaction, table, identity, last)
                    if not rows:
                        break
                    done = self._reseal(transaction, table, identity, entries, rows)
                last = rows[-1][identity]
                yield done

    def _locked(self, transaction: Connection, table: Table, identity: str, last: Any) -> list[Mapping[Any, Any]]:
        """The next rows that may hold a secret, in the order of their ids."""
        statement = (
            select(table.c[identity], table.c.metadata)
            .where(cast(table.c.metadata, String).contains("callback_vars"))
            .order_by(table.c[identity])
            .limit(BATCH)
            .with_for_update()
        )
        if last is not None:
            statement = statement.where(table.c[identity] > last)
        return list(transaction.execute(statement).mappings())

    def _reseal(
        self,
        transaction: Connection,
        table: Table,
        identity: str,
        entries: Sequence[str],
        rows: list[Mapping[Any, Any]],
    ) -> Rotated:
        changed: list[dict[str, Any]] = []
        unopened = 0
        for row in rows:
            try:
                metadata = callbacks.resealed_metadata(row["metadata"], entries, self._sealer.reseal)
            except CannotOpen:
                unopened += 1
                continue
            if metadata is not None:
                changed.append({"row": row[identity], "metadata": metadata})
        if changed:
            transaction.execute(
                update(table)
                .where(table.c[identity] == bindparam("row"))
                .values(metadata=bindparam("metadata", type_=table.c.metadata.type)),
                changed,
            )
            change = Changed(self._sealer.key_id, None, {"table": table.name, "rows": len(changed)})
            audit.record(transaction, Act(SYSTEM, self._clock.now()), "rotate", "salt_key", [change])
        return Rotated(table.name, len(rows), len(changed), unopened)

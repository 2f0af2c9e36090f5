"""Closing holds whose lease is over: charged where the ledger says so, given back where it does not."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select

from app.clock import Clock
from app.db import Database
from app.models import ledger
from app.services.decisions.rebasing import Rebasing
from app.services.jobs.job_batches import JobBatch
from app.services.rows.rows import tuple_among
from app.store.balances import Balances, Closing

REAP_BATCH = 500


class Reaping:
    def __init__(self, database: Database, balances: Balances, rebasing: Rebasing, clock: Clock) -> None:
        self._database = database
        self._balances = balances
        self._rebasing = rebasing
        self._clock = clock

    def reap_due(self) -> JobBatch:
        """Close up to REAP_BATCH holds that are past their lease; twice or side by side it closes each once."""
        now = self._clock.now()
        reaped = self.reap(now)
        return JobBatch(reaped, more=reaped == REAP_BATCH)

    def reap(self, now: datetime) -> int:
        """The same for whoever waits for room; how many were looked at. Raises StoreUnavailable."""
        expired = self._balances.expired(now, REAP_BATCH)
        if expired:
            charged = self.charged([(hold.key_id, hold.request_id) for hold in expired])
            self._rebasing.heal(charged, now)
            known = {(row["key_id"], row["request_id"]) for row in charged}
            # The deadline that was read before the ledger: a hold that was extended since is left alone.
            self._balances.close(
                [
                    Closing(hold.key_id, hold.request_id, deadline=hold.deadline)
                    for hold in expired
                    if (hold.key_id, hold.request_id) not in known
                ]
            )
        return len(expired)

    def charged(self, holds: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """The charges of these holds, by key id and request id, as far as the ledger has them; one statement."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(ledger).where(tuple_among(connection, (ledger.c.key_id, ledger.c.request_id), holds))
            )
            return [dict(row) for row in rows.mappings()]

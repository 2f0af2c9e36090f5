"""How the whole installation stands, the same whichever process is asked: its jobs, its ledger, its holds.

A store that is away leaves its numbers out, and is told of as away: an outage is what one watches for.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from app.clock import Clock
from app.db import Database
from app.errors import StoreUnavailable
from app.models import ledger, ledger_unfolded
from app.services.jobs import JobRecord, Jobs
from app.store.balances import Balances


@dataclass(frozen=True, slots=True)
class LedgerGauges:
    """What waits to be folded: how many rows of accounts, and since how many seconds the oldest of them."""

    rows: int
    lag_seconds: float


@dataclass(frozen=True, slots=True)
class Readings:
    """One look at everything; None is what could not be read."""

    at: datetime
    jobs: list[JobRecord] | None
    ledger: LedgerGauges | None
    holds: int | None


class Gauges:
    def __init__(self, database: Database, jobs: Jobs, balances: Balances, clock: Clock) -> None:
        self._database = database
        self._jobs = jobs
        self._balances = balances
        self._clock = clock

    def read(self) -> Readings:
        """Look once, in two statements and one call of Redis; never raises."""
        now = self._clock.now()
        jobs = waiting = holds = None
        try:
            jobs = self._jobs.records()
            waiting = self._ledger(now)
        except StoreUnavailable:
            jobs = None
        try:
            holds = self._balances.open_holds()
        except StoreUnavailable:
            holds = None
        return Readings(now, jobs, waiting, holds)

    def _ledger(self, now: datetime) -> LedgerGauges:
        """The oldest row is that of the lowest number: rows are folded in no order, but all within moments."""
        oldest = select(func.min(ledger_unfolded.c.ledger_id)).scalar_subquery()
        since = select(ledger.c.recorded_at).where(ledger.c.ledger_id == oldest)
        with self._database.read() as connection:
            row = connection.execute(
                select(
                    select(func.count()).select_from(ledger_unfolded).scalar_subquery().label("rows"),
                    since.scalar_subquery().label("since"),
                )
            ).one()
        lag = 0.0 if row.since is None else max(0.0, (now - row.since).total_seconds())
        return LedgerGauges(row.rows, lag)

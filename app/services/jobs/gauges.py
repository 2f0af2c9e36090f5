"""How the whole installation stands, the same whichever process is asked: its jobs, its ledger, its holds.

A store that is away leaves its numbers out, and is told of as away: an outage is what one watches for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, ScalarSelect, and_, func, select
from sqlalchemy.exc import DBAPIError

from app.clock import Clock
from app.db import Database
from app.errors import StoreUnavailable
from app.models import deliveries, events, ledger, ledger_unfolded
from app.services.jobs.job_batches import Parked
from app.services.jobs.jobs import JobRecord, Jobs
from app.store.balances import Balances


@dataclass(frozen=True, slots=True)
class LedgerGauges:
    """What waits to be folded: how many rows of accounts, and since how many seconds the oldest of them."""

    rows: int
    lag_seconds: float


@dataclass(frozen=True, slots=True)
class DeliveryGauges:
    """What is to go out: events that nobody has addressed yet, deliveries that wait, and those that were given up.

    `lag_seconds` is for how long the oldest of those that wait has done so.
    """

    unrouted: int
    waiting: int
    parked: int
    lag_seconds: float


@dataclass(frozen=True, slots=True)
class Readings:
    """One look at everything; None is what could not be read."""

    at: datetime
    jobs: list[JobRecord] | None
    parked: Mapping[str, Parked]
    ledger: LedgerGauges | None
    deliveries: DeliveryGauges | None
    holds: int | None


class Gauges:
    def __init__(self, database: Database, jobs: Jobs, balances: Balances, clock: Clock) -> None:
        self._database = database
        self._jobs = jobs
        self._balances = balances
        self._clock = clock

    def read(self) -> Readings:
        """Look once, in four statements and one call of Redis; never raises."""
        now = self._clock.now()
        jobs = unfolded = outbox = holds = None
        parked: Mapping[str, Parked] = {}
        try:
            parked, unfolded, outbox = self._jobs.parked(), self._ledger(now), self._deliveries(now)
            jobs = self._jobs.records()
        except (StoreUnavailable, DBAPIError):  # away, or it answers and does not know the tables
            jobs = None
        try:
            holds = self._balances.open_holds()
        except StoreUnavailable:
            holds = None
        return Readings(now, jobs, parked, unfolded, outbox, holds)

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
        return LedgerGauges(row.rows, _age(row.since, now))

    def _deliveries(self, now: datetime) -> DeliveryGauges:
        waits = and_(deliveries.c.delivered_at.is_(None), deliveries.c.parked_at.is_(None))
        since = select(func.min(deliveries.c.created_at)).where(waits)
        with self._database.read() as connection:
            row = connection.execute(
                select(
                    _count(events.c.routed_at.is_(None)).label("unrouted"),
                    _count(waits).label("waiting"),
                    _count(deliveries.c.parked_at.is_not(None)).label("parked"),
                    since.scalar_subquery().label("since"),
                )
            ).one()
        return DeliveryGauges(row.unrouted, row.waiting, row.parked, _age(row.since, now))


def _count(rows: ColumnElement[bool]) -> ScalarSelect[int]:
    """How many there are; each of these conditions has an index that holds nothing else."""
    return select(func.count()).where(rows).scalar_subquery()


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())

"""Whether this installation is fit for work, part by part.

Only what no request can do without makes a process unready: SQL, and a clock that agrees with Redis's. With Redis,
the worker or beat away the service goes on, degraded, so that no load balancer takes every process out at once.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from threading import Event

from app.clock import Clock, iso
from app.db import Database
from app.errors import StoreUnavailable
from app.store.connection import HotRedis
from app.store.heartbeats import Heartbeats, Part


class State(StrEnum):
    ALIVE = "alive"
    SILENT = "silent"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    RIGHT = "right"
    OFF = "off"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PartHealth:
    state: State
    last_seen_at: str | None = None
    off_by_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    ready: bool
    draining: bool
    db: State
    redis: PartHealth
    worker: PartHealth
    beat: PartHealth
    clock: PartHealth

    @property
    def degraded(self) -> bool:
        return (
            not self.ready
            or State.SILENT in {self.worker.state, self.beat.state}
            or (self.redis.state is not State.CONNECTED)
        )


class Health:
    """`silent_after_seconds` is the age at which a part's last sign of life no longer counts."""

    def __init__(
        self,
        database: Database,
        redis: HotRedis,
        heartbeats: Heartbeats,
        clock: Clock,
        *,
        silent_after_seconds: float,
        max_clock_skew_seconds: float,
    ) -> None:
        self._database = database
        self._redis = redis
        self._heartbeats = heartbeats
        self._clock = clock
        self._silent_after_seconds = silent_after_seconds
        self._max_clock_skew_seconds = max_clock_skew_seconds
        self._draining = Event()

    @property
    def draining(self) -> bool:
        return self._draining.is_set()

    def drain(self) -> None:
        """Tell load balancers to send nothing more; requests that still come are served."""
        self._draining.set()

    def beat_heard(self) -> None:
        """Note that a job sent by beat has reached a worker; raises StoreUnavailable."""
        self._heartbeats.record(Part.JOBS, self._clock.now())

    def readiness(self) -> Readiness:
        """Ask every part once; never raises."""
        now = self._clock.now()
        db = self._db()
        clock = self._clock_against_redis(now)
        worker, beat = self._alive(now)
        return Readiness(
            ready=db is State.CONNECTED and clock.state is not State.OFF and not self.draining,
            draining=self.draining,
            db=db,
            redis=PartHealth(State.DISCONNECTED if clock.state is State.UNKNOWN else State.CONNECTED),
            worker=worker,
            beat=beat,
            clock=clock,
        )

    def _db(self) -> State:
        try:
            self._database.ping()
        except StoreUnavailable:
            return State.DISCONNECTED
        return State.CONNECTED

    def _clock_against_redis(self, now: datetime) -> PartHealth:
        try:
            with self._redis.lease() as lease:
                off_by = now.timestamp() - lease.now()
        except StoreUnavailable:
            return PartHealth(State.UNKNOWN)
        state = State.RIGHT if abs(off_by) <= self._max_clock_skew_seconds else State.OFF
        return PartHealth(state, off_by_seconds=round(off_by, 3))

    def _alive(self, now: datetime) -> tuple[PartHealth, PartHealth]:
        try:
            seen = self._heartbeats.read()
        except StoreUnavailable:
            unknown = PartHealth(State.UNKNOWN)
            return unknown, unknown
        return self._judge(seen[Part.WORKER], now), self._judge(seen[Part.BEAT], now)

    def _judge(self, seen_at: datetime | None, now: datetime) -> PartHealth:
        if seen_at is None or (now - seen_at).total_seconds() > self._silent_after_seconds:
            return PartHealth(State.SILENT, iso(seen_at))
        return PartHealth(State.ALIVE, iso(seen_at))

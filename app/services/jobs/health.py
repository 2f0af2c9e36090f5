"""Whether this installation is fit for work, part by part.

Only what no request can do without makes a process unready: SQL, and a clock that agrees with Redis's. With Redis,
the worker, beat or a job away the service goes on, degraded, so that no load balancer takes every process out at
once. Everybody may ask, so only times and states are told.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from threading import Event

from sqlalchemy.exc import DBAPIError

from app.clock import Clock, iso
from app.errors import StoreUnavailable
from app.services.jobs.jobs import JobRecord, Jobs, is_silent
from app.store.connection import HotRedis
from app.store.heartbeats import Heartbeats, Part


class State(StrEnum):
    ALIVE = "alive"
    SILENT = "silent"
    FAILING = "failing"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    UNMIGRATED = "unmigrated"
    RIGHT = "right"
    OFF = "off"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PartHealth:
    state: State
    last_seen_at: str | None = None
    off_by_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class JobHealth:
    """The last success and the failures since then, None where SQL cannot tell; unknown before the first run."""

    name: str
    state: State
    last_finished_at: str | None = None
    failures: int | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    ready: bool
    draining: bool
    db: State
    redis: PartHealth
    worker: PartHealth
    beat: PartHealth
    clock: PartHealth
    jobs: list[JobHealth]

    @property
    def degraded(self) -> bool:
        background = {self.worker.state, self.beat.state, *(job.state for job in self.jobs)}
        return (
            not self.ready
            or not background.isdisjoint({State.SILENT, State.FAILING})
            or (self.redis.state is not State.CONNECTED)
        )


class Health:
    """`silent_after_seconds` is the age at which a part's last sign of life no longer counts."""

    def __init__(
        self,
        jobs: Jobs,
        redis: HotRedis,
        heartbeats: Heartbeats,
        clock: Clock,
        *,
        silent_after_seconds: float,
        max_clock_skew_seconds: float,
    ) -> None:
        self._jobs = jobs
        self._redis = redis
        self._heartbeats = heartbeats
        self._clock = clock
        self._silent_after_seconds = silent_after_seconds
        self._max_clock_skew_seconds = max_clock_skew_seconds
        # A job that has never run cannot be late before anybody could have run it.
        self._started_at = clock.now()
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
        db, jobs = self._stored(now)
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
            jobs=jobs,
        )

    def _stored(self, now: datetime) -> tuple[State, list[JobHealth]]:
        """Whether SQL answers, and what it says of the jobs: one statement tells both."""
        try:
            records = self._jobs.records()
        except StoreUnavailable:
            state = State.DISCONNECTED
        except DBAPIError:  # it answers, and does not know the table
            state = State.UNMIGRATED
        else:
            return State.CONNECTED, [self._judge_job(record, now) for record in records]
        return state, [JobHealth(name, State.UNKNOWN) for name in self._jobs.names]

    def _judge_job(self, record: JobRecord, now: datetime) -> JobHealth:
        state = State.UNKNOWN if record.last_finished_at is None else State.ALIVE
        # Silent at the earliest when the signs of life would be so too.
        if is_silent(record, now, since=self._started_at, slack_seconds=self._silent_after_seconds):
            state = State.SILENT
        elif record.failures:
            state = State.FAILING
        return JobHealth(record.name, state, iso(record.last_finished_at), record.failures)

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

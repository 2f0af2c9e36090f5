"""The one place where the parts meet."""

from dataclasses import dataclass

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.clock import Clock, SystemClock
from app.config import Settings
from app.db import Database
from app.domain.windows import Calendar
from app.services.budgets import Budgets
from app.services.callers import Callers
from app.services.health import Health
from app.services.key_changes import KeyChanges
from app.services.key_ends import KeyEnds
from app.services.key_maker import KeyMaker
from app.services.key_reads import KeyReads
from app.services.keys import Keys
from app.services.organizations import Organizations
from app.services.snapshots import Snapshots
from app.services.team_members import TeamMembers
from app.services.teams import Teams
from app.services.users import Users
from app.store.connection import HotRedis
from app.store.heartbeats import Heartbeats
from app.store.policies import Policies


@dataclass(frozen=True)
class Services:
    """Everything that a process can do, and what it holds open."""

    settings: Settings
    clock: Clock
    database: Database
    redis: HotRedis
    broker: Redis
    callers: Callers
    keys: Keys
    key_changes: KeyChanges
    key_ends: KeyEnds
    key_reads: KeyReads
    budgets: Budgets
    teams: Teams
    team_members: TeamMembers
    users: Users
    organizations: Organizations
    health: Health

    def close(self) -> None:
        """Let go of every connection."""
        self.database.close()
        self.redis.close()
        self.broker.close()


def build(settings: Settings, clock: Clock | None = None) -> Services:
    """Put the services together; nothing is contacted before it is used."""
    clock = clock or SystemClock()
    database = Database(settings.database_url, pool_size=settings.web_threads, busy_seconds=settings.busy_seconds)
    redis = HotRedis(settings.hot_redis_url)
    policies = Policies(redis, change_seconds=settings.change_seconds, commit_seconds=settings.commit_seconds)
    broker = Redis.from_url(
        settings.redis_url, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
    )
    calendar = Calendar(settings.timezone, settings.budget_reset_time)
    snapshots = Snapshots(database, policies, seconds=settings.snapshot_seconds)
    callers = Callers(snapshots, master_key=settings.master_key)
    maker = KeyMaker(calendar)
    return Services(
        settings=settings,
        clock=clock,
        database=database,
        redis=redis,
        broker=broker,
        callers=callers,
        keys=Keys(
            database,
            policies,
            callers,
            calendar,
            maker,
            custom_keys_allowed=not settings.disable_custom_api_keys,
        ),
        key_changes=KeyChanges(database, policies, callers, calendar),
        key_ends=KeyEnds(database, policies, callers, clock, calendar),
        key_reads=KeyReads(database, calendar),
        budgets=Budgets(database, calendar),
        teams=Teams(database, policies, calendar),
        team_members=TeamMembers(database, policies, calendar),
        users=Users(database, policies, calendar, maker),
        organizations=Organizations(database, policies, calendar),
        health=Health(
            database,
            redis,
            Heartbeats(broker),
            clock,
            silent_after_seconds=3 * settings.heartbeat_seconds,
            max_clock_skew_seconds=settings.max_clock_skew_seconds,
        ),
    )

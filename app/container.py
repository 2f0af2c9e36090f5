"""The one place where the parts meet."""

from dataclasses import dataclass
from random import random

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.broker import CeleryDispatch
from app.channels import carriers_of, channels_of, senders_of
from app.clock import Clock, SystemClock
from app.config import Settings
from app.db import Database
from app.domain import callback_targets
from app.domain.deliveries import Subject
from app.domain.rotations import DEFAULT_GRACE
from app.domain.windows import Calendar
from app.integrations.destinations import Destinations
from app.integrations.outbound import Fence
from app.job_table import jobs_of
from app.services.access.callers import Callers
from app.services.audit.audit_reads import AuditReads
from app.services.budgets.budget_changes import BudgetChanges
from app.services.budgets.budget_ends import BudgetEnds
from app.services.budgets.budgets import Budgets
from app.services.budgets.calendars import Calendars
from app.services.call_logs.call_log_routing import CallLogRouting, forget_delivered
from app.services.call_logs.call_logs import CallLogs
from app.services.call_logs.callback_probes import CallbackProbes
from app.services.call_logs.callback_sender import CallbackSender
from app.services.call_logs.key_health import KeyHealth
from app.services.decisions.decisions import Decisions
from app.services.decisions.estimating import Estimating
from app.services.decisions.explaining import Explaining
from app.services.decisions.judging import Judging
from app.services.decisions.prices import Prices
from app.services.decisions.reaping import Reaping
from app.services.decisions.rebasing import Rebasing
from app.services.decisions.reservations import Reservations
from app.services.decisions.settlements import Settlements
from app.services.decisions.snapshots import Snapshots
from app.services.events.deliveries import Deliveries
from app.services.events.event_reads import EventReads
from app.services.events.event_replay import EventReplay
from app.services.events.event_routing import EventRouting
from app.services.jobs.gauges import Gauges
from app.services.jobs.health import Health
from app.services.jobs.jobs import Jobs
from app.services.keys.catalogue import Catalogue
from app.services.keys.key_bulk import KeyBulk
from app.services.keys.key_changes import KeyChanges
from app.services.keys.key_ends import KeyEnds
from app.services.keys.key_maker import KeyMaker
from app.services.keys.key_reads import KeyReads
from app.services.keys.key_secrets import KeySecrets
from app.services.keys.key_spend import KeySpend
from app.services.keys.keys import Keys
from app.services.ledger.ledger_check import LedgerCheck
from app.services.ledger.relieving import Relieving
from app.services.organizations.organization_changes import OrganizationChanges
from app.services.organizations.organization_ends import OrganizationEnds
from app.services.organizations.organization_lists import OrganizationLists
from app.services.organizations.organization_members import OrganizationMembers
from app.services.organizations.organizations import Organizations
from app.services.reports.reports import Reports
from app.services.rotations.key_rotation import KeyRotation
from app.services.rotations.mailed_keys import MailedKeys
from app.services.rotations.rotation_ends import RotationEnds
from app.services.rotations.rotation_ways import RotationWays
from app.services.rotations.rotations import Rotations
from app.services.sealing.sealing import Sealer
from app.services.sealing.secret_rotation import SecretRotation
from app.services.teams.member_changes import MemberChanges
from app.services.teams.member_ends import MemberEnds
from app.services.teams.member_spend import MemberSpend
from app.services.teams.team_callbacks import TeamCallbacks
from app.services.teams.team_changes import TeamChanges
from app.services.teams.team_ends import TeamEnds
from app.services.teams.team_keys import TeamKeys
from app.services.teams.team_lists import TeamLists
from app.services.teams.team_members import TeamMembers
from app.services.teams.team_permissions import TeamPermissions
from app.services.teams.teams import Teams
from app.services.users.user_changes import UserChanges
from app.services.users.user_ends import UserEnds
from app.services.users.user_reads import UserReads
from app.services.users.users import Users
from app.setting_variables import AfterRedisLoss, WithoutRedis
from app.store.balances import Balances
from app.store.connection import HotRedis
from app.store.heartbeats import Heartbeats
from app.store.policies import Policies
from app.store.replies import Replies


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
    key_bulk: KeyBulk
    key_rotation: KeyRotation
    key_spend: KeySpend
    key_ends: KeyEnds
    key_reads: KeyReads
    key_health: KeyHealth
    callback_probes: CallbackProbes
    secret_rotation: SecretRotation
    decisions: Decisions
    explaining: Explaining
    settlements: Settlements
    call_logs: CallLogs
    ledger_check: LedgerCheck
    budgets: Budgets
    calendars: Calendars
    budget_changes: BudgetChanges
    budget_ends: BudgetEnds
    teams: Teams
    team_changes: TeamChanges
    team_ends: TeamEnds
    team_lists: TeamLists
    team_members: TeamMembers
    member_changes: MemberChanges
    member_spend: MemberSpend
    team_callbacks: TeamCallbacks
    team_keys: TeamKeys
    team_permissions: TeamPermissions
    member_ends: MemberEnds
    users: Users
    user_changes: UserChanges
    user_reads: UserReads
    user_ends: UserEnds
    organizations: Organizations
    reports: Reports
    organization_changes: OrganizationChanges
    organization_ends: OrganizationEnds
    organization_lists: OrganizationLists
    organization_members: OrganizationMembers
    audit_reads: AuditReads
    event_reads: EventReads
    event_replay: EventReplay
    catalogue: Catalogue
    health: Health
    jobs: Jobs
    gauges: Gauges

    def close(self) -> None:
        """Let go of every connection."""
        self.database.close()
        self.redis.close()
        self.broker.close()


def open_store(settings: Settings) -> Database:
    """The key store; not contacted before it is used."""
    return Database(settings.database_url, pool_size=settings.web_threads, busy_seconds=settings.busy_seconds)


def build(settings: Settings, clock: Clock | None = None, database: Database | None = None) -> Services:
    """Put the services together, over a key store that is open already if one is given.

    Nothing is contacted before it is used.
    """
    clock = clock or SystemClock()
    database = database or open_store(settings)
    redis = HotRedis(settings.hot_redis_url, seconds=settings.hot_redis_seconds)
    policies = Policies(redis, change_seconds=settings.change_seconds, commit_seconds=settings.commit_seconds)
    broker = Redis.from_url(
        settings.redis_url, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
    )
    replies = Replies(broker)
    calendar = Calendar(settings.timezone, settings.budget_reset_time, settings.budget_rollover)
    snapshots = Snapshots(database, policies, seconds=settings.snapshot_seconds)
    callers = Callers(snapshots, master_key=settings.master_key)
    balances = Balances(
        redis,
        longest_lease_seconds=settings.longest_lease_seconds,
        refuse_after_loss_seconds=(
            settings.longest_lease_seconds
            if settings.after_redis_loss is AfterRedisLoss.REFUSE_BUDGETED_FOR_ONE_LEASE
            else 0
        ),
    )
    rebasing = Rebasing(database, balances, calendar)
    relieving = Relieving(calendar, alert_percentages=settings.budget_alert_percentages)
    reaping = Reaping(database, balances, rebasing, clock)
    reservations = Reservations(settings.salt_key, settings.previous_salt_key)
    estimating = Estimating(Prices(settings.price_file), default_nanos=settings.default_estimate_nanos)
    judging = Judging(
        estimating,
        calendar,
        lease_seconds=settings.lease_seconds,
        longest_lease_seconds=settings.longest_lease_seconds,
        user_budget_on_team_keys=settings.user_budget_on_team_keys,
    )
    call_logs = CallLogs(database, reservations, calendar, log_messages=settings.log_messages)
    secrets = KeySecrets(callers, custom_keys_allowed=not settings.disable_custom_api_keys)
    sealer = Sealer(settings.salt_key, settings.previous_salt_key)
    mailed_keys = MailedKeys(sealer, allowed=settings.messages.mail_keys)
    ways = RotationWays(carriers_of(settings.messages))
    maker = KeyMaker(calendar, mailed_keys, ways, settings.expiry_notice_days)
    changes = KeyChanges(
        database, policies, callers, calendar, sealer, rebasing, ways, settings.expiry_notice_days
    )
    bulk = KeyBulk(database, policies, callers, changes, calendar)
    ends = KeyEnds(database, policies, callers, clock, calendar)
    key_reads = KeyReads(database, calendar)
    budgets = Budgets(database, calendar)
    teams = Teams(database, policies, calendar, sealer)
    user_reads = UserReads(database, calendar)
    organizations = Organizations(database, policies, calendar)
    destinations = Destinations(gcs_endpoint=settings.gcs_endpoint)
    fence = Fence(settings.outbound_allow, seconds=settings.outbound_seconds, clock=clock)
    deliveries = Deliveries(
        database,
        clock,
        [EventRouting(database, channels_of(settings.messages)), CallLogRouting(database)],
        {
            **senders_of(settings.messages, sealer, clock, settings.outbound_seconds),
            callback_targets.PREFIX: CallbackSender(database, sealer, destinations, fence),
        },
        {Subject.LOG: forget_delivered},
        random,
        seconds=settings.outbound_seconds,
        hours=settings.delivery_hours,
    )
    grace = settings.key_rotation_grace or DEFAULT_GRACE
    rotation_ends = RotationEnds(database, policies, clock, calendar, grace=grace)
    rotations = Rotations(database, policies, clock, calendar, ways, rotation_ends, sealer, grace=grace)
    jobs = jobs_of(settings, database, clock, calendar, policies, rebasing, reaping, ends, deliveries, rotations)
    return Services(
        settings=settings,
        clock=clock,
        database=database,
        redis=redis,
        broker=broker,
        callers=callers,
        keys=Keys(database, policies, secrets, calendar, maker, sealer),
        key_changes=changes,
        key_bulk=bulk,
        key_rotation=KeyRotation(
            database,
            policies,
            callers,
            secrets,
            changes,
            calendar,
            mailed_keys,
            default_grace=settings.key_rotation_grace,
        ),
        key_spend=KeySpend(database, policies, callers, calendar, rebasing, relieving),
        key_ends=ends,
        key_reads=key_reads,
        key_health=KeyHealth(
            database,
            CeleryDispatch(settings.redis_url, broker),
            replies,
            seconds=settings.key_health_seconds,
            waiting=settings.key_health_waiting,
        ),
        callback_probes=CallbackProbes(database, calendar, clock, sealer, destinations, fence, replies),
        secret_rotation=SecretRotation(database, sealer, clock),
        decisions=Decisions(
            callers,
            snapshots,
            judging,
            balances,
            rebasing,
            reaping,
            reservations,
            clock,
            budget_exceeded_status=settings.budget_exceeded_status,
            serve_unlimited=settings.without_redis is WithoutRedis.SERVE_UNLIMITED,
            seconds=settings.deciding_seconds,
            skew_seconds=settings.max_clock_skew_seconds,
        ),
        ledger_check=LedgerCheck(database, rebasing),
        explaining=Explaining(
            database,
            snapshots,
            judging,
            balances,
            reaping,
            calendar,
            budget_exceeded_status=settings.budget_exceeded_status,
        ),
        settlements=Settlements(
            database,
            snapshots,
            judging,
            balances,
            rebasing,
            reaping,
            reservations,
            estimating,
            call_logs,
            calendar,
        ),
        budgets=budgets,
        calendars=Calendars(calendar, key_reads, budgets, teams, user_reads, organizations),
        call_logs=call_logs,
        budget_changes=BudgetChanges(database, policies, calendar),
        budget_ends=BudgetEnds(database, policies, calendar),
        teams=teams,
        team_changes=TeamChanges(database, policies, calendar, sealer),
        member_spend=MemberSpend(database, policies, calendar, rebasing, relieving),
        team_callbacks=TeamCallbacks(database, policies, calendar, sealer),
        team_keys=TeamKeys(database, bulk),
        team_permissions=TeamPermissions(database, calendar),
        team_ends=TeamEnds(database, policies, calendar),
        team_lists=TeamLists(database, calendar, available=settings.available_teams),
        team_members=TeamMembers(database, policies, calendar, available=settings.available_teams),
        member_changes=MemberChanges(database, policies, calendar),
        member_ends=MemberEnds(database, policies, calendar),
        users=Users(database, policies, calendar, maker, sealer),
        user_changes=UserChanges(database, policies, calendar, rebasing),
        user_reads=user_reads,
        user_ends=UserEnds(database, policies, calendar),
        organizations=organizations,
        reports=Reports(database, calendar),
        organization_changes=OrganizationChanges(database, policies, calendar),
        organization_ends=OrganizationEnds(database, policies, calendar),
        organization_lists=OrganizationLists(database, calendar),
        organization_members=OrganizationMembers(database, policies, calendar),
        audit_reads=AuditReads(database),
        event_reads=EventReads(database),
        event_replay=EventReplay(database),
        catalogue=Catalogue(database),
        jobs=jobs,
        gauges=Gauges(database, jobs, balances, clock),
        health=Health(
            jobs,
            redis,
            Heartbeats(broker),
            clock,
            silent_after_seconds=settings.silent_after_seconds,
            max_clock_skew_seconds=settings.max_clock_skew_seconds,
        ),
    )

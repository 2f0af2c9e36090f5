"""Settings: read once from a mapping (the environment of a process), checked together, frozen.

A missing or bad value never surfaces later: `parse` names every fault at once in one `BadSettings`.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import time
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo

from app import message_settings
from app import setting_parsers as parsers
from app.dispatch import TaskName
from app.domain import durations
from app.domain.durations import Duration
from app.domain.minting import PREFIX, Secret
from app.domain.outbound import Allowance
from app.message_settings import MessageSettings

# Keys that stand in everybody's tutorial: never a secret on an address that others can reach.
WELL_KNOWN_MASTER_KEYS = frozenset({"sk-1234", "sk-12345", "sk-123456", "sk-master", "sk-admin", "sk-test"})
MINIMUM_PUBLIC_MASTER_KEY = 16
# A settle may be sent again for 31 days after its verify, and is told from a new one by its row.
SHORTEST_LEDGER_DAYS = 32
# Until then a call that was made before its key was deleted may be charged.
SHORTEST_ARCHIVE_DAYS = 32
# What it does can wait for days, and a run goes on batch after batch.
PURGE_INTERVAL_SECONDS = 3600.0


class WithoutRedis(StrEnum):
    """What verify does while Redis is away: refuse all, or serve from SQL what has no budget and no limit."""

    REFUSE = "refuse"
    SERVE_UNLIMITED = "serve_unlimited"


class AfterRedisLoss(StrEnum):
    """What verify does when Redis was lost: go on, or let no budgeted call pass until every old hold is over."""

    ALLOW = "allow"
    REFUSE_BUDGETED_FOR_ONE_LEASE = "refuse_budgeted_for_one_lease"


class BadSettings(Exception):
    """One or more settings are missing or wrong; the text has a line for each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class Settings:
    """Everything that a process of Keyledger can be told. Lengths are seconds, sizes bytes."""

    # URLs may hold passwords: they are no part of the printed form.
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    hot_redis_url: str = field(repr=False)
    master_key: Secret
    salt_key: Secret
    # What an earlier salt key has sealed can be read, until `keyledger secrets rotate` has sealed it anew.
    previous_salt_key: Secret | None = None
    host: str = "127.0.0.1"
    port: int = 4000
    data_dir: Path = Path(".keyledger")
    timezone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    budget_reset_time: time = time(0)
    budget_exceeded_status: int = 422
    disable_custom_api_keys: bool = False
    # Teams that every user may join.
    available_teams: tuple[str, ...] = ()
    # How long an old secret lives on after a rotation that does not say.
    key_rotation_grace: Duration | None = None
    max_body_bytes: int = 1024 * 1024
    busy_seconds: float = 5.0
    # How long the hot path waits for an answer of its Redis.
    hot_redis_seconds: float = 0.25
    web_processes: int = 1
    web_threads: int = 8
    max_clock_skew_seconds: float = 2.0
    # How long a writer may take between announcing a change and committing it, and how long the commit itself.
    change_seconds: float = 15.0
    commit_seconds: float = 5.0
    # Bounds what a double fault (a killed writer and a lost Redis) can leave behind in a process.
    snapshot_seconds: float = 60.0
    expiry_interval_seconds: float = 5.0
    reset_interval_seconds: float = 5.0
    # How long the ledger keeps every single row; None keeps them for ever.
    ledger_days: int | None = None
    # How long a key is kept after its expiry, the archive remembers what was deleted, and the audit is kept; None:
    # for ever.
    expired_key_days: int | None = None
    archive_days: int | None = None
    audit_days: int | None = None
    # How often what waits is delivered, when it is given up, and how long events are kept; None: for ever.
    delivery_interval_seconds: float = 2.0
    delivery_hours: int = 72
    event_days: int | None = None
    heartbeat_seconds: float = 5.0
    # What URLs of keys' owners may lead to beside the public internet.
    outbound_allow: Allowance = field(default_factory=Allowance)
    # How long a call is held, and the most that a gateway may ask for.
    lease_seconds: float = 600.0
    longest_lease_seconds: float = 3600.0
    # What is held for a call of which nobody says what it may cost: one US cent.
    default_estimate_nanos: int = 10_000_000
    # LiteLLM holds an owner's budget against personal keys only.
    user_budget_on_team_keys: bool = True
    without_redis: WithoutRedis = WithoutRedis.REFUSE
    after_redis_loss: AfterRedisLoss = AfterRedisLoss.ALLOW
    fold_interval_seconds: float = 2.0
    # How often budgets whose caps were changed are looked at, and jobs for their silence.
    watch_interval_seconds: float = 5.0
    # At how much of a budget's cap an alert goes out where a key does not say, and how long before a key expires.
    budget_alert_percentages: tuple[int, ...] = (80,)
    expiry_notice_days: tuple[int, ...] = (1, 7, 30)
    reap_interval_seconds: float = 5.0
    # How long a log of a call is kept that no callback takes, and how long one is known that is told again.
    call_log_days: int = 7
    # Whether logs of calls hold the bodies of messages where neither the key nor its team says so.
    log_messages: bool = False
    # How long one delivery to the outside may take as a whole.
    outbound_seconds: float = 5.0
    # How long /key/health waits for the worker, and how many requests may wait in one process.
    key_health_seconds: float = 10.0
    key_health_waiting: int = 2
    # Prices of models that go before those of the bundled list.
    price_file: Path | None = None
    gcs_endpoint: str = "https://storage.googleapis.com"
    drain_seconds: float = 3.0
    # Whoever brings it may read /metrics without being a caller: while SQL is away nobody is known.
    metrics_token: Secret | None = None
    # Where worker and beat tell what they count; None: nowhere.
    metrics_host: str = "127.0.0.1"
    worker_metrics_port: int | None = None
    beat_metrics_port: int | None = None
    # Where the processes of one program count together; set by whoever starts them.
    metrics_dir: Path | None = None
    log_level: str = "INFO"
    messages: MessageSettings = field(default_factory=MessageSettings)

    @classmethod
    def parse(cls, environment: Mapping[str, str]) -> "Settings":
        """Build the settings from environment variables; raises BadSettings naming every fault."""
        return _Reader(environment).settings()

    @property
    def silent_after_seconds(self) -> float:
        """The age at which a last sign of life no longer counts."""
        return 3 * self.heartbeat_seconds

    @property
    def intervals(self) -> Mapping[TaskName, float]:
        """How often each periodic task is sent, in seconds: beat goes by it, and who judges its silence."""
        return {
            TaskName.EXPIRE_KEYS: self.expiry_interval_seconds,
            TaskName.RESET_BUDGETS: self.reset_interval_seconds,
            TaskName.END_INCREASES: self.expiry_interval_seconds,
            TaskName.END_GRACES: self.expiry_interval_seconds,
            TaskName.FOLD_LEDGER: self.fold_interval_seconds,
            TaskName.WATCH_BUDGETS: self.watch_interval_seconds,
            TaskName.ANNOUNCE_EXPIRY: self.expiry_interval_seconds,
            TaskName.WATCH_JOBS: self.watch_interval_seconds,
            TaskName.REAP_HOLDS: self.reap_interval_seconds,
            TaskName.PURGE_EXPIRED_KEYS: PURGE_INTERVAL_SECONDS,
            TaskName.PURGE_ARCHIVE: PURGE_INTERVAL_SECONDS,
            TaskName.PURGE_AUDIT: PURGE_INTERVAL_SECONDS,
            TaskName.PURGE_LEDGER: PURGE_INTERVAL_SECONDS,
            # One sweep may take twice the seconds of a delivery, and is not silent for that.
            TaskName.DELIVER: max(self.delivery_interval_seconds, self.outbound_seconds / 2),
            TaskName.PURGE_EVENTS: PURGE_INTERVAL_SECONDS,
            TaskName.PURGE_CALL_LOGS: PURGE_INTERVAL_SECONDS,
            TaskName.HEARTBEAT: self.heartbeat_seconds,
        }


def from_environment() -> Settings:
    """The settings of this process."""
    return Settings.parse(os.environ)


class _Reader:
    """Collects values and faults side by side, so that one start shows all that is wrong."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {name: value.strip() for name, value in environment.items() if value.strip()}
        self._faults: list[str] = []

    def settings(self) -> Settings:
        redis_url = self._required("REDIS_URL", parsers.redis_url)
        values = {
            "database_url": self._required("DATABASE_URL", parsers.database_url),
            "redis_url": redis_url,
            "hot_redis_url": self._value("KEYLEDGER_HOT_REDIS_URL", parsers.redis_url, redis_url),
            "master_key": self._required("KEYLEDGER_MASTER_KEY", parsers.master_key, "LITELLM_MASTER_KEY"),
            "salt_key": self._required("KEYLEDGER_SALT_KEY", parsers.salt_key, "LITELLM_SALT_KEY"),
        }
        values |= self._optional(_OPTIONAL)
        messages = self._optional(message_settings.OPTIONAL)
        self._faults += message_settings.faults(messages)
        self._check_master_key(values)
        self._check_commit(values)
        self._check_key_health(values)
        self._check_lease(values)
        if self._faults:
            raise BadSettings(self._faults)
        return Settings(**values, messages=MessageSettings(**messages))  # type: ignore[arg-type]

    def _optional(self, table: tuple[tuple[str, str, Callable[[str], object]], ...]) -> dict[str, object]:
        """The settings of a table that are set."""
        return {
            attribute: self._value(name, parse, None)
            for name, attribute, parse in table
            if name in self._environment
        }

    def _value(self, name: str, parse: Callable[[str], object], default: object) -> object:
        raw = self._environment.get(name)
        if raw is None:
            return default
        try:
            return parse(raw)
        except (ValueError, OSError) as error:
            self._faults.append(f"{name} is wrong: {error}.")
            return default

    def _required(self, name: str, parse: Callable[[str], object], alternative: str = "") -> object:
        chosen = name if name in self._environment or alternative not in self._environment else alternative
        if chosen not in self._environment:
            self._faults.append(f"{name} is missing.")
        return self._value(chosen, parse, None)

    def _check_master_key(self, values: dict[str, object]) -> None:
        master = values["master_key"]
        host = str(values.get("host", Settings.host))
        if not isinstance(master, Secret) or parsers.is_loopback(host):
            return
        plaintext = master.reveal()
        random_part = plaintext.removeprefix(PREFIX)
        if plaintext in WELL_KNOWN_MASTER_KEYS or len(random_part) < MINIMUM_PUBLIC_MASTER_KEY:
            self._faults.append(
                f"KEYLEDGER_MASTER_KEY is too short or well known to listen on {host}: "
                f"use at least {MINIMUM_PUBLIC_MASTER_KEY} random characters after '{PREFIX}'."
            )

    def _check_commit(self, values: dict[str, object]) -> None:
        change = values.get("change_seconds", Settings.change_seconds)
        commit = values.get("commit_seconds", Settings.commit_seconds)
        if isinstance(change, float) and isinstance(commit, float) and commit >= change:
            self._faults.append("KEYLEDGER_COMMIT_SECONDS must be below KEYLEDGER_CHANGE_SECONDS.")

    def _check_key_health(self, values: dict[str, object]) -> None:
        waits = values.get("key_health_seconds", Settings.key_health_seconds)
        delivers = values.get("outbound_seconds", Settings.outbound_seconds)
        if isinstance(waits, float) and isinstance(delivers, float) and delivers >= waits:
            self._faults.append("KEYLEDGER_OUTBOUND_SECONDS must be below KEYLEDGER_KEY_HEALTH_SECONDS.")

    def _check_lease(self, values: dict[str, object]) -> None:
        lease = values.get("lease_seconds", Settings.lease_seconds)
        longest = values.get("longest_lease_seconds", Settings.longest_lease_seconds)
        if isinstance(lease, float) and isinstance(longest, float) and lease > longest:
            self._faults.append("KEYLEDGER_LEASE_SECONDS must not be above KEYLEDGER_LONGEST_LEASE_SECONDS.")


_OPTIONAL: tuple[tuple[str, str, Callable[[str], object]], ...] = (
    ("KEYLEDGER_HOST", "host", str),
    ("PORT", "port", parsers.integer(1, 65535)),
    ("KEYLEDGER_DATA_DIR", "data_dir", Path),
    ("KEYLEDGER_TIMEZONE", "timezone", parsers.zone),
    ("KEYLEDGER_BUDGET_RESET_TIME", "budget_reset_time", parsers.time_of_day),
    ("KEYLEDGER_BUDGET_EXCEEDED_STATUS", "budget_exceeded_status", parsers.budget_status),
    ("KEYLEDGER_DISABLE_CUSTOM_API_KEYS", "disable_custom_api_keys", parsers.flag),
    ("KEYLEDGER_AVAILABLE_TEAMS", "available_teams", parsers.names),
    ("LITELLM_KEY_ROTATION_GRACE_PERIOD", "key_rotation_grace", durations.parse),
    ("KEYLEDGER_MAX_BODY_BYTES", "max_body_bytes", parsers.integer(1024, 64 * 1024 * 1024)),
    ("KEYLEDGER_BUSY_SECONDS", "busy_seconds", parsers.seconds(0.05, 60)),
    ("KEYLEDGER_HOT_REDIS_SECONDS", "hot_redis_seconds", parsers.seconds(0.05, 10)),
    ("WEB_CONCURRENCY", "web_processes", parsers.integer(1, 256)),
    ("KEYLEDGER_WEB_THREADS", "web_threads", parsers.integer(1, 256)),
    ("KEYLEDGER_MAX_CLOCK_SKEW_SECONDS", "max_clock_skew_seconds", parsers.seconds(0.1, 60)),
    ("KEYLEDGER_CHANGE_SECONDS", "change_seconds", parsers.seconds(1, 300)),
    ("KEYLEDGER_COMMIT_SECONDS", "commit_seconds", parsers.seconds(0.1, 60)),
    ("KEYLEDGER_SNAPSHOT_SECONDS", "snapshot_seconds", parsers.seconds(1, 3600)),
    ("KEYLEDGER_EXPIRY_INTERVAL_SECONDS", "expiry_interval_seconds", parsers.seconds(1, 3600)),
    ("KEYLEDGER_RESET_INTERVAL_SECONDS", "reset_interval_seconds", parsers.seconds(1, 3600)),
    ("KEYLEDGER_LEDGER_DAYS", "ledger_days", parsers.integer(SHORTEST_LEDGER_DAYS, 36_500)),
    ("KEYLEDGER_EXPIRED_KEY_DAYS", "expired_key_days", parsers.integer(1, 36_500)),
    ("KEYLEDGER_ARCHIVE_DAYS", "archive_days", parsers.integer(SHORTEST_ARCHIVE_DAYS, 36_500)),
    ("KEYLEDGER_AUDIT_DAYS", "audit_days", parsers.integer(1, 36_500)),
    ("KEYLEDGER_DELIVERY_INTERVAL_SECONDS", "delivery_interval_seconds", parsers.seconds(1, 3600)),
    ("KEYLEDGER_DELIVERY_HOURS", "delivery_hours", parsers.integer(1, 8760)),
    ("KEYLEDGER_EVENT_DAYS", "event_days", parsers.integer(1, 36_500)),
    ("KEYLEDGER_HEARTBEAT_SECONDS", "heartbeat_seconds", parsers.seconds(1, 60)),
    ("KEYLEDGER_PREVIOUS_SALT_KEY", "previous_salt_key", parsers.salt_key),
    ("KEYLEDGER_LEASE_SECONDS", "lease_seconds", parsers.seconds(1, 86_400)),
    ("KEYLEDGER_LONGEST_LEASE_SECONDS", "longest_lease_seconds", parsers.seconds(1, 86_400)),
    ("KEYLEDGER_DEFAULT_ESTIMATE", "default_estimate_nanos", parsers.dollars),
    ("KEYLEDGER_USER_BUDGET_ON_TEAM_KEYS", "user_budget_on_team_keys", parsers.flag),
    ("KEYLEDGER_WITHOUT_REDIS", "without_redis", parsers.choice(WithoutRedis)),
    ("KEYLEDGER_AFTER_REDIS_LOSS", "after_redis_loss", parsers.choice(AfterRedisLoss)),
    ("KEYLEDGER_FOLD_INTERVAL_SECONDS", "fold_interval_seconds", parsers.seconds(1, 3600)),
    ("KEYLEDGER_WATCH_INTERVAL_SECONDS", "watch_interval_seconds", parsers.seconds(1, 3600)),
    ("KEYLEDGER_BUDGET_ALERT_PERCENTAGES", "budget_alert_percentages", parsers.integers(1, 100)),
    ("KEYLEDGER_EXPIRY_NOTICE_DAYS", "expiry_notice_days", parsers.integers(1, 3650)),
    ("KEYLEDGER_REAP_INTERVAL_SECONDS", "reap_interval_seconds", parsers.seconds(1, 3600)),
    ("KEYLEDGER_CALL_LOG_DAYS", "call_log_days", parsers.integer(1, 365)),
    ("KEYLEDGER_LOG_MESSAGES", "log_messages", parsers.flag),
    ("KEYLEDGER_OUTBOUND_ALLOW", "outbound_allow", Allowance.parse),
    ("KEYLEDGER_OUTBOUND_SECONDS", "outbound_seconds", parsers.seconds(0.1, 20)),
    ("KEYLEDGER_KEY_HEALTH_SECONDS", "key_health_seconds", parsers.seconds(0.2, 60)),
    ("KEYLEDGER_KEY_HEALTH_WAITING", "key_health_waiting", parsers.integer(1, 256)),
    ("KEYLEDGER_PRICE_FILE", "price_file", parsers.price_file),
    ("KEYLEDGER_GCS_ENDPOINT", "gcs_endpoint", parsers.http_url),
    ("KEYLEDGER_DRAIN_SECONDS", "drain_seconds", parsers.seconds(0, 60)),
    ("KEYLEDGER_METRICS_TOKEN", "metrics_token", parsers.token),
    ("KEYLEDGER_METRICS_HOST", "metrics_host", str),
    ("KEYLEDGER_WORKER_METRICS_PORT", "worker_metrics_port", parsers.integer(1, 65535)),
    ("KEYLEDGER_BEAT_METRICS_PORT", "beat_metrics_port", parsers.integer(1, 65535)),
    ("PROMETHEUS_MULTIPROC_DIR", "metrics_dir", Path),
    ("KEYLEDGER_LOG_LEVEL", "log_level", parsers.log_level),
)

"""Settings: read once from a mapping (the environment of a process), checked together, frozen.

A missing or bad value never surfaces later: `parse` names every fault at once in one `BadSettings`.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from zoneinfo import ZoneInfo

from app import message_settings
from app import setting_parsers as parsers
from app.dispatch import TaskName
from app.domain.durations import Duration
from app.domain.minting import PREFIX, Secret
from app.domain.outbound import Allowance
from app.message_settings import MessageSettings
from app.setting_variables import OPTIONAL, AfterRedisLoss, WithoutRedis

# Keys that stand in everybody's tutorial: never a secret on an address that others can reach.
WELL_KNOWN_MASTER_KEYS = frozenset({"sk-1234", "sk-12345", "sk-123456", "sk-master", "sk-admin", "sk-test"})
MINIMUM_PUBLIC_MASTER_KEY = 16


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
    # Whether a window that does not say it itself carries on what was spent beyond its cap.
    budget_rollover: bool = False
    budget_exceeded_status: int = 422
    disable_custom_api_keys: bool = False
    # Teams that every user may join.
    available_teams: tuple[str, ...] = ()
    # How long an old secret lives on after a rotation that does not say; None: not at all, or a day if scheduled.
    key_rotation_grace: Duration | None = None
    max_body_bytes: int = 1024 * 1024
    busy_seconds: float = 5.0
    # How long the hot path waits for an answer of its Redis.
    hot_redis_seconds: float = 0.25
    # How long a verify may take.
    deciding_seconds: float = 5.0
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
    rotation_interval_seconds: float = 10.0
    # How long the ledger keeps every single row; None keeps them for ever.
    ledger_days: int | None = None
    # How long a key is kept after its expiry, the archive remembers what was deleted, and the audit is kept; None:
    # for ever.
    expired_key_days: int | None = None
    archive_days: int | None = None
    audit_days: int | None = None
    # How often what has been kept long enough is looked for: a run is short, and many get through an old store.
    purge_interval_seconds: float = 60.0
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
            TaskName.ROTATE_KEYS: self.rotation_interval_seconds,
            TaskName.FOLD_LEDGER: self.fold_interval_seconds,
            TaskName.WATCH_BUDGETS: self.watch_interval_seconds,
            TaskName.ANNOUNCE_EXPIRY: self.expiry_interval_seconds,
            TaskName.WATCH_JOBS: self.watch_interval_seconds,
            TaskName.REAP_HOLDS: self.reap_interval_seconds,
            TaskName.PURGE_EXPIRED_KEYS: self.purge_interval_seconds,
            TaskName.PURGE_ARCHIVE: self.purge_interval_seconds,
            TaskName.PURGE_AUDIT: self.purge_interval_seconds,
            TaskName.PURGE_LEDGER: self.purge_interval_seconds,
            # One sweep may take twice the seconds of a delivery, and is not silent for that.
            TaskName.DELIVER: max(self.delivery_interval_seconds, self.outbound_seconds / 2),
            TaskName.PURGE_EVENTS: self.purge_interval_seconds,
            TaskName.PURGE_CALL_LOGS: self.purge_interval_seconds,
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
        values |= self._optional(OPTIONAL)
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

"""Settings: read once from a mapping (the environment of a process), checked together, frozen.

A missing or bad value never surfaces later: `parse` names every fault at once in one `BadSettings`.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import time
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from app.db import normalise_url
from app.dispatch import TaskName
from app.domain import durations, money, outbound, prices
from app.domain.durations import Duration
from app.domain.minting import PREFIX, Secret
from app.domain.outbound import Allowance, UnusableUrl
from app.domain.values import InvalidValue

# Keys that stand in everybody's tutorial: never a secret on an address that others can reach.
WELL_KNOWN_MASTER_KEYS = frozenset({"sk-1234", "sk-12345", "sk-123456", "sk-master", "sk-admin", "sk-test"})
MINIMUM_PUBLIC_MASTER_KEY = 16
# A settle may be sent again for 31 days after its verify, and is told from a new one by its row.
SHORTEST_LEDGER_DAYS = 32
# What it does can wait for days, and a run goes on batch after batch.
PURGE_INTERVAL_SECONDS = 3600.0
_TIME_NEEDED = "a time of day is needed, such as 06:30"


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
    # How long an old secret lives on after a rotation that does not say.
    key_rotation_grace: Duration | None = None
    max_body_bytes: int = 1024 * 1024
    busy_seconds: float = 5.0
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
    reap_interval_seconds: float = 5.0
    # How long one delivery to the outside may take as a whole.
    outbound_seconds: float = 5.0
    # How long /key/health waits for the worker, and how many requests may wait in one process.
    key_health_seconds: float = 10.0
    key_health_waiting: int = 2
    # Prices of models that go before those of the bundled list.
    price_file: Path | None = None
    gcs_endpoint: str = "https://storage.googleapis.com"
    drain_seconds: float = 3.0
    log_level: str = "INFO"

    @classmethod
    def parse(cls, environment: Mapping[str, str]) -> "Settings":
        """Build the settings from environment variables; raises BadSettings naming every fault."""
        return _Reader(environment).settings()

    @property
    def intervals(self) -> Mapping[TaskName, float]:
        """How often each periodic task is sent, in seconds: beat goes by it, and who judges its silence."""
        return {
            TaskName.EXPIRE_KEYS: self.expiry_interval_seconds,
            TaskName.RESET_BUDGETS: self.reset_interval_seconds,
            TaskName.END_INCREASES: self.expiry_interval_seconds,
            TaskName.END_GRACES: self.expiry_interval_seconds,
            TaskName.FOLD_LEDGER: self.fold_interval_seconds,
            TaskName.REAP_HOLDS: self.reap_interval_seconds,
            TaskName.PURGE_LEDGER: PURGE_INTERVAL_SECONDS,
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
        redis_url = self._required("REDIS_URL", _redis_url)
        values = {
            "database_url": self._required("DATABASE_URL", _database_url),
            "redis_url": redis_url,
            "hot_redis_url": self._value("KEYLEDGER_HOT_REDIS_URL", _redis_url, redis_url),
            "master_key": self._required("KEYLEDGER_MASTER_KEY", _master_key, "LITELLM_MASTER_KEY"),
            "salt_key": self._required("KEYLEDGER_SALT_KEY", _salt_key, "LITELLM_SALT_KEY"),
        }
        for name, attribute, parse in _OPTIONAL:
            if name in self._environment:
                values[attribute] = self._value(name, parse, None)
        self._check_master_key(values)
        self._check_commit(values)
        self._check_key_health(values)
        self._check_lease(values)
        if self._faults:
            raise BadSettings(self._faults)
        return Settings(**values)  # type: ignore[arg-type]

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
        if not isinstance(master, Secret) or _is_loopback(host):
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


def _database_url(raw: str) -> str:
    return normalise_url(raw).render_as_string(hide_password=False)


def _redis_url(raw: str) -> str:
    try:
        parts = urlsplit(raw)
        _ = parts.port  # what it says of a bad one would repeat a password that stands in its place
    except ValueError:
        raise ValueError("not a URL with a host and a port") from None
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("a redis://, rediss:// or unix:// URL is needed")
    if parts.scheme == "unix" and not parts.path:
        raise ValueError("the URL names no socket")
    if parts.scheme != "unix" and not parts.hostname:
        raise ValueError("the URL names no host")
    return raw


def _master_key(raw: str) -> Secret:
    if not raw.startswith(PREFIX):
        raise ValueError(f"it must start with '{PREFIX}'")
    return Secret(raw)


def _salt_key(raw: str) -> Secret:
    return Secret(raw)


def _http_url(raw: str) -> str:
    try:
        outbound.parse(raw)
    except UnusableUrl as error:
        raise ValueError(str(error)) from None
    return raw


def _price_file(raw: str) -> Path:
    try:
        prices.parse(Path(raw).read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError("a price file must be UTF-8 text") from error
    return Path(raw)


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", raw) or not low <= int(raw) <= high:
            raise ValueError(f"a whole number from {low} to {high} is needed")
        return int(raw)

    return parse


def _seconds(low: float, high: float) -> Callable[[str], float]:
    def parse(raw: str) -> float:
        try:
            value = float(raw)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"a number of seconds from {low:g} to {high:g} is needed")
        return value

    return parse


def _flag(raw: str) -> bool:
    if raw.lower() in {"true", "1", "yes", "on"}:
        return True
    if raw.lower() in {"false", "0", "no", "off"}:
        return False
    raise ValueError("true or false is needed")


def _zone(raw: str) -> ZoneInfo:
    try:
        return ZoneInfo(raw)
    except Exception as error:
        raise ValueError("an IANA time zone is needed, such as Europe/Paris") from error


def _time_of_day(raw: str) -> time:
    if not re.fullmatch(r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?", raw):
        raise ValueError(_TIME_NEEDED)
    try:
        return time.fromisoformat(raw)
    except ValueError as error:
        raise ValueError(_TIME_NEEDED) from error


def _budget_status(raw: str) -> int:
    if raw not in {"422", "429", "400"}:
        raise ValueError("422 (LiteLLM's), 429 or 400 is needed")
    return int(raw)


def _dollars(raw: str) -> int:
    try:
        return money.nanos(money.decimal(raw, "it"), "it")
    except InvalidValue as error:
        raise ValueError("an amount in US dollars is needed, such as 0.01") from error


def _choice(kind: type[StrEnum]) -> Callable[[str], StrEnum]:
    def parse(raw: str) -> StrEnum:
        try:
            return kind(raw)
        except ValueError:
            raise ValueError(f"one of {', '.join(kind)} is needed") from None

    return parse


def _log_level(raw: str) -> str:
    if raw.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise ValueError("DEBUG, INFO, WARNING or ERROR is needed")
    return raw.upper()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_OPTIONAL: tuple[tuple[str, str, Callable[[str], object]], ...] = (
    ("KEYLEDGER_HOST", "host", str),
    ("PORT", "port", _integer(1, 65535)),
    ("KEYLEDGER_DATA_DIR", "data_dir", Path),
    ("KEYLEDGER_TIMEZONE", "timezone", _zone),
    ("KEYLEDGER_BUDGET_RESET_TIME", "budget_reset_time", _time_of_day),
    ("KEYLEDGER_BUDGET_EXCEEDED_STATUS", "budget_exceeded_status", _budget_status),
    ("KEYLEDGER_DISABLE_CUSTOM_API_KEYS", "disable_custom_api_keys", _flag),
    ("LITELLM_KEY_ROTATION_GRACE_PERIOD", "key_rotation_grace", durations.parse),
    ("KEYLEDGER_MAX_BODY_BYTES", "max_body_bytes", _integer(1024, 64 * 1024 * 1024)),
    ("KEYLEDGER_BUSY_SECONDS", "busy_seconds", _seconds(0.05, 60)),
    ("WEB_CONCURRENCY", "web_processes", _integer(1, 256)),
    ("KEYLEDGER_WEB_THREADS", "web_threads", _integer(1, 256)),
    ("KEYLEDGER_MAX_CLOCK_SKEW_SECONDS", "max_clock_skew_seconds", _seconds(0.1, 60)),
    ("KEYLEDGER_CHANGE_SECONDS", "change_seconds", _seconds(1, 300)),
    ("KEYLEDGER_COMMIT_SECONDS", "commit_seconds", _seconds(0.1, 60)),
    ("KEYLEDGER_SNAPSHOT_SECONDS", "snapshot_seconds", _seconds(1, 3600)),
    ("KEYLEDGER_EXPIRY_INTERVAL_SECONDS", "expiry_interval_seconds", _seconds(1, 3600)),
    ("KEYLEDGER_RESET_INTERVAL_SECONDS", "reset_interval_seconds", _seconds(1, 3600)),
    ("KEYLEDGER_LEDGER_DAYS", "ledger_days", _integer(SHORTEST_LEDGER_DAYS, 36_500)),
    ("KEYLEDGER_HEARTBEAT_SECONDS", "heartbeat_seconds", _seconds(1, 60)),
    ("KEYLEDGER_PREVIOUS_SALT_KEY", "previous_salt_key", _salt_key),
    ("KEYLEDGER_LEASE_SECONDS", "lease_seconds", _seconds(1, 86_400)),
    ("KEYLEDGER_LONGEST_LEASE_SECONDS", "longest_lease_seconds", _seconds(1, 86_400)),
    ("KEYLEDGER_DEFAULT_ESTIMATE", "default_estimate_nanos", _dollars),
    ("KEYLEDGER_USER_BUDGET_ON_TEAM_KEYS", "user_budget_on_team_keys", _flag),
    ("KEYLEDGER_WITHOUT_REDIS", "without_redis", _choice(WithoutRedis)),
    ("KEYLEDGER_AFTER_REDIS_LOSS", "after_redis_loss", _choice(AfterRedisLoss)),
    ("KEYLEDGER_FOLD_INTERVAL_SECONDS", "fold_interval_seconds", _seconds(1, 3600)),
    ("KEYLEDGER_REAP_INTERVAL_SECONDS", "reap_interval_seconds", _seconds(1, 3600)),
    ("KEYLEDGER_OUTBOUND_ALLOW", "outbound_allow", Allowance.parse),
    ("KEYLEDGER_OUTBOUND_SECONDS", "outbound_seconds", _seconds(0.1, 30)),
    ("KEYLEDGER_KEY_HEALTH_SECONDS", "key_health_seconds", _seconds(0.2, 60)),
    ("KEYLEDGER_KEY_HEALTH_WAITING", "key_health_waiting", _integer(1, 256)),
    ("KEYLEDGER_PRICE_FILE", "price_file", _price_file),
    ("KEYLEDGER_GCS_ENDPOINT", "gcs_endpoint", _http_url),
    ("KEYLEDGER_DRAIN_SECONDS", "drain_seconds", _seconds(0, 60)),
    ("KEYLEDGER_LOG_LEVEL", "log_level", _log_level),
)

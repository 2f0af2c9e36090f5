"""Settings: parsed once, every fault named at once, no secret ever shown."""

from dataclasses import FrozenInstanceError, fields
from datetime import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from app.config import BadSettings, Settings
from app.dispatch import TaskName
from app.domain.durations import Duration, Unit
from app.domain.outbound import Allowance

SECRETS = ("distinctive-database", "distinctive-redis", "distinctive-master", "distinctive-salt")
REQUIRED = {
    "DATABASE_URL": "postgresql://keys:distinctive-database@db.example/keys",
    "REDIS_URL": "rediss://:distinctive-redis@redis.example:6380/1",
    "KEYLEDGER_MASTER_KEY": "sk-distinctive-master",
    "KEYLEDGER_SALT_KEY": "distinctive-salt",
}


def faults_of(environment: dict[str, str]) -> list[str]:
    with pytest.raises(BadSettings) as refused:
        Settings.parse(environment)
    assert str(refused.value) == "\n".join(refused.value.faults)
    return refused.value.faults


def test_the_required_settings_are_enough():
    settings = Settings.parse(REQUIRED)

    assert settings.database_url == "postgresql+psycopg://keys:distinctive-database@db.example/keys"
    assert settings.redis_url == settings.hot_redis_url == REQUIRED["REDIS_URL"]
    assert settings.master_key.reveal() == "sk-distinctive-master"
    assert settings.salt_key.reveal() == "distinctive-salt"
    assert (settings.host, settings.port, settings.data_dir) == ("127.0.0.1", 4000, Path(".keyledger"))


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_or_blank_required_setting_is_named(name: str, value: str | None):
    environment = {**REQUIRED, name: value}

    faults = faults_of({name: value for name, value in environment.items() if value is not None})

    assert faults == [f"{name} is missing."]


@pytest.mark.parametrize("name", ["MASTER_KEY", "SALT_KEY"])
def test_the_names_of_litellm_are_accepted_for_the_secrets(name: str):
    environment = {**REQUIRED, f"LITELLM_{name}": "sk-of-the-other-name"}
    del environment[f"KEYLEDGER_{name}"]

    settings = Settings.parse(environment)

    assert getattr(settings, name.lower()).reveal() == "sk-of-the-other-name"


@pytest.mark.parametrize("name", ["MASTER_KEY", "SALT_KEY"])
def test_our_own_name_of_a_secret_wins(name: str):
    settings = Settings.parse({**REQUIRED, f"LITELLM_{name}": "sk-of-the-other-name"})

    assert getattr(settings, name.lower()).reveal() == REQUIRED[f"KEYLEDGER_{name}"]


@pytest.mark.parametrize(
    ("name", "raw", "attribute", "value"),
    [
        ("DATABASE_URL", "postgres://u@h/d", "database_url", "postgresql+psycopg://u@h/d"),
        ("DATABASE_URL", "postgresql+psycopg2://u@h/d", "database_url", "postgresql+psycopg://u@h/d"),
        ("DATABASE_URL", "postgresql://u@/d?host=%2Frun", "database_url", "postgresql+psycopg://u@/d?host=%2Frun"),
        (
            "DATABASE_URL",
            "postgres://h/d?sslmode=require",
            "database_url",
            "postgresql+psycopg://h/d?sslmode=require",
        ),
        ("DATABASE_URL", "sqlite:////var/lib/keys.db", "database_url", "sqlite:////var/lib/keys.db"),
        ("DATABASE_URL", "sqlite:///keys.db", "database_url", "sqlite:///keys.db"),
        ("REDIS_URL", "redis://h", "redis_url", "redis://h"),
        ("REDIS_URL", "unix:///run/redis.sock?db=2", "hot_redis_url", "unix:///run/redis.sock?db=2"),
        ("KEYLEDGER_HOT_REDIS_URL", "redis://hot:1/2", "hot_redis_url", "redis://hot:1/2"),
        ("KEYLEDGER_HOST", "0.0.0.0", "host", "0.0.0.0"),
        ("PORT", "65535", "port", 65535),
        ("PORT", " 8000\n", "port", 8000),
        ("KEYLEDGER_DATA_DIR", "/srv/keys", "data_dir", Path("/srv/keys")),
        ("KEYLEDGER_TIMEZONE", "Europe/Paris", "timezone", ZoneInfo("Europe/Paris")),
        ("KEYLEDGER_BUDGET_RESET_TIME", "06:30", "budget_reset_time", time(6, 30)),
        ("KEYLEDGER_BUDGET_RESET_TIME", "23:59:59", "budget_reset_time", time(23, 59, 59)),
        ("KEYLEDGER_BUDGET_EXCEEDED_STATUS", "429", "budget_exceeded_status", 429),
        ("KEYLEDGER_DISABLE_CUSTOM_API_KEYS", "True", "disable_custom_api_keys", True),
        ("KEYLEDGER_DISABLE_CUSTOM_API_KEYS", "off", "disable_custom_api_keys", False),
        ("KEYLEDGER_AVAILABLE_TEAMS", "a, b,,a", "available_teams", ("a", "b")),
        ("KEYLEDGER_MAX_BODY_BYTES", "1024", "max_body_bytes", 1024),
        ("KEYLEDGER_BUSY_SECONDS", "0.5", "busy_seconds", 0.5),
        ("WEB_CONCURRENCY", "4", "web_processes", 4),
        ("KEYLEDGER_WEB_THREADS", "16", "web_threads", 16),
        ("KEYLEDGER_MAX_CLOCK_SKEW_SECONDS", "1", "max_clock_skew_seconds", 1.0),
        ("KEYLEDGER_HOT_REDIS_SECONDS", "1.5", "hot_redis_seconds", 1.5),
        ("KEYLEDGER_DECIDING_SECONDS", "2", "deciding_seconds", 2.0),
        ("KEYLEDGER_CHANGE_SECONDS", "30", "change_seconds", 30.0),
        ("KEYLEDGER_COMMIT_SECONDS", "2.5", "commit_seconds", 2.5),
        ("KEYLEDGER_SNAPSHOT_SECONDS", "10", "snapshot_seconds", 10.0),
        ("KEYLEDGER_EXPIRY_INTERVAL_SECONDS", "60", "expiry_interval_seconds", 60.0),
        ("LITELLM_KEY_ROTATION_GRACE_PERIOD", "10y", "key_rotation_grace", Duration(10, Unit.YEAR)),
        ("KEYLEDGER_LEDGER_DAYS", "32", "ledger_days", 32),
        ("KEYLEDGER_EXPIRED_KEY_DAYS", "1", "expired_key_days", 1),
        ("KEYLEDGER_ARCHIVE_DAYS", "32", "archive_days", 32),
        ("KEYLEDGER_AUDIT_DAYS", "1", "audit_days", 1),
        ("KEYLEDGER_PURGE_INTERVAL_SECONDS", "86400", "purge_interval_seconds", 86_400.0),
        ("KEYLEDGER_CALL_LOG_DAYS", "30", "call_log_days", 30),
        ("KEYLEDGER_LOG_MESSAGES", "on", "log_messages", True),
        ("KEYLEDGER_HEARTBEAT_SECONDS", "1", "heartbeat_seconds", 1.0),
        ("KEYLEDGER_DRAIN_SECONDS", "0", "drain_seconds", 0.0),
        ("KEYLEDGER_OUTBOUND_ALLOW", "logs.internal:80", "outbound_allow", Allowance.parse("logs.internal:80")),
        ("KEYLEDGER_OUTBOUND_SECONDS", "2", "outbound_seconds", 2.0),
        ("KEYLEDGER_DELIVERY_INTERVAL_SECONDS", "3", "delivery_interval_seconds", 3.0),
        ("KEYLEDGER_DELIVERY_HOURS", "12", "delivery_hours", 12),
        ("KEYLEDGER_EVENT_DAYS", "90", "event_days", 90),
        ("KEYLEDGER_WATCH_INTERVAL_SECONDS", "9", "watch_interval_seconds", 9),
        ("KEYLEDGER_BUDGET_ALERT_PERCENTAGES", "90, 50,90", "budget_alert_percentages", (50, 90)),
        ("KEYLEDGER_EXPIRY_NOTICE_DAYS", "14", "expiry_notice_days", (14,)),
        ("KEYLEDGER_KEY_HEALTH_SECONDS", "20", "key_health_seconds", 20.0),
        ("KEYLEDGER_KEY_HEALTH_WAITING", "5", "key_health_waiting", 5),
        ("KEYLEDGER_GCS_ENDPOINT", "http://127.0.0.1:9023", "gcs_endpoint", "http://127.0.0.1:9023"),
        ("KEYLEDGER_LOG_LEVEL", "debug", "log_level", "DEBUG"),
    ],
)
def test_a_good_value_is_read(name: str, raw: str, attribute: str, value: object):
    settings = Settings.parse({**REQUIRED, name: raw})

    assert getattr(settings, attribute) == value


@pytest.mark.parametrize(
    ("name", "raw", "fault"),
    [
        ("DATABASE_URL", "keys.db", "not a database URL"),
        ("DATABASE_URL", "postgresql://h:port/d", "not a database URL"),
        ("DATABASE_URL", "mysql://h/d", "only sqlite:// and postgresql:// are supported"),
        ("DATABASE_URL", "postgresql+asyncpg://h/d", "only sqlite:// and postgresql:// are supported"),
        ("DATABASE_URL", "sqlite+aiosqlite:///keys.db", "only sqlite:// and postgresql:// are supported"),
        ("DATABASE_URL", "postgresql://h/d?schema=public", "PostgreSQL knows no connection option 'schema'"),
        ("DATABASE_URL", "sqlite://", "SQLite needs a file"),
        ("DATABASE_URL", "sqlite:///:memory:", "SQLite needs a file"),
        ("DATABASE_URL", "sqlite:///file:keys?mode=memory&uri=true", "SQLite needs a file"),
        ("REDIS_URL", "localhost:6379", "a redis://, rediss:// or unix:// URL is needed"),
        ("REDIS_URL", "http://localhost", "a redis://, rediss:// or unix:// URL is needed"),
        ("REDIS_URL", "redis://", "the URL names no host"),
        ("REDIS_URL", "unix://", "the URL names no socket"),
        ("REDIS_URL", "redis://h:99999", "not a URL with a host and a port"),
        ("REDIS_URL", "redis://[::1", "not a URL with a host and a port"),
        ("KEYLEDGER_HOT_REDIS_URL", "redis:/h", "the URL names no host"),
        ("KEYLEDGER_MASTER_KEY", "distinctive", "it must start with 'sk-'"),
        ("PORT", "0", "a whole number from 1 to 65535 is needed"),
        ("PORT", "65536", "a whole number from 1 to 65535 is needed"),
        ("PORT", "80.0", "a whole number from 1 to 65535 is needed"),
        ("PORT", "²", "a whole number from 1 to 65535 is needed"),
        ("PORT", "--1", "a whole number from 1 to 65535 is needed"),
        ("PORT", "9" * 5000, "a whole number from 1 to 65535 is needed"),
        ("KEYLEDGER_TIMEZONE", "Mars/Olympus", "an IANA time zone is needed"),
        ("KEYLEDGER_TIMEZONE", "Europe", "an IANA time zone is needed"),
        ("KEYLEDGER_TIMEZONE", "../../etc/passwd", "an IANA time zone is needed"),
        ("KEYLEDGER_BUDGET_RESET_TIME", "25:00", "a time of day is needed"),
        ("KEYLEDGER_BUDGET_RESET_TIME", "06:30+02:00", "a time of day is needed"),
        ("KEYLEDGER_BUDGET_EXCEEDED_STATUS", "500", "422 (LiteLLM's), 429 or 400 is needed"),
        ("KEYLEDGER_DISABLE_CUSTOM_API_KEYS", "maybe", "true or false is needed"),
        ("KEYLEDGER_MAX_BODY_BYTES", "1023", "a whole number from 1024 to"),
        ("KEYLEDGER_BUSY_SECONDS", "soon", "a number of seconds from 0.05 to 60 is needed"),
        ("KEYLEDGER_BUSY_SECONDS", "nan", "a number of seconds from 0.05 to 60 is needed"),
        ("KEYLEDGER_BUSY_SECONDS", "inf", "a number of seconds from 0.05 to 60 is needed"),
        ("KEYLEDGER_DRAIN_SECONDS", "-1", "a number of seconds from 0 to 60 is needed"),
        ("KEYLEDGER_LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING or ERROR is needed"),
        ("KEYLEDGER_OUTBOUND_ALLOW", "10.0.0.0/8, 10.0.0.1/8", "'10.0.0.1/8' is no host, address or network"),
        ("KEYLEDGER_OUTBOUND_SECONDS", "0", "a number of seconds from 0.1 to 20 is needed"),
        ("KEYLEDGER_KEY_HEALTH_SECONDS", "61", "a number of seconds from 0.2 to 60 is needed"),
        ("KEYLEDGER_BUDGET_ALERT_PERCENTAGES", "50,101", "a whole number from 1 to 100 is needed"),
        ("KEYLEDGER_EXPIRY_NOTICE_DAYS", "30,,7", "a whole number from 1 to 3650 is needed"),
        ("LITELLM_KEY_ROTATION_GRACE_PERIOD", "11y", "a length of 10 years at the most is needed"),
        ("LITELLM_KEY_ROTATION_GRACE_PERIOD", "8000y", "a length of 10 years at the most is needed"),
        ("LITELLM_KEY_ROTATION_GRACE_PERIOD", "soon", "Use a format like"),
        ("KEYLEDGER_LEDGER_DAYS", "31", "a whole number from 32 to 36500 is needed"),
        ("KEYLEDGER_KEY_HEALTH_WAITING", "0", "a whole number from 1 to 256 is needed"),
        ("KEYLEDGER_GCS_ENDPOINT", "storage.googleapis.com", "it is not a URL"),
    ],
)
def test_a_bad_value_is_named_with_what_is_needed(name: str, raw: str, fault: str):
    faults = faults_of({**REQUIRED, name: raw})

    assert len(faults) == 1
    assert faults[0].startswith(f"{name} is wrong: {fault}")


def test_every_fault_is_named_at_once():
    faults = faults_of(
        {"DATABASE_URL": "mysql://h/d", "KEYLEDGER_MASTER_KEY": "sk-1234", "KEYLEDGER_HOST": "::", "PORT": "x"}
    )

    assert [fault.split(" is ")[0] for fault in faults] == [
        "REDIS_URL",
        "DATABASE_URL",
        "KEYLEDGER_SALT_KEY",
        "PORT",
        "KEYLEDGER_MASTER_KEY",
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
@pytest.mark.parametrize("master_key", ["sk-1234", "sk-short"])
def test_any_master_key_will_do_on_loopback(host: str, master_key: str):
    settings = Settings.parse({**REQUIRED, "KEYLEDGER_HOST": host, "KEYLEDGER_MASTER_KEY": master_key})

    assert settings.master_key.reveal() == master_key


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "keys.example", "localhost.example"])
@pytest.mark.parametrize("master_key", ["sk-1234", "sk-master", "sk-fifteen-letter"])
def test_a_short_or_well_known_master_key_is_refused_beyond_loopback(host: str, master_key: str):
    faults = faults_of({**REQUIRED, "KEYLEDGER_HOST": host, "KEYLEDGER_MASTER_KEY": master_key})

    refused = f"KEYLEDGER_MASTER_KEY is too short or well known to listen on {host}"
    assert faults == [f"{refused}: use at least 16 random characters after 'sk-'."]


def test_a_long_master_key_may_listen_everywhere():
    settings = Settings.parse({**REQUIRED, "KEYLEDGER_HOST": "0.0.0.0", "KEYLEDGER_MASTER_KEY": "sk-" + "x" * 16})

    assert settings.host == "0.0.0.0"


@pytest.mark.parametrize(("change", "commit"), [("5", "5"), ("5", "6"), (None, "15"), ("4", None)])
def test_a_commit_must_fit_into_the_time_of_a_change(change: str | None, commit: str | None):
    sent = {"KEYLEDGER_CHANGE_SECONDS": change, "KEYLEDGER_COMMIT_SECONDS": commit}

    faults = faults_of({**REQUIRED, **{name: raw for name, raw in sent.items() if raw}})

    assert faults == ["KEYLEDGER_COMMIT_SECONDS must be below KEYLEDGER_CHANGE_SECONDS."]


@pytest.mark.parametrize(("waits", "delivers"), [("5", "5"), ("5", "6"), (None, "10"), ("4", None)])
def test_a_delivery_must_fit_into_the_wait_for_it(waits: str | None, delivers: str | None):
    sent = {"KEYLEDGER_KEY_HEALTH_SECONDS": waits, "KEYLEDGER_OUTBOUND_SECONDS": delivers}

    faults = faults_of({**REQUIRED, **{name: raw for name, raw in sent.items() if raw}})

    assert faults == ["KEYLEDGER_OUTBOUND_SECONDS must be below KEYLEDGER_KEY_HEALTH_SECONDS."]


@pytest.mark.parametrize(("delivers", "interval"), [("2", 2), ("5", 2.5), ("20", 10)])
def test_a_sweep_that_takes_its_time_is_not_silent(delivers: str, interval: float):
    """It may take twice the seconds of a delivery, and three intervals without an end are silence."""
    sent = {"KEYLEDGER_OUTBOUND_SECONDS": delivers, "KEYLEDGER_KEY_HEALTH_SECONDS": "60"}

    settings = Settings.parse({**REQUIRED, **sent})

    assert settings.intervals[TaskName.DELIVER] == interval
    assert 3 * (interval + settings.heartbeat_seconds) >= 2 * settings.outbound_seconds


def test_the_previous_salt_key_is_a_secret_and_optional():
    settings = Settings.parse({**REQUIRED, "KEYLEDGER_PREVIOUS_SALT_KEY": "distinctive-salt-of-old"})

    assert settings.previous_salt_key is not None
    assert settings.previous_salt_key.reveal() == "distinctive-salt-of-old"
    assert Settings.parse(REQUIRED).previous_salt_key is None


def test_a_good_price_file_is_a_setting(tmp_path):
    path = tmp_path / "prices.json"
    path.write_text('{"mine": {"input": 1, "output": 2.5}}')
    assert Settings.parse({**REQUIRED, "KEYLEDGER_PRICE_FILE": str(path)}).price_file == path


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "No such file or directory"),
        (b"{", "a price file must hold JSON"),
        (b'{"mine": {"input": 1}}', "the price of 'mine' needs input and output"),
        (b"\xff", "a price file must be UTF-8 text"),
    ],
)
def test_a_bad_price_file_is_a_fault_at_the_start(tmp_path, content: bytes | None, fault: str):
    path = tmp_path / "prices.json"
    if content is not None:
        path.write_bytes(content)
    (found,) = faults_of({**REQUIRED, "KEYLEDGER_PRICE_FILE": str(path)})
    assert found.startswith("KEYLEDGER_PRICE_FILE is wrong: ")
    assert fault in found


@pytest.mark.parametrize("show", [repr, str, "{}".format])
def test_printed_settings_hold_no_secret(show):
    printed = show(Settings.parse({**REQUIRED, "KEYLEDGER_PREVIOUS_SALT_KEY": "distinctive-salt"}))

    assert not [secret for secret in SECRETS if secret in printed]


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("DATABASE_URL", "postgresql://u:distinctive@h:port/d"),
        ("DATABASE_URL", "mysql://u:distinctive@h/d"),
        ("DATABASE_URL", "postgresql://h/d?passwd=distinctive"),
        ("REDIS_URL", "redis://user:distinctive"),
        ("REDIS_URL", "redis://:dis#tinctive@h"),
        ("REDIS_URL", "redis://:distinctive@[h"),
        ("REDIS_URL", "redis://:distinctive℀@h"),
        ("REDIS_URL", "http://:distinctive@h"),
        ("KEYLEDGER_MASTER_KEY", "distinctive"),
    ],
)
def test_the_text_of_a_fault_holds_no_secret(name: str, raw: str):
    faults = faults_of({**REQUIRED, name: raw})

    assert "tinctive" not in "".join(faults)


def test_a_fault_of_the_master_key_does_not_repeat_it():
    faults = faults_of({**REQUIRED, "KEYLEDGER_HOST": "0.0.0.0", "KEYLEDGER_MASTER_KEY": "sk-distinctive"})

    assert "distinctive" not in "".join(faults)


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
def test_settings_are_frozen(name: str):
    settings = Settings.parse(REQUIRED)

    with pytest.raises(FrozenInstanceError):
        setattr(settings, name, None)


def test_other_variables_of_the_environment_are_ignored():
    settings = Settings.parse({**REQUIRED, "PATH": "/bin", "KEYLEDGER_UNHEARD_OF": "1"})

    assert settings.port == 4000

"""The environment variables of the settings that need not be set: the field of each, and how its text is read."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from app import setting_parsers as parsers
from app.domain.outbound import Allowance

# A settle may be sent again for 31 days after its verify, and is told from a new one by its row.
SHORTEST_LEDGER_DAYS = 32
# Until then a call that was made before its key was deleted may be charged.
SHORTEST_ARCHIVE_DAYS = 32


class WithoutRedis(StrEnum):
    """What verify does while Redis is away: refuse all, or serve from SQL what has no budget and no limit."""

    REFUSE = "refuse"
    SERVE_UNLIMITED = "serve_unlimited"


class AfterRedisLoss(StrEnum):
    """What verify does when Redis was lost: go on, or let no budgeted call pass until every old hold is over."""

    ALLOW = "allow"
    REFUSE_BUDGETED_FOR_ONE_LEASE = "refuse_budgeted_for_one_lease"


OPTIONAL: tuple[tuple[str, str, Callable[[str], object]], ...] = (
    ("KEYLEDGER_HOST", "host", str),
    ("PORT", "port", parsers.integer(1, 65535)),
    ("KEYLEDGER_DATA_DIR", "data_dir", Path),
    ("KEYLEDGER_TIMEZONE", "timezone", parsers.zone),
    ("KEYLEDGER_BUDGET_RESET_TIME", "budget_reset_time", parsers.time_of_day),
    ("KEYLEDGER_BUDGET_ROLLOVER", "budget_rollover", parsers.flag),
    ("KEYLEDGER_BUDGET_EXCEEDED_STATUS", "budget_exceeded_status", parsers.budget_status),
    ("KEYLEDGER_DISABLE_CUSTOM_API_KEYS", "disable_custom_api_keys", parsers.flag),
    ("KEYLEDGER_AVAILABLE_TEAMS", "available_teams", parsers.names),
    ("LITELLM_KEY_ROTATION_GRACE_PERIOD", "key_rotation_grace", parsers.grace),
    ("KEYLEDGER_MAX_BODY_BYTES", "max_body_bytes", parsers.integer(1024, 64 * 1024 * 1024)),
    ("KEYLEDGER_BUSY_SECONDS", "busy_seconds", parsers.seconds(0.05, 60)),
    ("KEYLEDGER_HOT_REDIS_SECONDS", "hot_redis_seconds", parsers.seconds(0.05, 10)),
    ("KEYLEDGER_DECIDING_SECONDS", "deciding_seconds", parsers.seconds(0.5, 60)),
    ("WEB_CONCURRENCY", "web_processes", parsers.integer(1, 256)),
    ("KEYLEDGER_WEB_THREADS", "web_threads", parsers.integer(1, 256)),
    ("KEYLEDGER_MAX_CLOCK_SKEW_SECONDS", "max_clock_skew_seconds", parsers.seconds(0.1, 60)),
    ("KEYLEDGER_CHANGE_SECONDS", "change_seconds", parsers.seconds(1, 300)),
    ("KEYLEDGER_COMMIT_SECONDS", "commit_seconds", parsers.seconds(0.1, 60)),
    ("KEYLEDGER_SNAPSHOT_SECONDS", "snapshot_seconds", parsers.seconds(1, 3600)),
    ("KEYLEDGER_EXPIRY_INTERVAL_SECONDS", "expiry_interval_seconds", parsers.seconds(1, 3600)),
    ("KEYLEDGER_RESET_INTERVAL_SECONDS", "reset_interval_seconds", parsers.seconds(1, 3600)),
    ("KEYLEDGER_ROTATION_INTERVAL_SECONDS", "rotation_interval_seconds", parsers.seconds(1, 3600)),
    ("KEYLEDGER_LEDGER_DAYS", "ledger_days", parsers.integer(SHORTEST_LEDGER_DAYS, 36_500)),
    ("KEYLEDGER_EXPIRED_KEY_DAYS", "expired_key_days", parsers.integer(1, 36_500)),
    ("KEYLEDGER_ARCHIVE_DAYS", "archive_days", parsers.integer(SHORTEST_ARCHIVE_DAYS, 36_500)),
    ("KEYLEDGER_AUDIT_DAYS", "audit_days", parsers.integer(1, 36_500)),
    ("KEYLEDGER_PURGE_INTERVAL_SECONDS", "purge_interval_seconds", parsers.seconds(1, 86_400)),
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

"""What a request may set on a key, and what is stored for it.

A request holds wire fields; a key row holds columns. Most fields are columns, many are folded into `metadata`
under their own name (as LiteLLM keeps them), and a null means the column's default or, for a folded field, that
the entry goes. These rules are the same for creating, updating and regenerating a key.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from app.domain import budgets, callbacks, durations
from app.domain.access import SERVICE_ACCOUNT
from app.domain.callbacks import Vault
from app.domain.durations import InvalidDuration
from app.domain.increases import TEMPORARY_FIELDS
from app.domain.instants import iso, stored_instant
from app.domain.metadata import folded_into
from app.domain.values import InvalidAlias, InvalidValue
from app.domain.windows import Calendar

# Columns that are never NULL, with what a null in a request means for them.
LIST_FIELDS = frozenset({"models", "allowed_cache_controls", "allowed_routes", "access_group_ids"})
OBJECT_FIELDS = frozenset({"aliases", "config", "permissions", "metadata", "budget_fallbacks"})

# Columns that take the value as it comes; null clears.
PLAIN_FIELDS = frozenset({"agent_id", "project_id", "blocked", "router_settings"})
# Columns that name something; the empty text names nothing.
REFERENCE_FIELDS = frozenset({"key_alias", "user_id", "team_id", "organization_id", "budget_id"})

FOLDED_FIELDS = frozenset(
    {
        "tags",
        "guardrails",
        "enforced_params",
        "model_rpm_limit",
        "model_tpm_limit",
        "policies",
        "prompts",
        "disable_global_guardrails",
        "allowed_passthrough_routes",
        "denied_passthrough_routes",
        "mcp_rpm_limit",
        "tag_rpm_limit",
        "rpm_limit_type",
        "tpm_limit_type",
        "default_estimated_output_tokens",
        "default_estimated_output_tokens_per_model",
        "throttle_on_budget_exceeded",
        "enable_prompt_caching",
        "end_user_budget_id",
        "allowed_vector_store_indexes",
    }
)
ROTATION_FIELDS = frozenset({"auto_rotate", "rotation_interval"})

# Stored and echoed, but not acted upon by any check of this service.
UNENFORCED_FIELDS = frozenset(
    {
        "agent_id",
        "project_id",
        "access_group_ids",
        "tpd_limit",
        "policies",
        "prompts",
        "disable_global_guardrails",
        "allowed_passthrough_routes",
        "denied_passthrough_routes",
        "mcp_rpm_limit",
        "tag_rpm_limit",
        "rpm_limit_type",
        "tpm_limit_type",
        "throttle_on_budget_exceeded",
        "enable_prompt_caching",
        "end_user_budget_id",
        "allowed_vector_store_indexes",
        "budget_fallbacks",
        "router_settings",
    }
)

# The preset that a `key_type` puts in the place of `allowed_routes`.
ROUTES_OF_KEY_TYPE = {
    "llm_api": ["llm_api_routes"],
    "management": ["management_routes"],
    "read_only": ["info_routes"],
}

# Below that a key would fill mailboxes, and the former secrets that open it within their grace, faster than use.
SHORTEST_ROTATION = timedelta(hours=1)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def columns_of(
    sent: Mapping[str, Any],
    stored: Mapping[str, Any] | None,
    calendar: Calendar,
    now: datetime,
    vault: Vault,
) -> dict[str, Any]:
    """Translate the sent fields into the key columns they change; raises InvalidValue.

    `stored` holds the key's present columns, None while the key is being made: what was not sent stays as it is.
    Secrets of logging callbacks are sealed by `vault`.
    `object_permission` and `spend` are not columns of a key and not dealt with.
    """
    columns = budgets.limits_of(sent, stored or {})
    for field, value in sent.items():
        if field in LIST_FIELDS:
            columns[field] = [] if value is None else value
        elif field in OBJECT_FIELDS:
            columns[field] = {} if value is None else value
        elif field in PLAIN_FIELDS:
            columns[field] = value
        elif field in REFERENCE_FIELDS:
            columns[field] = value or None
    if columns.get("key_alias"):
        check_alias(columns["key_alias"])
    columns |= _metadata(sent, None if stored is None else stored["metadata"], now, vault)
    columns |= _expiry(sent, now, creating=stored is None)
    columns |= _windows(sent, (stored or {}).get("budget_limits") or (), calendar, now)
    return columns | _rotation(sent, stored or {}, now)


def check_alias(alias: str) -> None:
    """Refuse an alias that could not be shown on one line or would climb a path; raises InvalidAlias."""
    if _CONTROL.search(alias) or ".." in re.split(r"[/\\]", alias):
        raise InvalidAlias("key_alias must not hold control characters or a '..' path segment")


def length(text: str, param: str) -> durations.Duration:
    """Read a length of time; raises InvalidValue naming `param`."""
    try:
        return durations.parse(text)
    except InvalidDuration as error:
        raise InvalidValue(f"Invalid {param} '{text[:64]}'. {error}", param) from error


def _metadata(
    sent: Mapping[str, Any], stored: Mapping[str, Any] | None, now: datetime, vault: Vault
) -> dict[str, Any]:
    temporary = _temporary(sent, now)
    folded = {*FOLDED_FIELDS, *temporary}
    if folded.isdisjoint(sent) and "metadata" not in sent and not temporary:
        return {}
    budgets.check_model_rates(sent.get("metadata"))
    metadata = folded_into({**sent, **temporary}, folded, stored or {})
    if "metadata" in sent and "logging" in metadata:
        metadata |= _logging(metadata.pop("logging"), stored, vault)
    account = (stored or {}).get(SERVICE_ACCOUNT)
    if account is not None:
        if metadata.get(SERVICE_ACCOUNT, account) != account:
            raise InvalidValue("metadata.service_account_id cannot be changed", "metadata")
        metadata[SERVICE_ACCOUNT] = account
    return {"metadata": metadata, **_increase_end(metadata, stored or {})}


def _increase_end(metadata: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """The column by which a job finds the increases that are over, where it changes."""
    until = metadata.get("temp_budget_expiry")
    if until == stored.get("temp_budget_expiry"):
        return {}
    return {"increase_ends_at": stored_instant(until)}


def _logging(sent: Any, stored: Mapping[str, Any] | None, vault: Vault) -> dict[str, Any]:
    if sent is None:
        return {}
    return {"logging": callbacks.stored_form(sent, (stored or {}).get("logging"), vault)}


def _temporary(sent: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    present = {field: sent[field] for field in TEMPORARY_FIELDS if field in sent}
    asked = budgets.increase_until(present, now)
    if asked is None:
        # Half an increase is none: the null of either takes off both.
        return dict.fromkeys(TEMPORARY_FIELDS) if present else {}
    return {
        "temp_budget_increase": float(present["temp_budget_increase"]),
        "temp_budget_expiry": iso(asked[1]),
    }


def _expiry(sent: Mapping[str, Any], now: datetime, *, creating: bool) -> dict[str, Any]:
    if "duration" not in sent:
        return {}
    text = sent["duration"]
    if not creating and text == "":
        return {}
    if text is None or (not creating and text == "-1"):
        return {"expires_at": None, "expiry_recorded_at": None}
    try:
        expires_at = length(text, "duration").after(now)
    except InvalidDuration as error:
        raise InvalidValue(f"Invalid duration '{text[:64]}'. {error}", "duration") from error
    return {"expires_at": expires_at, "expiry_recorded_at": None}


def _rotation(sent: Mapping[str, Any], stored: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """An interval is kept whether or not the key rotates, and checked whenever it counts or is sent.

    The same settings sent again do not put a rotation off: whoever applies them every week would have none.
    """
    if not ROTATION_FIELDS & sent.keys():
        return {}
    interval = sent["rotation_interval"] if "rotation_interval" in sent else stored.get("rotation_interval")
    rotates = bool(sent["auto_rotate"] if "auto_rotate" in sent else stored.get("auto_rotate"))
    if rotates and interval is None:
        raise InvalidValue("auto_rotate needs a rotation_interval", "rotation_interval")
    due = None
    if interval is not None and (rotates or "rotation_interval" in sent):
        due = _rotation_after(interval, now)
    columns = {"auto_rotate": rotates, "rotation_interval": interval}
    if rotates and all(stored.get(name) == value for name, value in columns.items()):
        due = stored.get("key_rotation_at") or due
    return {**columns, "key_rotation_at": due if rotates else None}


def _rotation_after(interval: str, now: datetime) -> datetime:
    duration = length(interval, "rotation_interval")
    try:
        due = duration.after(now)
    except InvalidDuration as error:
        raise InvalidValue(f"Invalid rotation_interval '{interval}'. {error}", "rotation_interval") from error
    if due - now < SHORTEST_ROTATION:
        raise InvalidValue("rotation_interval must be at least 1h", "rotation_interval")
    return due


def _windows(
    sent: Mapping[str, Any], stored: Sequence[Mapping[str, Any]], calendar: Calendar, now: datetime
) -> dict[str, Any]:
    if "budget_limits" not in sent:
        return {}
    return {"budget_limits": budgets.budget_limits(sent["budget_limits"] or (), stored, calendar, now) or None}


def restarted_windows(
    limits: Sequence[Mapping[str, Any]] | None, calendar: Calendar, now: datetime
) -> list[Mapping[str, Any]] | None:
    """The key's several windows, each armed anew at this instant; one that cannot be computed is left alone."""
    if not limits:
        return None
    return [
        budgets.armed_limit(limit, calendar, now) if budgets.can_run(limit, calendar, now) else limit
        for limit in limits
    ]

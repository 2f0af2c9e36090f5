"""The bodies of the reports, and the flat rows that they are in a table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.clock import iso
from app.domain.activity import Day, Part, Sums, provider_of
from app.domain.money import dollars
from app.services.reports.reported_keys import ReportedKey
from app.services.reports.reports import ActivityPage, ChargePage, LabelSums, Row

KEY_COLUMNS = (
    "token",
    "key_name",
    "key_alias",
    "user_id",
    "team_id",
    "organization_id",
    "spend",
    "total_spend",
    "max_budget",
    "budget_duration",
    "budget_reset_at",
    "last_active",
    "created_at",
    "expires",
    "status",
)
TAG_COLUMNS = ("individual_request_tag", "log_count", "total_spend")
END_USER_COLUMNS = ("end_user", "total_count", "total_spend")
TOP_KEY_COLUMNS = ("api_key", "key_alias", "key_name", "total_spend")
CHARGE_COLUMNS = (
    "request_id",
    "startTime",
    "endTime",
    "api_key",
    "user",
    "team_id",
    "organization_id",
    "model",
    "spend",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "request_tags",
    "end_user",
)
_METRIC_COLUMNS = ("spend", "prompt_tokens", "completion_tokens", "total_tokens", "api_requests")
SUMMARY_COLUMNS = ("date", "api_key", "key_alias", "user_id", "model", *_METRIC_COLUMNS)
ACTIVITY_COLUMNS = (
    "date",
    "api_key",
    "key_alias",
    "team_id",
    "user_id",
    "organization_id",
    "model",
    *_METRIC_COLUMNS,
)

# What LiteLLM's row says of a call beyond its charge, which is all that this service is told.
_OF_THE_CALL: dict[str, Any] = {
    "call_type": "",
    "model_id": "",
    "model_group": "",
    "api_base": "",
    "cache_hit": "",
    "cache_key": "",
    "completionStartTime": None,
    "requester_ip_address": None,
    "session_id": None,
    "messages": {},
    "response": {},
    "proxy_server_request": {},
    "status": "success",
}

Keys = Mapping[str, ReportedKey]
_NO_KEY = ReportedKey("")


def tags(found: Iterable[LabelSums]) -> list[dict[str, Any]]:
    return [_label(label, TAG_COLUMNS) for label in found]


def end_users(found: Iterable[LabelSums]) -> list[dict[str, Any]]:
    return [_label(label, END_USER_COLUMNS) for label in found]


def _label(label: LabelSums, names: Sequence[str]) -> dict[str, Any]:
    values = (label.name, label.sums.requests, dollars(label.sums.spend_nanos))
    return dict(zip(names, values, strict=True))


def top_keys(found: Iterable[tuple[ReportedKey, Sums]]) -> list[dict[str, Any]]:
    return [
        {
            "api_key": key.name,
            "key_alias": key.key_alias,
            "key_name": key.key_name,
            "total_spend": dollars(sums.spend_nanos),
        }
        for key, sums in found
    ]


# --- charge by charge ----------------------------------------------------------------------------------------


def charges(page: ChargePage) -> list[dict[str, Any]]:
    return [_charge(row, page.keys.get(row["key_id"], _NO_KEY)) for row in page.rows]


def _charge(row: Mapping[Any, Any], key: ReportedKey) -> dict[str, Any]:
    prompt, completion = row["input_tokens"] or 0, row["output_tokens"] or 0
    return {
        **_OF_THE_CALL,
        "request_id": row["request_id"],
        "api_key": key.name,
        "spend": dollars(row["amount_nanos"]),
        "total_tokens": prompt + completion,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "startTime": iso(row["occurred_at"]),
        "endTime": iso(row["recorded_at"]),
        "model": row["model"] or "",
        "custom_llm_provider": provider_of(row["model"] or ""),
        "user": row["user_id"] or "",
        "metadata": {"user_api_key_alias": key.key_alias},
        "request_tags": row["tags"] or [],
        "team_id": row["team_id"],
        "organization_id": row["organization_id"],
        "end_user": row["end_user"] or "",
    }


def summary(rows: Iterable[Row], keys: Keys) -> list[dict[str, Any]]:
    """LiteLLM's shape: a day's sum by key stands beside its other fields, under the key's hash."""
    days: dict[str, dict[str, Any]] = {}
    for identity, sums in rows:
        day = days.setdefault(identity.day, {"all": 0, "keys": {}, "users": {}, "models": {}})
        day["all"] += sums.spend_nanos
        key = keys.get(identity.key_id, _NO_KEY)
        for part, name in (("keys", key.name), ("users", identity.user_id), ("models", identity.model)):
            day[part][name] = day[part].get(name, 0) + sums.spend_nanos
    return [
        {
            **_dollars(day["keys"]),
            "startTime": name,
            "spend": dollars(day["all"]),
            "users": _dollars(day["users"]),
            "models": _dollars(day["models"]),
        }
        for name, day in days.items()
    ]


def _dollars(amounts: Mapping[str, int]) -> dict[str, float]:
    return {name: dollars(nanos) for name, nanos in amounts.items()}


# --- by day --------------------------------------------------------------------------------------------------


def activity(found: ActivityPage, number: int, size: int) -> dict[str, Any]:
    whole = sum((sums for _, sums in found.rows), Sums())
    totals = {f"total_{name.removeprefix('total_')}": value for name, value in _metrics(whole).items()}
    return {
        "results": [_day(day, found) for day in found.days],
        "metadata": {
            **totals,
            "page": number,
            "total_pages": -(-found.total // size),
            "has_more": found.next_cursor is not None,
        },
    }


def _day(day: Day, found: ActivityPage) -> dict[str, Any]:
    def parts(of: Mapping[str, Part]) -> dict[str, Any]:
        return {name: _part(part, found.keys) for name, part in of.items()}

    entities = parts(day.entities)
    if found.entity == "team_id":
        for team_id, entity in entities.items():
            entity["metadata"] = {"team_alias": found.team_aliases.get(team_id)}
    return {
        "date": day.day,
        "metrics": _metrics(day.whole.sums),
        "breakdown": {
            "models": parts(day.models),
            "providers": parts(day.providers),
            "api_keys": _by_key(day.whole.keys, found.keys),
            "entities": entities,
            "model_groups": {},
            "mcp_servers": {},
            "endpoints": {},
        },
    }


def _part(part: Part, keys: Keys) -> dict[str, Any]:
    return {"metrics": _metrics(part.sums), "metadata": {}, "api_key_breakdown": _by_key(part.keys, keys)}


def _by_key(sums_of: Mapping[str, Sums], keys: Keys) -> dict[str, Any]:
    shown = ((keys.get(key_id, _NO_KEY), sums) for key_id, sums in sums_of.items())
    return {
        key.name: {
            "metrics": _metrics(sums),
            "metadata": {"key_alias": key.key_alias, "team_id": key.team_id},
        }
        for key, sums in shown
    }


def _metrics(sums: Sums) -> dict[str, Any]:
    """A charge is of a call that succeeded; of others, and of what a cache held, nobody tells the ledger."""
    return {
        "spend": dollars(sums.spend_nanos),
        "prompt_tokens": sums.input_tokens,
        "completion_tokens": sums.output_tokens,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "total_tokens": sums.input_tokens + sums.output_tokens,
        "api_requests": sums.requests,
        "successful_requests": sums.requests,
        "failed_requests": 0,
    }


def lines(rows: Iterable[Row], keys: Keys) -> list[dict[str, Any]]:
    """Daily sums as the lines of a table."""
    return [
        {
            **identity._asdict(),
            "date": identity.day,
            "api_key": keys.get(identity.key_id, _NO_KEY).name,
            "key_alias": keys.get(identity.key_id, _NO_KEY).key_alias,
            **_metrics(sums),
        }
        for identity, sums in rows
    ]

"""What can be set on a key: a value of each field and how it is shown; the same for creating and updating."""

from typing import Any

# Columns: the value sent is the value shown, under the same name.
PLAIN: dict[str, Any] = {
    "key_alias": "Billing bot (EU)",
    "user_id": "somebody@example.com",
    "team_id": "a team without a row",
    "models": ["gpt-4o", "claude-*"],
    "aliases": {"fast": "gpt-4o-mini"},
    "config": {"temperature": 0.5},
    "permissions": {"pii": False, "get_spend_routes": True},
    "metadata": {"app": "caf\u00e9 \u6f22 \U0001f511", "n": [1, -1.5, None, {"deep": True}]},
    "spend": 0.123456789,
    "max_budget": 12.5,
    "soft_budget": 0.000000001,
    "budget_duration": "30d",
    "max_parallel_requests": 2**31 - 1,
    "tpm_limit": 2**63 - 1,
    "rpm_limit": 0,
    "tpd_limit": 7,
    "model_max_budget": {"gpt-4o": {"budget_limit": 0.0005, "time_period": "30d"}},
    "budget_fallbacks": {"gpt-4o": ["gpt-4o-mini"]},
    "allowed_cache_controls": ["no-cache", "no-store"],
    "allowed_routes": ["/chat/completions", "/key/*"],
    "access_group_ids": ["group-1"],
    "router_settings": {"num_retries": 3},
    "agent_id": "agent-1",
    "project_id": "project-1",
    "blocked": True,
}

# Kept in `metadata` under their own name.
FOLDED: dict[str, Any] = {
    "tags": ["a", "b"],
    "guardrails": ["mask"],
    "enforced_params": ["user", "metadata.tags"],
    "model_rpm_limit": {"gpt-4o": 1000},
    "model_tpm_limit": {"gpt-4o": 2**63 - 1},
    "policies": ["p"],
    "prompts": ["q"],
    "disable_global_guardrails": True,
    "allowed_passthrough_routes": ["/x"],
    "denied_passthrough_routes": ["/y"],
    "mcp_rpm_limit": {"server": 1},
    "tag_rpm_limit": {"a": 1},
    "rpm_limit_type": "guaranteed_throughput",
    "tpm_limit_type": "dynamic",
    "default_estimated_output_tokens": 100,
    "default_estimated_output_tokens_per_model": {"gpt-4o": 5},
    "throttle_on_budget_exceeded": True,
    "enable_prompt_caching": False,
    "end_user_budget_id": "tier-of-end-users",
    "allowed_vector_store_indexes": [{"index_name": "i", "index_permissions": ["read"]}],
}

# What a key has that nobody said anything about.
DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(PLAIN),
    "models": [],
    "aliases": {},
    "config": {},
    "permissions": {},
    "metadata": {},
    "spend": 0,
    "model_max_budget": {},
    "budget_fallbacks": {},
    "allowed_cache_controls": [],
    "allowed_routes": [],
    "access_group_ids": [],
}

# Every field of a request body about a key's settings.
ELSEWHERE = (
    "duration",
    "budget_id",
    "organization_id",
    "budget_limits",
    "object_permission",
    "auto_rotate",
    "rotation_interval",
    "send_invite_email",
)
FIELDS = (*PLAIN, *FOLDED, *ELSEWHERE)

# A length of time and the instant that it ends at, from 2026-11-18 13:47:33 UTC.
LENGTHS: dict[str, str] = {
    "0s": "2026-11-18T13:47:33.000000Z",
    "30s": "2026-11-18T13:48:03.000000Z",
    "90m": "2026-11-18T15:17:33.000000Z",
    "36h": "2026-11-20T01:47:33.000000Z",
    "30d": "2026-12-18T13:47:33.000000Z",
    "2w": "2026-12-02T13:47:33.000000Z",
    "3mo": "2027-02-18T13:47:33.000000Z",
    "1y": "2027-11-18T13:47:33.000000Z",
    "hourly": "2026-11-18T14:47:33.000000Z",
    "daily": "2026-11-19T13:47:33.000000Z",
    "weekly": "2026-11-25T13:47:33.000000Z",
    "monthly": "2026-12-18T13:47:33.000000Z",
}
NO_LENGTHS = (
    "1h30m",
    "30days",
    "30D",
    "1.5h",
    "30 d",
    " 30d",
    "30d ",
    "10",
    "d",
    "-5d",
    "+5d",
    "1000000000000d",
    "9999y",
    "\uff13\uff10d",
    "forever",
)

# A window and the moment of its first reset, from the same instant.
WINDOWS: dict[str, str] = {
    "1d": "2026-11-19T00:00:00.000000Z",
    "daily": "2026-11-19T00:00:00.000000Z",
    "7d": "2026-11-23T00:00:00.000000Z",
    "1w": "2026-11-23T00:00:00.000000Z",
    "weekly": "2026-11-23T00:00:00.000000Z",
    "30d": "2026-12-01T00:00:00.000000Z",
    "1mo": "2026-12-01T00:00:00.000000Z",
    "monthly": "2026-12-01T00:00:00.000000Z",
    "3mo": "2027-01-01T00:00:00.000000Z",
    "12mo": "2027-01-01T00:00:00.000000Z",
    "1y": "2027-01-01T00:00:00.000000Z",
    "2mo": "2027-01-01T00:00:00.000000Z",
    "2d": "2026-11-20T00:00:00.000000Z",
    "14d": "2026-12-02T00:00:00.000000Z",
    "31d": "2026-12-19T00:00:00.000000Z",
    "4w": "2026-12-16T00:00:00.000000Z",
    "1h": "2026-11-18T14:00:00.000000Z",
    "hourly": "2026-11-18T14:00:00.000000Z",
    "5h": "2026-11-18T15:00:00.000000Z",
    "24h": "2026-11-19T00:00:00.000000Z",
    "36h": "2026-11-19T12:00:00.000000Z",
    "48h": "2026-11-20T00:00:00.000000Z",
    "30m": "2026-11-18T14:00:00.000000Z",
    "90m": "2026-11-18T14:30:00.000000Z",
    "45s": "2026-11-18T13:47:45.000000Z",
}
NO_WINDOWS = ("", "0s", "0d", "-1", "1001y", *NO_LENGTHS)

# Amounts that no budget can be.
NO_MONEY = ("-0.000000001", "NaN", "Infinity", "-Infinity", "1e400", "9000000.000000001", "1e30", "9" * 4000)

"""What can be set on a user: a value of each field and how it is shown; and users over HTTP."""

from typing import Any

from tests.clients import Api

# Columns: the value sent is the value shown, under the same name.
PLAIN: dict[str, Any] = {
    "user_id": "bob",
    "user_email": "Bob@Example.com",
    "user_alias": "B\u00f6b",
    "user_role": "internal_user_viewer",
    "sso_user_id": "sso-1",
    "models": ["gpt-4o", "claude-*"],
    "metadata": {"cost centre": [1, None, {"deep": True}]},
    "max_budget": 12.5,
    "soft_budget": 0.000000001,
    "budget_duration": "30d",
    "model_max_budget": {"gpt-4o": {"budget_limit": 0.5, "time_period": "1d"}},
    "max_parallel_requests": 2**31 - 1,
    "tpm_limit": 2**63 - 1,
    "rpm_limit": 0,
    "tpd_limit": 7,
    "policies": ["p"],
    "allowed_cache_controls": ["no-cache"],
}
DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(PLAIN.keys() - {"user_id"}),
    "models": [],
    "metadata": {},
    "model_max_budget": {},
    "policies": [],
    "allowed_cache_controls": [],
}
ELSEWHERE = (
    "teams",
    "organizations",
    "object_permission",
    "auto_create_key",
    "key_alias",
    "duration",
    "aliases",
    "config",
    "permissions",
    "send_invite_email",
)


def new(api: Api, **fields: Any) -> dict[str, Any]:
    answer = api.post("/user/new", fields)
    assert answer.status == 200, answer
    return answer.body


def info(api: Api, user_id: str) -> dict[str, Any]:
    answer = api.get("/user/info", user_id=user_id)
    assert answer.status == 200, answer
    return answer.body

"""What a tier may say: a value of each field and how it is shown; and tiers over HTTP."""

from typing import Any

from tests.clients import Api

FIELDS: dict[str, Any] = {
    "budget_id": "gold",
    "max_budget": 12.5,
    "soft_budget": 0.000000001,
    "budget_duration": "30d",
    "model_max_budget": {"gpt-4o": {"budget_limit": 0.5, "time_period": "1d"}},
    "max_parallel_requests": 2**31 - 1,
    "tpm_limit": 2**63 - 1,
    "rpm_limit": 0,
    "tpd_limit": 7,
}

# What each role is answered that asks for a change of tiers.
BY_ROLE = (
    ("proxy_admin", 200),
    ("proxy_admin_viewer", 403),
    ("internal_user", 401),
    ("internal_user_viewer", 401),
    ("org_admin", 401),
)


def new(api: Api, **fields: Any) -> dict[str, Any]:
    answer = api.post("/budget/new", fields)
    assert answer.status == 200, answer
    return answer.body


def shown(api: Api, *ids: str) -> list[dict[str, Any]]:
    answer = api.post("/budget/info", {"budgets": list(ids)})
    assert answer.status == 200, answer
    return answer.body

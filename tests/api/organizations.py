"""What can be set on an organization: a value of each field and how it is shown; and organizations over HTTP."""

from typing import Any

from tests.api.identities import ORGANIZATION
from tests.clients import Api

# Fields of the organization's own tier: the value sent is the value shown in its budget.
LIMITS: dict[str, Any] = {
    "max_budget": 12.5,
    "soft_budget": 0.000000001,
    "budget_duration": "30d",
    "model_max_budget": {"gpt-4o": {"budget_limit": 0.5, "time_period": "1d"}},
    "max_parallel_requests": 2**31 - 1,
    "tpm_limit": 2**63 - 1,
    "rpm_limit": 0,
    "tpd_limit": 7,
    "allowed_models": ["gpt-4o"],
    "temp_budget_increase": 3,
}
PLAIN: dict[str, Any] = {
    "organization_id": ORGANIZATION,
    "organization_alias": "Caf\u00e9 & Co",
    "models": ["gpt-4o", "claude-*"],
    "metadata": {"cost centre": [1, None, {"deep": True}]},
}
FOLDED: dict[str, Any] = {"model_rpm_limit": {"gpt-4o": 1}, "model_tpm_limit": {"gpt-4o": 2**63 - 1}}


def new(api: Api, organization_alias: str = "Acme", **fields: Any) -> dict[str, Any]:
    answer = api.post("/organization/new", {"organization_alias": organization_alias, **fields})
    assert answer.status == 200, answer
    return answer.body


def info(api: Api, organization_id: str = ORGANIZATION) -> dict[str, Any]:
    answer = api.get("/organization/info", organization_id=organization_id)
    assert answer.status == 200, answer
    return answer.body

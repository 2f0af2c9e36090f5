"""What can be set on a team: a value of each field and how it is shown; and teams over HTTP."""

from typing import Any

from sqlalchemy import update

from app.container import Services
from app.models import budget_state
from tests.clients import Answer, Api
from tests.factories import NANOS

# Columns: the value sent is the value shown, under the same name.
PLAIN: dict[str, Any] = {
    "team_alias": "Caf\u00e9 crew",
    "models": ["gpt-4o", "claude-*"],
    "max_budget": 12.5,
    "soft_budget": 0.000000001,
    "budget_duration": "30d",
    "max_parallel_requests": 2**31 - 1,
    "tpm_limit": 2**63 - 1,
    "rpm_limit": 0,
    "tpd_limit": 7,
    "model_max_budget": {"gpt-4o": {"budget_limit": 0.5, "time_period": "1d"}},
    "metadata": {"cost centre": [1, None, {"deep": True}]},
    "blocked": True,
    "team_member_permissions": ["/key/generate", "/key/list"],
    "default_team_member_models": ["gpt-4o"],
    "router_settings": {"num_retries": 3},
    "access_group_ids": ["group-1"],
    "policies": ["p"],
}
# Kept in `metadata` under their own name.
FOLDED: dict[str, Any] = {
    "tags": ["a", "b"],
    "guardrails": ["mask"],
    "prompts": ["q"],
    "disable_global_guardrails": True,
    "allowed_passthrough_routes": ["/x"],
    "denied_passthrough_routes": ["/y"],
    "model_rpm_limit": {"gpt-4o": 1},
    "model_tpm_limit": {"gpt-4o": 2**63 - 1},
    "secret_manager_settings": {"namespace": "n"},
    "team_member_key_duration": "30d",
}
DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(PLAIN),
    "models": [],
    "model_max_budget": {},
    "metadata": {},
    "blocked": False,
    "default_team_member_models": [],
    "access_group_ids": [],
    "policies": [],
}
ELSEWHERE = (
    "team_id",
    "organization_id",
    "members_with_roles",
    "model_aliases",
    "budget_limits",
    "object_permission",
    "team_member_budget",
    "team_member_budget_duration",
    "team_member_tpm_limit",
    "team_member_rpm_limit",
)


def new(api: Api, **fields: Any) -> dict[str, Any]:
    answer = api.post("/team/new", fields)
    assert answer.status == 200, answer
    return answer.body


def info(api: Api, team_id: str, **query: Any) -> dict[str, Any]:
    answer = api.get("/team/info", team_id=team_id, **query)
    assert answer.status == 200, answer
    return answer.body


def add(api: Api, team_id: str, member: Any, **fields: Any) -> dict[str, Any]:
    answer = api.post("/team/member_add", {"team_id": team_id, "member": member, **fields})
    assert answer.status == 200, answer
    return answer.body


def roles(team: dict[str, Any]) -> dict[str, str]:
    return {member["user_id"]: member["role"] for member in team["members_with_roles"]}


def memberships(api: Api, team_id: str) -> dict[str, dict[str, Any]]:
    return {member["user_id"]: member for member in info(api, team_id)["team_memberships"]}


def spend(services: Services, scope: str, scope_id: str, dollars: int) -> None:
    """Let a scope have spent so much in its present window and three times as much ever."""
    with services.database.transaction() as transaction:
        found = transaction.execute(
            update(budget_state)
            .where(budget_state.c.scope == scope, budget_state.c.scope_id == scope_id)
            .values(window_spend_nanos=dollars * NANOS, lifetime_spend_nanos=3 * dollars * NANOS)
        )
        assert found.rowcount == 1


def change(api: Api, team_id: str, *, caller: str | None = None, **fields: Any) -> Answer:
    named = {} if caller is None else {"key": caller}
    return api.post("/team/update", {"team_id": team_id, **fields}, **named)


def changed(api: Api, team_id: str, **fields: Any) -> dict[str, Any]:
    """The team after an update that must succeed, as info shows it and the update answered it."""
    answer = change(api, team_id, **fields)
    assert answer.status == 200, answer
    shown = info(api, team_id)["team_info"]
    assert answer.body == {"team_id": team_id, "data": row_of(shown)}
    return shown


def row_of(shown: dict[str, Any]) -> dict[str, Any]:
    """What info shows of a team without what it alone tells."""
    told = {"model_max_budget_usage", "budget_limits_usage"}
    return {name: value for name, value in shown.items() if name not in told}

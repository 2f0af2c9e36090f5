"""What was read may be sent back as it is, as forms do: nothing is refused by it, and nothing changes."""

from collections.abc import Callable
from typing import Any

import pytest

from app.container import Services
from app.models import organizations
from tests.clients import Answer, Api
from tests.factories import on_one_store, rows

LIMITS: dict[str, Any] = {
    "max_budget": 5, "soft_budget": 1, "budget_duration": "1d", "budget_timezone": "Asia/Tokyo", "rpm_limit": 7,
    "model_max_budget": {"m": {"budget_limit": 1, "time_period": "1d"}},
}  # fmt: skip
WINDOWS = [{"budget_duration": "1h", "max_budget": 1, "budget_timezone": "Asia/Kolkata"}]
# How it is made, the path at which it changes, and where its row is read.
READ: dict[str, tuple[str, dict[str, Any], str, Callable[[Api], dict[str, Any]]]] = {
    "key": (
        "/key/generate",
        {"key": "sk-sent-back-0000", "policies": ["p"], "budget_limits": WINDOWS},
        "/key/update",
        lambda api: {"key": "sk-sent-back-0000", **api.info("sk-sent-back-0000")},
    ),
    "team": (
        "/team/new",
        {"team_id": "t", "budget_limits": WINDOWS},
        "/team/update",
        lambda api: api.get("/team/info", team_id="t").body["team_info"],
    ),
    "user": (
        "/user/new",
        {"user_id": "u", "auto_create_key": False},
        "/user/update",
        lambda api: api.get("/user/info", user_id="u").body["user_info"],
    ),
    "tier": (
        "/budget/new",
        {"budget_id": "b"},
        "/budget/update",
        lambda api: api.post("/budget/info", {"budgets": ["b"]}).body[0],
    ),
    "organization": (
        "/organization/new",
        {"organization_id": "o", "organization_alias": "o"},
        "/organization/update",
        lambda api: api.get("/organization/info", organization_id="o").body,
    ),
}
MOVES = frozenset({"updated_at", "updated_by", "settings_updated_at"})


def sent(api: Api, path: str, body: dict[str, Any]) -> Answer:
    answer = api.call("PATCH" if path == "/organization/update" else "POST", path, json=body)
    assert answer.status == 200, answer
    return answer


def at_rest(row: Any) -> Any:
    """A row without what every change moves."""
    if not isinstance(row, dict):
        return row
    return {name: at_rest(value) for name, value in row.items() if name not in MOVES}


@on_one_store
@pytest.mark.parametrize("name", READ)
def test_a_row_that_was_read_is_taken_back_and_changes_nothing(api: Api, name: str):
    made_at, identity, changed_at, read = READ[name]
    sent(api, made_at, {**identity, **LIMITS})
    before = read(api)

    sent(api, changed_at, before)

    assert at_rest(read(api)) == at_rest(before)


@on_one_store
def test_an_organization_on_a_shared_tier_stays_on_it_when_its_row_is_sent_back(api: Api, services: Services):
    sent(api, "/budget/new", {"budget_id": "shared", **LIMITS})
    for organization_id in ("o", "p"):
        sent(
            api,
            "/organization/new",
            {"organization_id": organization_id, "organization_alias": "o", "budget_id": "shared"},
        )

    sent(api, "/organization/update", api.get("/organization/info", organization_id="o").body)

    assert {row["budget_id"] for row in rows(services.database, organizations)} == {"shared"}

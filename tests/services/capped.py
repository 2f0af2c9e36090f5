"""Keys whose charges count in one capped scope, and what is told of its thresholds."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import update

from app.container import Services
from app.dispatch import TaskName
from app.domain.teams import member_id
from app.domain.thresholds import CrossingKind
from app.models import budgets, events, users
from tests.clients import Api
from tests.factories import NANOS, rows

CAP, SOFT, WINDOW = 10, 5, "1d"
# What is told on the way to the cap, each with the percentage of it, and at which spend.
STEPS = (
    (5, "soft_budget_crossed", None),
    (8, "max_budget_alert", 80),
    (8.5, "threshold_crossed", 85),
    (9.5, "threshold_crossed", 95),
    (10, "budget_crossed", None),
)
ALL = [(kind, percentage) for _, kind, percentage in STEPS]


@dataclass(frozen=True)
class Capped:
    """A scope with a hard cap, a soft one and a daily window, and a key that is charged to it."""

    entity: str
    entity_id: str
    key: str


def of_key(api: Api, _services: Services) -> Capped:
    key = api.generate(max_budget=CAP, soft_budget=SOFT, budget_duration=WINDOW)
    return Capped("key", key["key_id"], key["key"])


def of_tier(api: Api, _services: Services) -> Capped:
    api.post("/budget/new", {"budget_id": "b", "max_budget": CAP, "soft_budget": SOFT, "budget_duration": WINDOW})
    key = api.generate(budget_id="b")
    return Capped("key", key["key_id"], key["key"])


def of_team(api: Api, _services: Services) -> Capped:
    api.post("/team/new", {"team_id": "t", "max_budget": CAP, "soft_budget": SOFT, "budget_duration": WINDOW})
    return Capped("team", "t", api.generate(team_id="t")["key"])


def of_user(api: Api, services: Services) -> Capped:
    user = {"user_id": "u", "user_email": "u@example.com", "max_budget": CAP, "budget_duration": WINDOW}
    api.post("/user/new", {**user, "auto_create_key": False})
    with services.database.transaction() as transaction:
        transaction.execute(update(users).values(soft_budget_nanos=SOFT * NANOS))
    return Capped("user", "u", api.generate(user_id="u")["key"])


def of_member(api: Api, services: Services) -> Capped:
    tier = {"team_member_budget": CAP, "team_member_budget_duration": WINDOW}
    api.post("/team/new", {"team_id": "t", "members_with_roles": [{"role": "user", "user_id": "u"}], **tier})
    with services.database.transaction() as transaction:
        transaction.execute(update(budgets).values(soft_budget_nanos=SOFT * NANOS))
    return Capped("member", member_id("t", "u"), api.generate(team_id="t", user_id="u")["key"])


def of_organization(api: Api, _services: Services) -> Capped:
    tier = {"max_budget": CAP, "soft_budget": SOFT, "budget_duration": WINDOW}
    made = api.post("/organization/new", {"organization_alias": "o", **tier}).body
    return Capped(
        "organization",
        made["organization_id"],
        api.generate(organization_id=made["organization_id"])["key"],
    )


SCOPES: Mapping[str, Callable[[Api, Services], Capped]] = {
    "key": of_key,
    "tier": of_tier,
    "team": of_team,
    "user": of_user,
    "member": of_member,
    "organization": of_organization,
}


def settle(api: Api, key: str, cost: float, at: datetime | None = None) -> None:
    """Charge a call that was never held."""
    call: dict[str, Any] = {"key": key, "request_id": str(uuid.uuid4()), "cost": cost}
    if at is not None:
        call["occurred_at"] = at.isoformat()
    answer = api.post("/key/settle", call)
    assert answer.status == 200, answer


def fold(services: Services) -> int:
    """Fold whatever waits."""
    return services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)


def look(services: Services) -> int:
    """Look at the accounts whose caps were changed."""
    return services.jobs.run(TaskName.WATCH_BUDGETS, lambda: True)


def crossings(services: Services, **equal: Any) -> list[dict[str, Any]]:
    """The events of crossed thresholds, in the order of windows and thresholds."""
    found = [row for row in rows(services.database, events, **equal) if row["kind"] in set(CrossingKind)]
    return sorted(found, key=lambda row: (row["payload"]["window_start"] or "", row["payload"]["threshold"]))


def told(services: Services, **equal: Any) -> list[tuple[str, int | None]]:
    """Kind and percentage of each of them."""
    return [(row["kind"], row["payload"]["percentage"]) for row in crossings(services, **equal)]

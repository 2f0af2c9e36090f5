"""With Redis away, what bears on verdicts is not changed: nobody could tell the others, so nothing is written."""

from typing import Any

import pytest

from app.config import Settings
from app.container import Services
from tests.api.identities import ORGANIZATION, TEAM, gather, without_redis
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import add_tier, on_one_store, unchanged

CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/team/update", {"team_id": TEAM, "team_alias": "x"}),
    ("POST", "/team/block", {"team_id": TEAM}),
    ("POST", "/team/unblock", {"team_id": TEAM}),
    ("POST", "/team/member_update", {"team_id": TEAM, "user_id": "member", "role": "admin"}),
    ("POST", "/user/update", {"user_id": "member", "user_alias": "x"}),
    ("POST", "/budget/update", {"budget_id": "gold", "max_budget": 1}),
    ("PATCH", "/organization/update", {"organization_id": ORGANIZATION, "max_budget": 1}),
]


@on_one_store
@pytest.mark.parametrize(("method", "path", "sent"), CHANGES)
def test_a_change_that_cannot_be_announced_is_an_outage_and_changes_nothing(
    api: Api,
    services: Services,
    settings: Settings,
    clock: MovableClock,
    method: str,
    path: str,
    sent: dict[str, Any],
):
    gather(api, services.database)
    add_tier(services.database, "gold")

    with without_redis(settings, clock) as cut_off, unchanged(services.database):
        answer = cut_off.call(method, path, json=sent)

    assert answer.summary == (503, "no_db_connection", None)
    assert "retry-after" in answer.headers

"""`keyledger ledger check`: every balance is what the ledger adds up to, and a drift is seen."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.container import Services
from app.dispatch import TaskName
from app.models import budget_state
from tests.clients import Api
from tests.clocks import MovableClock


@pytest.fixture
def charged(api: Api, services: Services, clock: MovableClock) -> dict[str, Any]:
    """A key with all kinds of accounts, charged in two windows, some of it folded."""
    api.post("/team/new", {"team_id": "t", "max_budget": 50, "budget_duration": "30d"})
    key = api.generate(
        team_id="t",
        user_id="u",
        max_budget=20,
        budget_duration="1d",
        model_max_budget={"gpt-4o": {"budget_limit": 50, "time_period": "1d"}},
        budget_limits=[{"budget_duration": "7d", "max_budget": 90}],
    )
    settle(api, key, 1)
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    clock.advance(timedelta(days=1))
    settle(api, key, 2)
    settle(api, key, 3)
    return key


def settle(api: Api, key: dict[str, Any], cost: float) -> None:
    asked = {"key": key["key"], "model": "gpt-4o", "estimate": {"cost": cost}}
    held = api.post("/key/verify", asked).body
    assert held["allowed"], held
    settled = api.post("/key/settle", {"reservation_id": held["reservation_id"], "cost": cost})
    assert settled.status == 200, settled


def test_what_was_charged_adds_up_folded_or_not(api: Api, services: Services, charged: dict[str, Any]):
    before = services.ledger_check.check(10)
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    after = services.ledger_check.check(10)

    assert (before.drifts, after.drifts) == ([], [])
    assert (before.entries, before.unknown) == (3, 0)
    assert before.accounts >= 6


def test_corrections_and_other_windows_add_up_too(api: Api, services: Services, charged: dict[str, Any]):
    for changed in ({"spend": 4}, {"budget_duration": "30d"}, {"budget_duration": None}):
        assert api.post("/key/update", {"key": charged["key"], **changed}).status == 200
        assert services.ledger_check.check(10).drifts == []
        settle(api, charged, 0.5)
        services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
        assert services.ledger_check.check(10).drifts == []


@pytest.mark.parametrize("column", ["window_spend_nanos", "lifetime_spend_nanos"])
def test_a_drift_of_one_nano_dollar_is_seen(services: Services, charged: dict[str, Any], column: str):
    with services.database.transaction() as transaction:
        transaction.execute(
            update(budget_state).where(budget_state.c.scope == "team").values({column: budget_state.c[column] + 1})
        )

    (drift,) = services.ledger_check.check(10).drifts

    found = drift.window if column == "window_spend_nanos" else drift.lifetime
    assert (drift.scope, drift.scope_id) == ("team", "t")
    assert found is not None
    assert found[0] - found[1] == 1


REMADE: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "team": ("/team/new", {"team_id": "h", "budget_duration": "30d"}, "/team/delete", {"team_ids": ["h"]}),
    "user": (
        "/user/new",
        {"user_id": "h", "budget_duration": "30d", "auto_create_key": False},
        "/user/delete",
        {"user_ids": ["h"]},
    ),
    "member": (
        "/team/member_add",
        {"team_id": "of", "member": {"role": "user", "user_id": "u"}},
        "/team/member_delete",
        {"team_id": "of", "user_id": "u"},
    ),
    "organization": (
        "/organization/new",
        {"organization_id": "h", "organization_alias": "h", "budget_duration": "30d"},
        "/organization/delete",
        {"organization_ids": ["h"]},
    ),
}


@pytest.mark.parametrize(("folded", "comes_late"), [(True, False), (False, False), (True, True)])
@pytest.mark.parametrize("kind", REMADE)
def test_what_is_deleted_and_made_again_within_its_window_adds_up(
    api: Api, services: Services, clock: MovableClock, kind: str, folded: bool, comes_late: bool
):
    """What was charged before belongs to no window any more, were it the same."""
    path, made, end, named = REMADE[kind]
    api.post("/team/new", {"team_id": "of", "team_member_budget": 90, "team_member_budget_duration": "30d"})
    clock.advance(-timedelta(days=20))  # in the month before
    assert api.post(path, made).status == 200
    of = {"member": {"team_id": "of", "user_id": "u"}}.get(kind, {f"{kind}_id": "h"})
    key = api.generate(**of)
    settle(api, key, 1)
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    clock.advance(timedelta(days=20))
    settle(api, key, 2)
    if folded:
        services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    asked = {"key": key["key"], "model": "gpt-4o", "estimate": {"cost": 4}}
    late = api.post("/key/verify", asked).body
    if kind != "organization":  # whose keys go with it
        api.post("/key/delete", {"keys": [key["key"]]})
    clock.advance(1)
    method = "DELETE" if kind == "organization" else "POST"
    assert api.call(method, end, json=named).status == 200
    clock.advance(1)
    if comes_late:
        assert api.post("/key/settle", {"reservation_id": late["reservation_id"], "cost": 4}).status == 200
    clock.advance(1)

    assert api.post(path, made).status == 200

    assert services.ledger_check.check(10).drifts == []
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    assert services.ledger_check.check(10).drifts == []
    settle(api, api.generate(**of), 8)
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    assert services.ledger_check.check(10).drifts == []


def test_a_rebase_goes_through_every_account(services: Services, charged: dict[str, Any]):
    assert sum(services.ledger_check.rebase()) == services.ledger_check.check(10).accounts

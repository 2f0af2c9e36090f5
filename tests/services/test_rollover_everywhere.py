"""An installation that rolls over: accounts of every scope do, budgets for models and further windows too."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import bindparam, update

from app.clock import iso
from app.config import Settings
from app.container import Services
from app.domain.scopes import Scope, ScopeKind
from app.models import keys
from app.services.accounts.spellings import READERS
from tests.api.counting import statements
from tests.clients import Answer, Api
from tests.clocks import MovableClock
from tests.factories import NANOS
from tests.services.every_scope import KEY, MODEL, copy, fold, make, reset, states

DAY = timedelta(days=1)
# What each account may spend in a day.
CAPS = {ScopeKind.KEY_MODEL: 50, ScopeKind.TEAM_MODEL: 50, ScopeKind.USER_MODEL: 50} | dict.fromkeys(
    (ScopeKind.KEY_WINDOW, ScopeKind.TEAM_WINDOW, ScopeKind.MEMBER), 90
)
OTHERS = 30


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, budget_rollover=True)


@pytest.fixture
def accounts(api: Api) -> Mapping[ScopeKind, Scope]:
    made = make(api)
    cap = {"max_budget": OTHERS}
    organization = {"organization_id": made[ScopeKind.ORGANIZATION].id, **cap}
    answers = [
        api.post("/key/update", {"key": KEY, **cap}),
        api.post("/team/update", {"team_id": "t", **cap}),
        api.post("/user/update", {"user_id": "u", **cap}),
        api.call("PATCH", "/organization/update", json=organization),
    ]
    assert {answer.status for answer in answers} == {200}
    return made


def charge(api: Api, request_id: str, cost: int, **more: Any) -> Answer:
    answer = api.post("/key/settle", {"key": KEY, "request_id": request_id, "cost": cost, "model": MODEL, **more})
    assert answer.status == 200, answer
    return answer


def left(spent: int, days: int = 1) -> dict[ScopeKind, int]:
    return {kind: max(0, spent - days * CAPS.get(kind, OTHERS)) for kind in READERS}


def stored(services: Services) -> dict[ScopeKind, int]:
    return {scope.kind: row["window_spend_nanos"] // NANOS for scope, row in states(services.database).items()}


def test_every_scope_carries_on_what_it_spent_beyond_its_cap(
    api: Api, services: Services, clock: MovableClock, accounts: Mapping[ScopeKind, Scope]
) -> None:
    charge(api, "a", 100)
    fold(services)
    clock.advance(DAY)

    assert [reset(services) for _ in range(2)] == [len(accounts), 0]

    assert stored(services) == left(100)
    # Two days that nobody moves, and a charge that does: late for the first day, and in time for this.
    clock.advance(2 * DAY)
    charge(api, "b", 20, occurred_at=iso(clock.now() - 3 * DAY))
    charge(api, "c", 7)
    fold(services)
    assert stored(services) == {kind: carried + 7 for kind, carried in left(120, 3).items()}
    assert services.ledger_check.check(10).drifts == []


def test_a_changed_cap_of_a_model_or_a_further_window_counts_from_the_window_of_the_change(
    api: Api, services: Services, clock: MovableClock, accounts: Mapping[ScopeKind, Scope]
) -> None:
    charge(api, "a", 200)
    clock.advance(DAY)

    models = {MODEL: {"budget_limit": 10, "time_period": "1d"}}
    windows = [{"budget_duration": "1d", "max_budget": 10}]
    for path, named in (("/key/update", {"key": KEY}), ("/team/update", {"team_id": "t"})):
        sent = {**named, "model_max_budget": models, "budget_limits": windows}
        assert api.post(path, sent).status == 200
    assert api.post("/user/update", {"user_id": "u", "model_max_budget": models}).status == 200
    clock.advance(DAY)
    reset(services)
    fold(services)

    changed = {ScopeKind.KEY_MODEL, ScopeKind.TEAM_MODEL, ScopeKind.USER_MODEL}
    changed |= {ScopeKind.KEY_WINDOW, ScopeKind.TEAM_WINDOW}
    assert {kind: spent for kind, spent in stored(services).items() if kind in changed} == {
        kind: left(200)[kind] - 10 for kind in changed
    }


def test_a_budget_that_is_not_to_roll_over_does_not(
    api: Api, services: Services, clock: MovableClock, accounts: Mapping[ScopeKind, Scope]
) -> None:
    assert api.post("/key/update", {"key": KEY, "budget_rollover": False}).status == 200
    charge(api, "a", 100)
    clock.advance(DAY)

    assert api.info(KEY)["spend"] == 0
    reset(services)
    fold(services)

    assert stored(services) == {**left(100), ScopeKind.KEY: 0}


def test_a_batch_costs_the_same_however_many_accounts_roll_over_by_whatever_caps(
    services: Services, clock: MovableClock, api: Api, accounts: Mapping[ScopeKind, Scope]
) -> None:
    charge(api, "a", 100)
    fold(services)
    costs = []
    for count in (0, 20):
        for scope in accounts.values():
            copy(services.database, scope, count)
        caps = [{"of_key": f"key {n}", "cap": (10 + n) * NANOS} for n in range(count)]
        if caps:
            with services.database.transaction() as transaction:
                transaction.execute(_CAP, caps)
        clock.advance(DAY)
        with statements(services.database) as sent:
            assert reset(services) == (count + 1) * len(accounts)
        costs.append(len(sent))

    # As many statements as there are windows to come from and to go to.
    assert costs[1] <= costs[0]
    carried = {scope.id: row["window_spend_nanos"] // NANOS for scope, row in states(services.database).items()}
    # Of 100 spent the original, of which they are copies, has left 70 after a day.
    assert {n: carried[f"key {n}"] for n in range(20)} == {n: 60 - n for n in range(20)}


_CAP = update(keys).where(keys.c.key_id == bindparam("of_key")).values(max_budget_nanos=bindparam("cap"))

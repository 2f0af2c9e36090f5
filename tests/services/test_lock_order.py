"""Accounts are held in one order by everybody: a change and a fold at once wait for each other, and both get through.

They are made to meet where an account that was held too early would be a deadlock: first the fold waits for one
account, then the change for the same or another, and only then is the first let go.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from operator import itemgetter
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import delete, select, text, update

from app.config import Settings
from app.container import Services, build
from app.db import Database
from app.dispatch import TaskName
from app.domain.scopes import Scope, ScopeKind
from app.domain.teams import member_id
from app.models import budget_state, ledger_unfolded, team_members
from app.services.accounts import account_rows
from tests.api.calls import spent
from tests.api.counting import statements
from tests.apps import app_over
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import rows
from tests.servers import eventually
from tests.services.every_scope import KEY, MODEL, WINDOW, charge, fold

# Nothing here may fail for lack of time: what waits does so for as long as a starved machine takes.
SECONDS = 60.0
BUDGET = {MODEL: {"budget_limit": 50, "time_period": WINDOW}}
ANOTHER = {MODEL: {"budget_limit": 50, "time_period": "1h"}}
_WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
def store_url(postgres_url: str) -> str:
    """PostgreSQL, where accounts are rows that are held one by one."""
    return postgres_url


@pytest.fixture
def patient(settings: Settings, clock: MovableClock) -> Iterator[Services]:
    services = build(replace(settings, busy_seconds=SECONDS, change_seconds=2 * SECONDS), clock)
    yield services
    services.close()


@pytest.fixture
def patient_api(patient: Services) -> Api:
    return Api(app_over(patient))


@pytest.fixture
def held(patient: Services, patient_api: Api) -> dict[ScopeKind, Scope]:
    """A charge that is to be folded into these accounts; the model's and the member's budgets are of one tier."""
    api = patient_api
    limits = {"budget_duration": WINDOW, "model_max_budget": BUDGET}
    api.post("/budget/new", {"budget_id": "tier", **limits})
    api.post("/user/new", {"user_id": "u", "auto_create_key": False, **limits})
    api.post("/organization/new", {"organization_id": "o", "organization_alias": "o"})
    in_organization = {"team_id": "t", "organization_id": "o"}
    api.post("/team/new", {**in_organization, "members_with_roles": [{"role": "user", "user_id": "u"}]})
    with patient.database.transaction() as transaction:
        transaction.execute(update(team_members).values(budget_id="tier"))
    key_id = api.generate(key=KEY, team_id="t", user_id="u", budget_id="tier", budget_duration=WINDOW)["key_id"]
    charge(api, 1)
    fold(patient)
    charge(api, 1)
    return {
        ScopeKind.KEY: Scope(ScopeKind.KEY, key_id),
        ScopeKind.KEY_MODEL: Scope(ScopeKind.KEY_MODEL, key_id, MODEL),
        ScopeKind.MEMBER: Scope(ScopeKind.MEMBER, member_id("t", "u")),
        ScopeKind.USER: Scope(ScopeKind.USER, "u"),
    }


def waits(database: Database, number: int) -> bool:
    """Whether so many wait for a lock."""
    with database.read() as connection:
        return connection.execute(_WAITING).scalar_one() == number


@contextmanager
def let_go_at_last(database: Database, scope: Scope) -> Iterator[None]:
    """Hold an account for as long as the block takes."""
    with database.engine.begin() as connection:
        row = select(budget_state.c.scope).where(account_rows.among(connection, [scope])).with_for_update()
        assert connection.execute(row).scalar_one() == scope.kind
        yield


@contextmanager
def away_for_a_while(database: Database, scope: Scope) -> Iterator[None]:
    """Take an account away for as long as the block takes: a fold waits to open it, and holds none as yet."""
    with database.engine.connect() as connection:
        assert (
            connection.execute(delete(budget_state).where(account_rows.among(connection, [scope]))).rowcount == 1
        )
        yield


def meet(
    services: Services, api: Api, holding: AbstractContextManager[None], path: str, sent: Any, charges: int = 1
) -> None:
    """Let a fold of so many charges wait for an account, then the change; both get through once it is let go."""
    folded: list[int] = []
    changed: list[int] = []
    folding = Thread(target=lambda: folded.append(services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)))
    method = "DELETE" if path == "/organization/delete" else "POST"
    changing = Thread(target=lambda: changed.append(api.call(method, path, json=sent).status))
    with holding:
        for number, thread in enumerate((folding, changing), start=1):
            thread.start()
            eventually(partial(waits, services.database, number), seconds=SECONDS)
    for thread in (folding, changing):
        thread.join(SECONDS)
    assert (folded, changed) == ([charges], [200])


@pytest.mark.parametrize(
    ("kind", "path", "sent"),
    [
        (
            ScopeKind.KEY_MODEL,
            "/budget/update",
            {"budget_id": "tier", "budget_duration": "1h", "model_max_budget": ANOTHER},
        ),
        (ScopeKind.KEY_MODEL, "/budget/delete", {"id": "tier"}),
        (ScopeKind.KEY, "/key/update", {"key": KEY, "spend": 5, "model_max_budget": ANOTHER}),
        (ScopeKind.USER, "/user/update", {"user_id": "u", "spend": 5, "model_max_budget": ANOTHER}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_change_of_several_accounts_and_a_fold_at_once_both_get_through(
    patient: Services,
    patient_api: Api,
    clock: MovableClock,
    held: dict[ScopeKind, Scope],
    kind: ScopeKind,
    path: str,
    sent: dict[str, Any],
):
    # So whoever sets a spend moves the window first.
    clock.advance(24 * 3600)

    meet(patient, patient_api, let_go_at_last(patient.database, held[kind]), path, sent)

    assert rows(patient.database, ledger_unfolded, scope="key_model") == []
    assert patient.ledger_check.check(10).drifts == []


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        (
            "/key/bulk_update",
            lambda first, second: {
                "keys": [{"key": first, "budget_duration": "7d"}, {"key": second, "max_budget": 40}]
            },
        ),
        ("/budget/update", lambda *_: {"budget_id": "tier", "max_budget": 40, "budget_duration": "7d"}),
        ("/budget/delete", lambda *_: {"id": "tier"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_rolls_over_is_not_held_before_what_comes_before_it(
    patient: Services,
    patient_api: Api,
    clock: MovableClock,
    path: str,
    changes: Callable[[str, str], dict[str, Any]],
):
    """The first of two keys is given another window, the second carries on what has passed by the cap of before."""
    api = patient_api
    api.post("/budget/new", {"budget_id": "tier", "max_budget": 50, "budget_duration": WINDOW})
    made = sorted((api.generate(budget_id="tier") for _ in range(2)), key=itemgetter("key_id"))
    first, second = (each["key"] for each in made)
    of_its_own = {"budget_duration": "1h", "budget_rollover": True}
    assert api.post("/key/update", {"key": second, **of_its_own}).status == 200
    for key in (first, second):
        spent(api, key, 1)
    clock.advance(2 * 3600)

    holding = let_go_at_last(patient.database, Scope(ScopeKind.KEY, made[0]["key_id"]))
    meet(patient, api, holding, path, changes(first, second), charges=2)

    assert patient.ledger_check.check(10).drifts == []


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/team/delete", {"team_ids": ["t"]}),
        ("/team/member_delete", {"team_id": "t", "user_id": "u"}),
        ("/user/delete", {"user_ids": ["u"]}),
        ("/organization/delete", {"organization_ids": ["o"]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_end_waits_for_a_fold_of_what_it_closes_before_it_holds_any_account(
    patient: Services, patient_api: Api, held: dict[ScopeKind, Scope], path: str, sent: dict[str, Any]
):
    meet(patient, patient_api, away_for_a_while(patient.database, held[ScopeKind.USER]), path, sent)

    assert rows(patient.database, ledger_unfolded) == []
    assert patient.ledger_check.check(10).drifts == []


def test_the_order_of_accounts_is_the_same_whatever_the_language_of_the_store(
    patient: Services, patient_api: Api, held: dict[ScopeKind, Scope]
):
    """Windows are moved in the order of code points; where ids have capitals, that of a language is another one."""
    with statements(patient.database) as sent:
        patient_api.post("/team/delete", {"team_ids": ["t"]})
        fold(patient)

    holding = [statement for statement in sent if "FOR UPDATE" in statement and "FROM budget_state" in statement]
    ordered = [f'budget_state.{column} COLLATE "C"' for column in ("scope", "scope_id", "sub")]
    assert len(holding) == 3
    assert all(", ".join(ordered) in statement for statement in holding), holding

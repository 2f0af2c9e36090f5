"""One key whose charges count in an account of every scope, each with a daily window, and nothing else that is due."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import delete, insert, select, update

from app.container import Services
from app.db import Database
from app.dispatch import TaskName
from app.domain.scopes import Scope, ScopeKind
from app.domain.teams import member_id
from app.models import budget_state, budgets, keys, organizations, team_members, teams, users
from tests.clients import Answer, Api
from tests.factories import rows
from tests.servers import eventually

WINDOW, MODEL = "1d", "gpt-4o"
KEY = "sk-of-every-scope-0123456789"


def make(api: Api) -> dict[ScopeKind, Scope]:
    """Make the key and all that it belongs to; its accounts by their kind."""
    organization = api.post("/organization/new", {"organization_alias": "o", "budget_duration": WINDOW}).body
    models = {MODEL: {"budget_limit": 50, "time_period": WINDOW}}
    windows = [{"budget_duration": WINDOW, "max_budget": 90}]
    api.post(
        "/user/new",
        {"user_id": "u", "budget_duration": WINDOW, "auto_create_key": False, "model_max_budget": models},
    )
    api.post(
        "/team/new",
        {
            "team_id": "t",
            "organization_id": organization["organization_id"],
            "budget_duration": WINDOW,
            "model_max_budget": models,
            "budget_limits": windows,
            "team_member_budget": 90,
            "team_member_budget_duration": WINDOW,
            "members_with_roles": [{"role": "user", "user_id": "u"}],
        },
    )
    made = api.generate(
        key=KEY,
        team_id="t",
        user_id="u",
        budget_duration=WINDOW,
        model_max_budget=models,
        budget_limits=windows,
    )
    ids = {
        ScopeKind.KEY: (made["key_id"], ""),
        ScopeKind.KEY_MODEL: (made["key_id"], MODEL),
        ScopeKind.KEY_WINDOW: (made["key_id"], WINDOW),
        ScopeKind.TEAM: ("t", ""),
        ScopeKind.TEAM_MODEL: ("t", MODEL),
        ScopeKind.TEAM_WINDOW: ("t", WINDOW),
        ScopeKind.MEMBER: (member_id("t", "u"), ""),
        ScopeKind.USER: ("u", ""),
        ScopeKind.USER_MODEL: ("u", MODEL),
        ScopeKind.ORGANIZATION: (organization["organization_id"], ""),
    }
    return {kind: Scope(kind, *names) for kind, names in ids.items()}


def charge(api: Api, cost: float) -> None:
    """A call of the model that was held; each of the accounts is charged."""
    name = f"call {uuid.uuid4()}"
    held = ask(api, "/key/verify", {"key": KEY, "model": MODEL, "estimate": {"cost": cost}, "request_id": name})
    assert held.body.get("allowed"), held
    settled = ask(api, "/key/settle", {"reservation_id": held.body["reservation_id"], "cost": cost})
    assert settled.status == 200, settled


def ask(api: Api, path: str, body: dict[str, Any]) -> Answer:
    """Ask as a gateway does, again where the answer is an outage: a busy machine has those for a moment."""
    return eventually(lambda: None if (answer := api.post(path, body)).status == 503 else answer)


def fold(services: Services) -> None:
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)


def reset(services: Services) -> int:
    return services.jobs.run(TaskName.RESET_BUDGETS, lambda: True)


def states(database: Database) -> dict[Scope, dict[str, Any]]:
    """The accounts as they are stored."""
    return {
        Scope(ScopeKind(row["scope"]), row["scope_id"], row["sub"]): row for row in rows(database, budget_state)
    }


def state(database: Database, scope: Scope) -> dict[str, Any]:
    return states(database)[scope]


def store(database: Database, scope: Scope, **columns: Any) -> None:
    """Write into the account what no endpoint does."""
    with database.transaction() as transaction:
        transaction.execute(update(budget_state).where(_of(scope)).values(**columns))


def copy(database: Database, scope: Scope, count: int) -> None:
    """Make so many more owners like the account's, each with an account like it."""
    if not count:
        return
    table, identity = OWNERS[scope.kind]
    with database.transaction() as transaction:
        owner = transaction.execute(select(table).where(*_owned(scope))).mappings().one()
        account = transaction.execute(select(budget_state).where(_of(scope))).mappings().one()
        names = [f"{scope.kind} {n}" for n in range(count)]
        transaction.execute(
            insert(table), [{**owner, identity: name, **_ALONE.get(table.name, {})} for name in names]
        )
        ids = [member_id("t", name) if scope.kind is ScopeKind.MEMBER else name for name in names]
        transaction.execute(insert(budget_state), [{**account, "scope_id": name} for name in ids])


def spell(database: Database, scope: Scope, spelling: str | None) -> Scope:
    """Store another spelling for the account, or none, behind the back of whoever arms it; the account then."""
    with database.transaction() as transaction:
        transaction.execute(_SPELLED[scope.kind](scope, spelling))
        if scope.kind not in {ScopeKind.KEY_WINDOW, ScopeKind.TEAM_WINDOW} or spelling is None:
            return scope
        transaction.execute(update(budget_state).where(_of(scope)).values(sub=spelling))
        return replace(scope, sub=spelling)


def drop(database: Database, scope: Scope) -> None:
    """Take away what the account belongs to, and leave the account."""
    with database.transaction() as transaction:
        if scope.kind is ScopeKind.ORGANIZATION:
            for linked in (keys, teams):
                transaction.execute(update(linked).values(organization_id=None))
        transaction.execute(delete(OWNERS[scope.kind][0]).where(*_owned(scope)))


OWNERS: Mapping[ScopeKind, tuple[Any, str]] = {
    ScopeKind.KEY: (keys, "key_id"),
    ScopeKind.KEY_MODEL: (keys, "key_id"),
    ScopeKind.KEY_WINDOW: (keys, "key_id"),
    ScopeKind.TEAM: (teams, "team_id"),
    ScopeKind.TEAM_MODEL: (teams, "team_id"),
    ScopeKind.TEAM_WINDOW: (teams, "team_id"),
    ScopeKind.MEMBER: (team_members, "user_id"),
    ScopeKind.USER: (users, "user_id"),
    ScopeKind.USER_MODEL: (users, "user_id"),
    ScopeKind.ORGANIZATION: (organizations, "organization_id"),
}
# What no two of them have in common.
_ALONE: Mapping[str, Mapping[str, Any]] = {"keys": {"key_alias": None}}


def _of(scope: Scope) -> Any:
    named = (budget_state.c.scope == scope.kind.value) & (budget_state.c.scope_id == scope.id)
    return named & (budget_state.c.sub == scope.sub)


def _owned(scope: Scope) -> tuple[Any, ...]:
    if scope.kind is ScopeKind.MEMBER:
        return (team_members.c.team_id == "t", team_members.c.user_id == "u")
    table, identity = OWNERS[scope.kind]
    return (table.c[identity] == scope.id,)


def _itself(scope: Scope, spelling: str | None) -> Any:
    return update(OWNERS[scope.kind][0]).where(*_owned(scope)).values(budget_duration=spelling)


def _tier(scope: Scope, spelling: str | None) -> Any:
    linked = select(OWNERS[scope.kind][0].c.budget_id).where(*_owned(scope))
    return update(budgets).where(budgets.c.budget_id.in_(linked)).values(budget_duration=spelling)


def _model(scope: Scope, spelling: str | None) -> Any:
    budget = {MODEL: {"budget_limit": 50} | ({} if spelling is None else {"time_period": spelling})}
    return update(OWNERS[scope.kind][0]).where(*_owned(scope)).values(model_max_budget=budget)


def _further(scope: Scope, spelling: str | None) -> Any:
    limits = None if spelling is None else [{"budget_duration": spelling, "max_budget": 90}]
    return update(OWNERS[scope.kind][0]).where(*_owned(scope)).values(budget_limits=limits)


_SPELLED: Mapping[ScopeKind, Callable[[Scope, str | None], Any]] = {
    ScopeKind.KEY: _itself,
    ScopeKind.KEY_MODEL: _model,
    ScopeKind.KEY_WINDOW: _further,
    ScopeKind.TEAM: _itself,
    ScopeKind.TEAM_MODEL: _model,
    ScopeKind.TEAM_WINDOW: _further,
    ScopeKind.MEMBER: _tier,
    ScopeKind.USER: _itself,
    ScopeKind.USER_MODEL: _model,
    ScopeKind.ORGANIZATION: _tier,
}

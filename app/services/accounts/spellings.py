"""The spellings and caps by which accounts run, read in sets: one statement for each kind of scope.

A key's own go before its tier's; those for a model or a further window stand among the key's budgets for these.
The caps are without what is added for a time.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, select

from app.domain.further_budgets import readable
from app.domain.rollover import Terms
from app.domain.scopes import Scope, ScopeKind
from app.domain.teams import member_id, membership
from app.domain.values import InvalidValue
from app.models import budgets, keys, organizations, team_members, teams, users
from app.services.rows.rows import among, tuple_among

_Spelled = Mapping[Scope, Terms | InvalidValue]


def load(connection: Connection, scopes: Iterable[Scope]) -> dict[Scope, Terms]:
    """The terms of those of the scopes that have a spelling, and an owner; none of what cannot be read."""
    return load_readable(connection, scopes)[0]


def load_readable(
    connection: Connection, scopes: Iterable[Scope]
) -> tuple[dict[Scope, Terms], dict[Scope, InvalidValue]]:
    """The same, and why the others cannot be read whose entry is there."""
    ids: dict[Callable[[Connection, Sequence[str]], _Spelled], set[str]] = {}
    for scope in scopes:
        ids.setdefault(READERS[scope.kind], set()).add(scope.id)
    found: dict[Scope, Terms] = {}
    faults: dict[Scope, InvalidValue] = {}
    for read, of_kind in ids.items():
        for scope, terms in read(connection, sorted(of_kind)).items():
            if isinstance(terms, InvalidValue):
                faults[scope] = terms
            elif terms.spelling is not None:
                found[scope] = terms
    return found, faults


def _keys(connection: Connection, ids: Sequence[str]) -> _Spelled:
    rows = connection.execute(
        select(keys.c.key_id, *(func.coalesce(keys.c[name], budgets.c[name]) for name in _TERMS))
        .select_from(_with_tiers())
        .where(keys.c.key_id.in_(among(connection, ids)))
    )
    return {Scope(ScopeKind.KEY, key_id): Terms(*terms) for key_id, *terms in rows}


def _further_of_keys(connection: Connection, ids: Sequence[str]) -> _Spelled:
    """Those of the keys' models and of their further windows."""
    rows = connection.execute(
        select(keys.c.key_id, budgets.c.model_max_budget, keys.c.model_max_budget, keys.c.budget_limits)
        .select_from(_with_tiers())
        .where(keys.c.key_id.in_(among(connection, ids)))
    )
    found: dict[Scope, Terms | InvalidValue] = {}
    for key_id, *models, limits in rows:
        entries = {model: entry for each in models if isinstance(each, Mapping) for model, entry in each.items()}
        settings = {"model_max_budget": entries, "budget_limits": limits}
        found |= readable(Scope(ScopeKind.KEY, key_id), settings)
    return found


def _further_of_teams(connection: Connection, ids: Sequence[str]) -> _Spelled:
    return _further_of(connection, ScopeKind.TEAM, teams.c.team_id, ids, "model_max_budget", "budget_limits")


def _further_of_users(connection: Connection, ids: Sequence[str]) -> _Spelled:
    return _further_of(connection, ScopeKind.USER, users.c.user_id, ids, "model_max_budget")


def _further_of(
    connection: Connection, kind: ScopeKind, identity: Any, ids: Sequence[str], *settings: str
) -> _Spelled:
    columns = (identity.table.c[name] for name in settings)
    rows = connection.execute(
        select(identity.label("holder"), *columns).where(identity.in_(among(connection, ids)))
    ).mappings()
    found: dict[Scope, Terms | InvalidValue] = {}
    for row in rows:
        found |= readable(Scope(kind, row["holder"]), {name: row[name] for name in settings})
    return found


def _members(connection: Connection, ids: Sequence[str]) -> _Spelled:
    named = (team_members.c.team_id, team_members.c.user_id)
    rows = connection.execute(
        select(*named, *_of(budgets))
        .select_from(team_members.join(budgets, budgets.c.budget_id == team_members.c.budget_id))
        .where(tuple_among(connection, named, map(membership, ids)))
    )
    return {
        Scope(ScopeKind.MEMBER, member_id(team_id, user_id)): Terms(*terms) for team_id, user_id, *terms in rows
    }


def _organizations(connection: Connection, ids: Sequence[str]) -> _Spelled:
    tiers = organizations.join(budgets, budgets.c.budget_id == organizations.c.budget_id)
    statement = select(organizations.c.organization_id, *_of(budgets)).select_from(tiers)
    return _read(connection, ScopeKind.ORGANIZATION, statement, organizations.c.organization_id, ids)


def _teams(connection: Connection, ids: Sequence[str]) -> _Spelled:
    statement = select(teams.c.team_id, *_of(teams))
    return _read(connection, ScopeKind.TEAM, statement, teams.c.team_id, ids)


def _users(connection: Connection, ids: Sequence[str]) -> _Spelled:
    statement = select(users.c.user_id, *_of(users))
    return _read(connection, ScopeKind.USER, statement, users.c.user_id, ids)


def _read(
    connection: Connection, kind: ScopeKind, statement: Select[*tuple[Any, ...]], identity: Any, ids: Sequence[str]
) -> _Spelled:
    rows = connection.execute(statement.where(identity.in_(among(connection, ids))))
    return {Scope(kind, name): Terms(*terms) for name, *terms in rows}


def _of(table: Any) -> list[Any]:
    return [table.c[name] for name in _TERMS]


def _with_tiers() -> Any:
    return keys.outerjoin(budgets, budgets.c.budget_id == keys.c.budget_id)


# In the order of `Terms`.
_TERMS = ("budget_duration", "max_budget_nanos")

# Of every kind of scope that has an account; what a holder's further accounts run by is read at once.
READERS: dict[ScopeKind, Callable[[Connection, Sequence[str]], _Spelled]] = {
    ScopeKind.KEY: _keys,
    ScopeKind.KEY_MODEL: _further_of_keys,
    ScopeKind.KEY_WINDOW: _further_of_keys,
    ScopeKind.TEAM: _teams,
    ScopeKind.TEAM_MODEL: _further_of_teams,
    ScopeKind.TEAM_WINDOW: _further_of_teams,
    ScopeKind.MEMBER: _members,
    ScopeKind.USER: _users,
    ScopeKind.USER_MODEL: _further_of_users,
    ScopeKind.ORGANIZATION: _organizations,
}

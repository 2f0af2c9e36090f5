"""Snapshots in SQL: a key with everything that bears on its verdict in one statement, and of whom it consists."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    bindparam,
    false,
    func,
    or_,
    select,
)

from app.domain.scopes import ScopeKind
from app.domain.snapshots import Snapshot
from app.domain.windows import window_of
from app.models import (
    budget_state,
    budgets,
    deleted_keys,
    key_secrets,
    keys,
    object_permissions,
    organization_members,
    organizations,
    team_members,
    teams,
    users,
)
from app.services.accounts.spends import read_instant
from app.services.rows.rows import among, labelled, part, present
from app.services.teams.team_rows import MEMBER_ID
from app.store import policies
from app.store.policies import Entity

# Statements are drawn once, for they run wherever a caller is not known yet.
_IS_IN_USE = or_(key_secrets.c.revoke_at.is_(None), key_secrets.c.revoke_at > bindparam("now"))
_OPENS = and_(key_secrets.c.token == bindparam("token"), _IS_IN_USE)


# What is read of a key with its neighbours: each under a name, which is that of the snapshot's field as well.
_tier, _member_tier, _organization_tier = (budgets.alias(name) for name in ("tier", "member_tier", "org_tier"))
_permission, _team_permission = (object_permissions.alias(name) for name in ("permission", "team_permission"))
_TABLES: dict[str, tuple[FromClause, str]] = {
    "user": (users, "user_id"),
    "team": (teams, "team_id"),
    "member": (team_members, "user_id"),
    "organization": (organizations, "organization_id"),
    "tier": (_tier, "budget_id"),
    "member_tier": (_member_tier, "budget_id"),
    "organization_tier": (_organization_tier, "budget_id"),
    "object_permission": (_permission, "object_permission_id"),
    "team_object_permission": (_team_permission, "object_permission_id"),
}
_ADMINISTERED = organization_members.alias("administered")
# The account of each scope of the key, and all further ones that it, its team or its owner has.
_ACCOUNTS = {
    scope: budget_state.alias(f"{scope}_state") for scope in ("key", "team", "user", "organization", "member")
}
_FURTHER = budget_state.alias("further_state")
_FURTHER_OF = {
    "key_id": (ScopeKind.KEY_MODEL, ScopeKind.KEY_WINDOW),
    "team_id": (ScopeKind.TEAM_MODEL, ScopeKind.TEAM_WINDOW),
    "user_id": (ScopeKind.USER_MODEL,),
}
_WINDOW = ("armed_at", "window_start", "reset_at")


def _organization_of(key: FromClause) -> ColumnElement[Any]:
    return func.coalesce(teams.c.organization_id, key.c.organization_id)


def entities(connection: Connection, token: str, now: datetime) -> tuple[Entity, ...]:
    row = connection.execute(_IDS, {"token": token, "now": now}).mappings().first()
    return _entities_from(token, row)


def entities_of(snapshot: Snapshot | None, token: str) -> tuple[Entity, ...]:
    if snapshot is None:
        return _entities_from(token, None)
    return _entities_from(
        token,
        {
            **snapshot.key,
            "organization_id": snapshot.organization_id,
            "member_budget_id": (snapshot.member or {}).get("budget_id"),
            "organization_budget_id": (snapshot.organization or {}).get("budget_id"),
        },
    )


def _entities_from(token: str, ids: Mapping[Any, Any] | None) -> tuple[Entity, ...]:
    entities = [policies.digest(token)]
    if ids is None:
        return tuple(entities)
    entities.append(policies.key(ids["key_id"]))
    if ids["team_id"] is not None:
        entities.append(policies.team(ids["team_id"]))
    if ids["user_id"] is not None:
        entities.append(policies.user(ids["user_id"]))
    if ids["team_id"] is not None and ids["user_id"] is not None:
        entities.append(policies.member(ids["team_id"], ids["user_id"]))
    if ids["organization_id"] is not None:
        entities.append(policies.organization(ids["organization_id"]))
    tiers = (ids["budget_id"], ids["member_budget_id"], ids["organization_budget_id"])
    entities += [policies.tier(budget_id) for budget_id in dict.fromkeys(tiers) if budget_id is not None]
    return tuple(entities)


def _membership(key: FromClause) -> ColumnElement[bool]:
    return and_(team_members.c.team_id == key.c.team_id, team_members.c.user_id == key.c.user_id)


_IDS = (
    select(
        keys.c.key_id,
        keys.c.user_id,
        keys.c.team_id,
        keys.c.budget_id,
        _organization_of(keys).label("organization_id"),
        team_members.c.budget_id.label("member_budget_id"),
        organizations.c.budget_id.label("organization_budget_id"),
    )
    .select_from(
        key_secrets.join(keys)
        .outerjoin(teams, teams.c.team_id == keys.c.team_id)
        .outerjoin(team_members, _membership(keys))
        .outerjoin(organizations, organizations.c.organization_id == _organization_of(keys))
    )
    .where(_OPENS)
)


def _whole(on_sqlite: bool, key: FromClause, source: FromClause, *more: ColumnElement[Any]) -> Select[Any]:
    """A key with all that bears on it, in one row: what there may be any number of is a JSON list."""
    joined = (
        source.outerjoin(users, users.c.user_id == key.c.user_id)
        .outerjoin(teams, teams.c.team_id == key.c.team_id)
        .outerjoin(team_members, _membership(key))
        .outerjoin(organizations, organizations.c.organization_id == _organization_of(key))
        .outerjoin(_tier, _tier.c.budget_id == key.c.budget_id)
        .outerjoin(_member_tier, _member_tier.c.budget_id == team_members.c.budget_id)
        .outerjoin(_organization_tier, _organization_tier.c.budget_id == organizations.c.budget_id)
        .outerjoin(_team_permission, _team_permission.c.object_permission_id == teams.c.object_permission_id)
    )
    if key is keys:
        joined = joined.outerjoin(_permission, _permission.c.object_permission_id == keys.c.object_permission_id)
    else:
        joined = joined.outerjoin(_permission, false())
    scope_ids = {
        "key": key.c.key_id,
        "team": key.c.team_id,
        "user": key.c.user_id,
        "organization": _organization_of(key),
        "member": MEMBER_ID,
    }
    for scope, account in _ACCOUNTS.items():
        joined = joined.outerjoin(
            account, and_(account.c.scope == scope, account.c.scope_id == scope_ids[scope], account.c.sub == "")
        )
    return select(
        *labelled({"key": key, **{name: table for name, (table, _) in _TABLES.items()}}),
        _administered(on_sqlite, key).label("administered"),
        *(
            account.c[name].label(f"account.{scope}.{name}")
            for scope, account in _ACCOUNTS.items()
            for name in _WINDOW
        ),
        _further(on_sqlite, key).label("further"),
        *more,
    ).select_from(joined)


def _administered(on_sqlite: bool, key: FromClause) -> ColumnElement[Any]:
    """The organizations that the key's owner administers."""
    listed = func.json_group_array if on_sqlite else func.json_agg
    return (
        select(listed(_ADMINISTERED.c.organization_id, type_=JSON))
        .where(_ADMINISTERED.c.user_id == key.c.user_id, _ADMINISTERED.c.user_role == "org_admin")
        .correlate(key)
        .scalar_subquery()
    )


def _further(on_sqlite: bool, key: FromClause) -> ColumnElement[Any]:
    """Kind, sub, arming and window of each further account."""
    listed = func.json_group_array if on_sqlite else func.json_agg
    entry = func.json_array if on_sqlite else func.json_build_array
    of_holders = (
        and_(_FURTHER.c.scope == kind.value, _FURTHER.c.scope_id == key.c[identity])
        for identity, kinds in _FURTHER_OF.items()
        for kind in kinds
    )
    return (
        select(listed(entry(*(_FURTHER.c[name] for name in ("scope", "sub", *_WINDOW))), type_=JSON))
        .where(or_(*of_holders), _FURTHER.c.armed_at.is_not(None))
        .correlate(key)
        .scalar_subquery()
    )


@cache
def _live(store: str) -> Select[Any]:
    secret = (key_secrets.c.token, key_secrets.c.key_name, key_secrets.c.revoke_at)
    return _whole(store == "sqlite", keys, key_secrets.join(keys), *secret)


@cache
def _opened(store: str) -> Select[Any]:
    return _live(store).where(_OPENS)


@cache
def _archived(store: str) -> Select[Any]:
    return _whole(store == "sqlite", deleted_keys, deleted_keys)


def load(connection: Connection, token: str, now: datetime) -> Snapshot | None:
    """The whole snapshot in one statement."""
    asked = {"token": token, "now": now}
    row = connection.execute(_opened(connection.dialect.name), asked).mappings().first()
    return None if row is None else _live_snapshot(row)


def load_all(connection: Connection, tokens: Sequence[str], now: datetime) -> dict[str, Snapshot]:
    """The snapshots of all keys that these digests open, by digest, in one statement."""
    chosen = key_secrets.c.token.in_(among(connection, tokens))
    live = _live(connection.dialect.name).where(chosen, _IS_IN_USE)
    rows = connection.execute(live, {"now": now}).mappings()
    return {row["token"]: _live_snapshot(row) for row in rows}


def _live_snapshot(row: Mapping[Any, Any]) -> Snapshot:
    secret = {name: row[name] for name in ("token", "key_name", "revoke_at")}
    return _snapshot(row, {**present(row, "key", keys), **secret})


def _snapshot(row: Mapping[Any, Any], key: Mapping[str, Any]) -> Snapshot:
    accounts = {(scope, ""): tuple(row[f"account.{scope}.{name}"] for name in _WINDOW) for scope in _ACCOUNTS}
    for scope, sub, *window in row["further"] or ():  # PostgreSQL's list of nothing is no list
        accounts[scope, sub] = tuple(None if at is None else read_instant(at) for at in window)
    return Snapshot(
        key=key,
        **{name: part(row, name, table, identity) for name, (table, identity) in _TABLES.items()},
        organization_admin_of=frozenset(row["administered"] or ()),
        armed_at={of: armed_at for of, (armed_at, _, _) in accounts.items() if armed_at is not None},
        windows={of: found for of, (_, *stored) in accounts.items() if (found := window_of(*stored)) is not None},
    )


def load_archived(connection: Connection, tokens: Sequence[str]) -> dict[str, Snapshot]:
    """Deleted keys as they were last, by digest, with team, owner and organization as they are now."""
    chosen = deleted_keys.c.token.in_(among(connection, tokens))
    archived = _archived(connection.dialect.name).where(chosen).order_by(deleted_keys.c.id)
    rows = connection.execute(archived).mappings()
    return {row["key.token"]: _snapshot(row, present(row, "key", deleted_keys)) for row in rows}

"""Snapshots in SQL: a key with everything that bears on its verdict in one statement, and of whom it consists."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, false, func, or_, select

from app.domain.snapshots import Snapshot
from app.domain.windows import Window, window_of
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
from app.services.rows import labelled, part, present
from app.services.team_rows import MEMBER_ID
from app.store import policies
from app.store.policies import Entity


def _opens(token: str, now: datetime) -> Any:
    return and_(
        key_secrets.c.token == token, or_(key_secrets.c.revoke_at.is_(None), key_secrets.c.revoke_at > now)
    )


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
# One row of accounts per scope of the key, and one more for each further one that it, its team or its owner has.
_ACCOUNTS = {
    scope: budget_state.alias(f"{scope}_state") for scope in ("key", "team", "user", "organization", "member")
}
_FURTHER = budget_state.alias("further_state")
_WINDOW = ("armed_at", "window_start", "reset_at")


def _organization_of(key: FromClause) -> ColumnElement[Any]:
    return func.coalesce(teams.c.organization_id, key.c.organization_id)


def entities(connection: Connection, token: str, now: datetime) -> tuple[Entity, ...]:
    row = connection.execute(
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
        .where(_opens(token, now))
    )
    return _entities_from(token, row.mappings().first())


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


def _whole(key: FromClause, source: FromClause, *more: ColumnElement[Any]) -> Select[Any]:
    """A key with all that bears on it; a row per organization that its owner administers and further account."""
    joined = (
        source.outerjoin(users, users.c.user_id == key.c.user_id)
        .outerjoin(teams, teams.c.team_id == key.c.team_id)
        .outerjoin(team_members, _membership(key))
        .outerjoin(organizations, organizations.c.organization_id == _organization_of(key))
        .outerjoin(_tier, _tier.c.budget_id == key.c.budget_id)
        .outerjoin(_member_tier, _member_tier.c.budget_id == team_members.c.budget_id)
        .outerjoin(_organization_tier, _organization_tier.c.budget_id == organizations.c.budget_id)
        .outerjoin(_team_permission, _team_permission.c.object_permission_id == teams.c.object_permission_id)
        .outerjoin(
            _ADMINISTERED,
            and_(_ADMINISTERED.c.user_id == key.c.user_id, _ADMINISTERED.c.user_role == "org_admin"),
        )
        .outerjoin(
            _FURTHER,
            or_(
                *(
                    and_(_FURTHER.c.scope == kind, _FURTHER.c.scope_id == identity)
                    for kind, identity in (
                        ("key_model", key.c.key_id),
                        ("key_window", key.c.key_id),
                        ("team_model", key.c.team_id),
                        ("team_window", key.c.team_id),
                        ("user_model", key.c.user_id),
                    )
                )
            ),
        )
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
        _ADMINISTERED.c.organization_id.label("administered"),
        *(account.c[name].label(f"{scope}.{name}") for scope, account in _ACCOUNTS.items() for name in _WINDOW),
        *(_FURTHER.c[name].label(f"further.{name}") for name in ("scope", "sub", *_WINDOW)),
        *more,
    ).select_from(joined)


_LIVE = _whole(keys, key_secrets.join(keys), key_secrets.c.token, key_secrets.c.key_name, key_secrets.c.revoke_at)
_ARCHIVED = _whole(deleted_keys, deleted_keys)


def load(connection: Connection, token: str, now: datetime) -> Snapshot | None:
    """The whole snapshot in one statement."""
    rows = connection.execute(_LIVE.where(_opens(token, now))).mappings().all()
    if not rows:
        return None
    secret = {name: rows[0][name] for name in ("token", "key_name", "revoke_at")}
    return _snapshot(rows, {**present(rows[0], "key", keys), **secret})


def _snapshot(rows: Sequence[Mapping[Any, Any]], key: Mapping[str, Any]) -> Snapshot:
    row = rows[0]
    accounts = {(scope, ""): _stored(row, scope) for scope in _ACCOUNTS}
    for found in rows:
        if found["further.scope"] is not None:
            accounts[found["further.scope"], found["further.sub"]] = _stored(found, "further")
    return Snapshot(
        key=key,
        **{name: part(row, name, table, identity) for name, (table, identity) in _TABLES.items()},
        organization_admin_of=frozenset(r["administered"] for r in rows if r["administered"] is not None),
        armed_at={of: at for of, (at, _) in accounts.items() if at is not None},
        windows={of: window for of, (_, window) in accounts.items() if window is not None},
    )


def _stored(row: Mapping[Any, Any], name: str) -> tuple[datetime | None, Window | None]:
    """When an account was armed, and its window."""
    armed_at, start, end = (row[f"{name}.{column}"] for column in _WINDOW)
    return armed_at, window_of(start, end)


def load_archived(connection: Connection, token: str) -> Snapshot | None:
    """A deleted key as it was, with its team, its owner and its organization as they are now."""
    statement = _ARCHIVED.where(deleted_keys.c.token == token).order_by(deleted_keys.c.id.desc())
    rows = connection.execute(statement).mappings().all()
    return _snapshot(rows, present(rows[0], "key", deleted_keys)) if rows else None

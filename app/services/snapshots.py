"""What a process knows of a key and everything that bears on its verdict, kept only while it is true.

A snapshot is cached under the policy versions read before it. It is read in one statement, so it never mixes two
states, and it decides only while `Policies.check` says FRESH. With Redis away it is read from SQL every time and
never kept.
"""

from collections.abc import Mapping
from datetime import datetime
from threading import Lock
from typing import Any

from cachetools import TTLCache
from sqlalchemy import Connection, and_, func, or_, select

from app.db import Database
from app.domain.snapshots import Snapshot
from app.errors import StoreUnavailable
from app.models import key_secrets, keys, organization_members, team_members, teams, users
from app.store import policies
from app.store.policies import Entity, Freshness, Policies, Versions

# Snapshots are a few kB each: this many hold the busy keys of an installation in well under 100 MB.
CACHE_SIZE = 10_000
# The ids of a key can move between two reads; more often than this is no longer an accident.
_ATTEMPTS = 5


class Snapshots:
    def __init__(self, database: Database, policy_store: Policies, *, seconds: float) -> None:
        self._database = database
        self._policies = policy_store
        # The age limit bounds what is left of a writer killed between commit and publication whose mark was
        # lost with Redis: versions alone cannot tell that.
        self._cache: TTLCache[str, tuple[Snapshot | None, Versions]] = TTLCache(CACHE_SIZE, seconds)
        self._lock = Lock()

    def of(self, token: str, now: datetime) -> Snapshot | None:
        """The key that this digest opens at `now`, or None; raises StoreUnavailable when SQL is away."""
        with self._lock:
            cached = self._cache.get(token)
        if cached is not None:
            snapshot, versions = cached
            try:
                if self._policies.check(versions) is Freshness.FRESH and _still_opens(snapshot, now):
                    return snapshot
            except StoreUnavailable:
                return self._read(token, now)
        try:
            return self._load(token, now)
        except _RedisAway:
            return self._read(token, now)

    def _load(self, token: str, now: datetime) -> Snapshot | None:
        """Ids, then their versions, then the snapshot; kept unless a change is under way."""
        for _ in range(_ATTEMPTS):
            with self._database.read() as connection:
                entities = _entities(connection, token, now)
                try:
                    versions = self._policies.adopt(entities)
                except StoreUnavailable as error:
                    raise _RedisAway from error
                snapshot = _select(connection, token, now)
            if _entities_of(snapshot, token) != entities:
                continue
            with self._lock:
                if versions.dirty:
                    self._cache.pop(token, None)
                else:
                    self._cache[token] = (snapshot, versions)
            return snapshot
        return self._read(token, now)

    def _read(self, token: str, now: datetime) -> Snapshot | None:
        with self._database.read() as connection:
            return _select(connection, token, now)


class _RedisAway(Exception):
    """Redis cannot give versions: decide from SQL and keep nothing."""


def _still_opens(snapshot: Snapshot | None, now: datetime) -> bool:
    """A secret in grace closes by the clock, without any change that would show in a version."""
    if snapshot is None:
        return True
    revoke_at = snapshot.key["revoke_at"]
    return revoke_at is None or revoke_at > now


def _opens(token: str, now: datetime) -> Any:
    return and_(
        key_secrets.c.token == token, or_(key_secrets.c.revoke_at.is_(None), key_secrets.c.revoke_at > now)
    )


def _entities(connection: Connection, token: str, now: datetime) -> tuple[Entity, ...]:
    row = connection.execute(
        select(
            keys.c.key_id,
            keys.c.user_id,
            keys.c.team_id,
            keys.c.budget_id,
            func.coalesce(teams.c.organization_id, keys.c.organization_id).label("organization_id"),
        )
        .select_from(key_secrets.join(keys).outerjoin(teams, teams.c.team_id == keys.c.team_id))
        .where(_opens(token, now))
    )
    return _entities_from(token, row.mappings().first())


def _entities_of(snapshot: Snapshot | None, token: str) -> tuple[Entity, ...]:
    if snapshot is None:
        return _entities_from(token, None)
    organization_id = (snapshot.team or {}).get("organization_id") or snapshot.key["organization_id"]
    return _entities_from(token, {**snapshot.key, "organization_id": organization_id})


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
    if ids["budget_id"] is not None:
        entities.append(policies.tier(ids["budget_id"]))
    return tuple(entities)


_TABLES = {"key": keys, "user": users, "team": teams, "member": team_members}


def _select(connection: Connection, token: str, now: datetime) -> Snapshot | None:
    """The whole snapshot in one statement: a row per organization that the owner administers."""
    administered = organization_members.alias("administered")
    columns = [
        column.label(f"{prefix}.{column.name}") for prefix, table in _TABLES.items() for column in table.columns
    ]
    found = connection.execute(
        select(
            *columns,
            key_secrets.c.token,
            key_secrets.c.key_name,
            key_secrets.c.revoke_at,
            administered.c.organization_id.label("administered"),
        )
        .select_from(
            key_secrets.join(keys)
            .outerjoin(users, users.c.user_id == keys.c.user_id)
            .outerjoin(teams, teams.c.team_id == keys.c.team_id)
            .outerjoin(
                team_members,
                and_(team_members.c.team_id == keys.c.team_id, team_members.c.user_id == keys.c.user_id),
            )
            .outerjoin(
                administered,
                and_(administered.c.user_id == keys.c.user_id, administered.c.user_role == "org_admin"),
            )
        )
        .where(_opens(token, now))
    )
    rows = found.mappings().all()
    if not rows:
        return None
    secret = {name: rows[0][name] for name in ("token", "key_name", "revoke_at")}
    return Snapshot(
        key={**_part(rows[0], "key"), **secret},
        user=_present(_part(rows[0], "user"), "user_id"),
        team=_present(_part(rows[0], "team"), "team_id"),
        member=_present(_part(rows[0], "member"), "user_id"),
        organization_admin_of=frozenset(row["administered"] for row in rows if row["administered"] is not None),
    )


def _part(row: Mapping[Any, Any], prefix: str) -> dict[str, Any]:
    return {column.name: row[f"{prefix}.{column.name}"] for column in _TABLES[prefix].columns}


def _present(part: dict[str, Any], identity: str) -> dict[str, Any] | None:
    return None if part[identity] is None else part

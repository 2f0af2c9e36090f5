"""What accounts may spend and whose they are, read in sets: one statement for each kind of scope.

The caps are those that a verdict compares with: a key's own value goes before its tier's, and temporary increases
count by the clock. Whoever lowers one puts its account among those that are watched.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, or_, select
from sqlalchemy.sql.selectable import FromClause

from app.domain.event_routing import ALERT_EMAILS
from app.domain.limits import own_cap, own_terms, terms_of, tier_cap
from app.domain.rollover import Terms
from app.domain.scopes import Scope, ScopeKind
from app.domain.teams import member_id, membership
from app.domain.thresholds import Caps, alert_percentages
from app.models import budgets, key_secrets, keys, organizations, team_members, teams, users
from app.services.rows.rows import among, labelled, part, tuple_among


@dataclass(frozen=True, slots=True)
class Capped:
    """An account with a cap: whose it is, as events say, and by what it runs without temporary increases.

    `since` is when its holder was made: one of the same name may come after it.
    """

    caps: Caps
    whose: Mapping[str, Any]
    terms: Terms
    since: datetime


def load(
    connection: Connection, scopes: Iterable[Scope], percentages: Sequence[int], now: datetime
) -> dict[Scope, Capped]:
    """Those of the scopes that have a cap now; `percentages` are alerted at where a key does not say which."""
    ids: dict[ScopeKind, list[str]] = {}
    for scope in scopes:
        if not scope.sub:
            ids.setdefault(scope.kind, []).append(scope.id)
    found: dict[Scope, Capped] = {}
    for kind, of_kind in _KINDS.items():
        if kind in ids:
            statement, read = of_kind
            rows = connection.execute(statement(connection, ids[kind])).mappings()
            found |= {
                Scope(kind, identity): capped for identity, capped in (read(row, percentages, now) for row in rows)
            }
    return found


_Row = Mapping[Any, Any]
_Read = Callable[[_Row, Sequence[int], datetime], tuple[str, Capped]]


def _limited(table: FromClause) -> Any:
    return or_(table.c.max_budget_nanos.is_not(None), table.c.soft_budget_nanos.is_not(None))


# --- keys --------------------------------------------------------------------------------------------------------


def _keys(connection: Connection, ids: Sequence[str]) -> Select[Any]:
    return (
        select(
            *(
                keys.c[name]
                for name in ("key_id", "key_alias", "user_id", "team_id", "organization_id", "metadata")
            ),
            keys.c.created_at,
            *(keys.c[name] for name in ("max_budget_nanos", "soft_budget_nanos", "budget_duration")),
            key_secrets.c.token,
            key_secrets.c.key_name,
            teams.c.team_alias,
            users.c.user_email,
            *labelled({"tier": budgets}),
        )
        .select_from(
            keys.join(key_secrets, and_(key_secrets.c.key_id == keys.c.key_id, key_secrets.c.revoke_at.is_(None)))
            .outerjoin(budgets, budgets.c.budget_id == keys.c.budget_id)
            .outerjoin(teams, teams.c.team_id == keys.c.team_id)
            .outerjoin(users, users.c.user_id == keys.c.user_id)
        )
        .where(keys.c.key_id.in_(among(connection, ids)), or_(_limited(keys), _limited(budgets)))
    )


def _key(row: _Row, percentages: Sequence[int], now: datetime) -> tuple[str, Capped]:
    tier = part(row, "tier", budgets, "budget_id")
    soft = row["soft_budget_nanos"]
    if tier is not None and soft is None:
        soft = tier["soft_budget_nanos"]
    caps = Caps(own_cap(row, tier, now), soft, alert_percentages(row["metadata"], percentages))
    return row["key_id"], Capped(
        caps, {**row, ALERT_EMAILS: row["metadata"].get(ALERT_EMAILS)}, own_terms(row, tier), row["created_at"]
    )


# --- teams, users ------------------------------------------------------------------------------------------------


def _teams(connection: Connection, ids: Sequence[str]) -> Select[Any]:
    return select(
        *(teams.c[name] for name in ("team_id", "team_alias", "organization_id", "created_at")),
        *(teams.c[name] for name in ("max_budget_nanos", "soft_budget_nanos", "budget_duration")),
    ).where(teams.c.team_id.in_(among(connection, ids)), _limited(teams))


def _users(connection: Connection, ids: Sequence[str]) -> Select[Any]:
    return select(
        *(users.c[name] for name in ("user_id", "user_email", "created_at")),
        *(users.c[name] for name in ("max_budget_nanos", "soft_budget_nanos", "budget_duration")),
    ).where(users.c.user_id.in_(among(connection, ids)), _limited(users))


def _by_itself(identity: str) -> _Read:
    def read(row: _Row, percentages: Sequence[int], _now: datetime) -> tuple[str, Capped]:
        caps = Caps(row["max_budget_nanos"], row["soft_budget_nanos"], percentages)
        return row[identity], Capped(caps, row, terms_of(row), row["created_at"])

    return read


# --- members, organizations --------------------------------------------------------------------------------------


def _members(connection: Connection, ids: Sequence[str]) -> Select[Any]:
    named = (team_members.c.team_id, team_members.c.user_id)
    return (
        select(
            team_members.c.team_id,
            team_members.c.user_id,
            team_members.c.created_at,
            teams.c.team_alias,
            teams.c.organization_id,
            users.c.user_email,
            *labelled({"tier": budgets}),
        )
        .select_from(
            team_members.join(budgets, budgets.c.budget_id == team_members.c.budget_id)
            .join(teams, teams.c.team_id == team_members.c.team_id)
            .outerjoin(users, users.c.user_id == team_members.c.user_id)
        )
        .where(tuple_among(connection, named, map(membership, ids)), _limited(budgets))
    )


def _organizations(connection: Connection, ids: Sequence[str]) -> Select[Any]:
    return (
        select(
            *(organizations.c[name] for name in ("organization_id", "organization_alias", "created_at")),
            *labelled({"tier": budgets}),
        )
        .select_from(organizations.join(budgets, budgets.c.budget_id == organizations.c.budget_id))
        .where(organizations.c.organization_id.in_(among(connection, ids)), _limited(budgets))
    )


def _by_tier(identity: Callable[[_Row], str]) -> _Read:
    def read(row: _Row, percentages: Sequence[int], now: datetime) -> tuple[str, Capped]:
        tier = part(row, "tier", budgets, "budget_id") or {}
        caps = Caps(tier_cap(tier, now), tier["soft_budget_nanos"], percentages)
        return identity(row), Capped(caps, row, terms_of(tier), row["created_at"])

    return read


_KINDS: dict[ScopeKind, tuple[Callable[[Connection, Sequence[str]], Select[Any]], _Read]] = {
    ScopeKind.KEY: (_keys, _key),
    ScopeKind.TEAM: (_teams, _by_itself("team_id")),
    ScopeKind.USER: (_users, _by_itself("user_id")),
    ScopeKind.MEMBER: (_members, _by_tier(lambda row: member_id(row["team_id"], row["user_id"]))),
    ScopeKind.ORGANIZATION: (_organizations, _by_tier(lambda row: row["organization_id"])),
}

"""Which keys a list holds by what its caller may see."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, or_, select
from sqlalchemy.sql.selectable import FromClause

from app.domain.access import Caller
from app.errors import ListRefused
from app.models import key_secrets, keys, organization_members, team_members, teams
from app.services.keys.key_filters import KeyQuery, matches


@dataclass(frozen=True, slots=True)
class _Memberships:
    """The caller's teams: all of them, and those whose every key it may list."""

    all: Sequence[str]
    listable: Sequence[str]


def scope_of(
    connection: Connection, caller: Caller, query: KeyQuery, table: FromClause
) -> list[ColumnElement[bool]]:
    """What keeps a list to what the caller may see: a key must meet one of these; raises ListRefused."""
    if caller.sees_all:
        return _of_everybody(query, table)
    memberships = _check(connection, caller, query)
    own = table.c.user_id == caller.user_id
    if query.organization_id:
        own = and_(own, table.c.organization_id == query.organization_id)
    groups = [own]
    if query.include_created_by_keys:
        groups.append(
            and_(
                table.c.created_by == caller.user_id,
                or_(table.c.team_id.is_(None), table.c.team_id.in_(memberships.all)),
            )
        )
    if query.include_team_keys:
        groups.append(table.c.team_id.in_(memberships.listable))
    if query.include_team_keys or query.include_created_by_keys:
        groups.append(and_(table.c.user_id.is_(None), table.c.team_id.in_(memberships.all)))
    return groups


def _of_everybody(query: KeyQuery, table: FromClause) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if query.user_id:
        wanted.append(matches(table.c.user_id, query.user_id, substring=query.substring_matching))
    if query.organization_id:
        wanted.append(table.c.organization_id == query.organization_id)
    if query.user_id and query.include_created_by_keys:
        return [and_(*wanted), table.c.created_by == query.user_id]
    return [and_(*wanted)] if wanted else []


def _check(connection: Connection, caller: Caller, query: KeyQuery) -> _Memberships:
    if caller.user_id is None or not caller.has_owner:
        raise ListRefused(
            "You are not authorized to access this endpoint. No 'user_id' is associated with your API key.",
            "user_id",
        )
    if query.user_id and query.user_id != caller.user_id:
        raise ListRefused("You are not authorized to check another user's keys", "user_id")
    memberships = _memberships(connection, caller.user_id)
    if query.team_id and query.team_id not in memberships.all:
        raise ListRefused("You are not authorized to check this team's keys", "team_id")
    if query.organization_id and not _in_organization(connection, caller, query.organization_id):
        raise ListRefused("You are not authorized to check this organization's keys", "organization_id")
    if query.key_hash and not _sees_token(connection, caller, query.key_hash, memberships):
        raise ListRefused("Key Hash not found.", "key_hash")
    return memberships


def _memberships(connection: Connection, user_id: str) -> _Memberships:
    rows = connection.execute(
        select(team_members.c.team_id, team_members.c.role, teams.c.team_member_permissions)
        .join(teams, teams.c.team_id == team_members.c.team_id)
        .where(team_members.c.user_id == user_id)
    ).all()
    listable = [
        row.team_id for row in rows if row.role == "admin" or "/key/list" in (row.team_member_permissions or ())
    ]
    return _Memberships([row.team_id for row in rows], listable)


def _in_organization(connection: Connection, caller: Caller, organization_id: str) -> bool:
    found = connection.execute(
        select(organization_members.c.user_id).where(
            organization_members.c.organization_id == organization_id,
            organization_members.c.user_id == caller.user_id,
        )
    ).first()
    return found is not None


def _sees_token(connection: Connection, caller: Caller, token: str, memberships: _Memberships) -> bool:
    """An unknown hash and one out of sight answer alike."""
    found = connection.execute(
        select(keys.c.key_id)
        .join(key_secrets, key_secrets.c.key_id == keys.c.key_id)
        .where(
            key_secrets.c.token == token,
            or_(
                keys.c.user_id == caller.user_id,
                keys.c.key_id == caller.key_id,
                keys.c.team_id.in_(memberships.all),
            ),
        )
    ).first()
    return found is not None

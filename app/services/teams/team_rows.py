"""Teams in SQL: one statement that reads teams with all that belongs to them, and one that reads their members.

Every reader of a team goes through these two, so all of them see the same spend in the same window.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Subquery, Text, and_, cast, func, select, true, union_all
from sqlalchemy.sql.selectable import FromClause

from app.clock import iso
from app.domain.budgets import running_limits
from app.domain.limits import terms_of
from app.domain.spend import spend_of
from app.domain.windows import Calendar
from app.models import (
    budget_state,
    budgets,
    deleted_teams,
    object_permissions,
    team_members,
    teams,
    users,
)
from app.services.accounts import spends
from app.services.budgets.budget_views import tier_fields
from app.services.rows.rows import labelled, own, part
from app.services.teams.team_views import ArchivedTeam, MemberView, TeamView


def _member_id(members: FromClause) -> ColumnElement[str]:
    """`app.domain.teams.member_id`, as SQL computes it."""
    team_id = members.c.team_id
    return cast(func.length(team_id), Text) + ":" + team_id + ":" + members.c.user_id


MEMBER_ID = _member_id(team_members)

_MEMBER_PARTS = [*labelled({"tier": budgets}), *spends.account_columns()]
_TEAM_PARTS = [*labelled({"tier": budgets, "permission": object_permissions}), *spends.account_columns()]
_TEAMS = select(teams, *_TEAM_PARTS).select_from(
    teams.outerjoin(budget_state, spends.of_state("team", teams.c.team_id))
    .outerjoin(budgets, budgets.c.budget_id == teams.c.member_budget_id)
    .outerjoin(
        object_permissions,
        object_permissions.c.object_permission_id == teams.c.object_permission_id,
    )
)


def load(
    connection: Connection,
    where: ColumnElement[bool],
    calendar: Calendar,
    now: datetime,
    *,
    member_limit: int | None = None,
) -> list[TeamView]:
    """The teams that match, by their ids, in two statements; the members of each in the order of joining.

    With a `member_limit`, so many of each at the most.
    """
    rows = connection.execute(_TEAMS.where(where).order_by(teams.c.team_id)).mappings()
    found = [dict(row) for row in rows]
    if not found:
        return []
    grouped: Mapping[str, Sequence[MemberView]] = {}
    if member_limit is None:
        grouped = _by_team(members(connection, where, calendar, now))
    elif member_limit:
        first = _first([row["team_id"] for row in found], member_limit)
        grouped = _by_team(_members(connection, first, true(), calendar, now))
    return [_view(row, grouped.get(row["team_id"], ()), calendar, now) for row in found]


def member_counts(connection: Connection, team_ids: Sequence[str]) -> dict[str, int]:
    """How many members each of these teams has."""
    rows = connection.execute(
        select(func.count().label("members"), team_members.c.team_id)
        .where(team_members.c.team_id.in_(team_ids))
        .group_by(team_members.c.team_id)
    )
    return {row.team_id: row.members for row in rows}


def archived(connection: Connection, ids: Sequence[int], *, member_limit: int) -> list[ArchivedTeam]:
    """Deleted teams by their ids in the archive, in the order of the ids, with so many members at the most."""
    rows = connection.execute(select(deleted_teams).where(deleted_teams.c.id.in_(ids))).mappings()
    found = {row["id"]: row for row in rows}
    return [_archived(found[identity], member_limit) for identity in ids if identity in found]


def _archived(row: Mapping[Any, Any], member_limit: int) -> ArchivedTeam:
    deletion = {
        "id": str(row["id"]),
        "deleted_at": iso(row["deleted_at"]),
        "deleted_by": row["deleted_by"],
        "deleted_by_api_key": row["deleted_by_key_id"],
        "litellm_changed_by": row["changed_by"],
    }
    fields = row["fields"]
    lists = {name: fields[name][:member_limit] for name in ("admins", "members", "members_with_roles")}
    return ArchivedTeam({**fields, **lists}, deletion, len(row["members"]))


def member(
    connection: Connection, team_id: str, user_id: str, calendar: Calendar, now: datetime
) -> MemberView | None:
    """One membership as it is, or None where there is none."""
    chosen = and_(team_members.c.team_id == team_id, team_members.c.user_id == user_id)
    found = members(connection, chosen, calendar, now)
    return found[0] if found else None


def _first(team_ids: Sequence[str], limit: int) -> Subquery:
    """The memberships of those who joined each team first; each run walks an index no further than it has to."""
    runs = [
        select(team_members)
        .where(team_members.c.team_id == team_id)
        .order_by(team_members.c.created_at, team_members.c.user_id)
        .limit(limit)
        .subquery()
        for team_id in team_ids
    ]
    return union_all(*(select(run) for run in runs)).subquery()


def members(
    connection: Connection, where: ColumnElement[bool], calendar: Calendar, now: datetime
) -> list[MemberView]:
    """The memberships that match, each team's in the order of joining; one statement."""
    return _members(connection, team_members, where, calendar, now)


def _members(
    connection: Connection, memberships: FromClause, where: ColumnElement[bool], calendar: Calendar, now: datetime
) -> list[MemberView]:
    """The memberships that match, by their teams and then in the order of joining."""
    drawn = _MEMBERS if memberships is team_members else _of_members(memberships)
    rows = connection.execute(
        drawn.where(where).order_by(memberships.c.team_id, memberships.c.created_at, memberships.c.user_id)
    ).mappings()
    return [_member(row, calendar, now) for row in rows]


def _of_members(memberships: FromClause) -> Select[Any]:
    """These memberships with all that belongs to them."""
    return select(
        memberships,
        teams.c.member_budget_id,
        func.coalesce(users.c.user_email, memberships.c.user_email).label("known_email"),
        *_MEMBER_PARTS,
    ).select_from(
        memberships.join(teams, teams.c.team_id == memberships.c.team_id)
        .outerjoin(users, users.c.user_id == memberships.c.user_id)
        .outerjoin(budgets, budgets.c.budget_id == memberships.c.budget_id)
        .outerjoin(budget_state, spends.of_state("member", _member_id(memberships)))
    )


_MEMBERS = _of_members(team_members)


def _member(row: Mapping[Any, Any], calendar: Calendar, now: datetime) -> MemberView:
    tier = part(row, "tier", budgets, "budget_id")
    return MemberView(
        team_id=row["team_id"],
        user_id=row["user_id"],
        user_email=row["known_email"],
        role=row["role"],
        spend=spend_of(spends.account_part(row), terms_of(tier), calendar, now),
        tier=tier_fields(tier, calendar, now),
        shares_tier=row["budget_id"] is not None and row["budget_id"] == row["member_budget_id"],
    )


def _by_team(members: Sequence[MemberView]) -> dict[str, list[MemberView]]:
    grouped: dict[str, list[MemberView]] = {}
    for member in members:
        grouped.setdefault(member.team_id, []).append(member)
    return grouped


def _view(row: Mapping[str, Any], members: Sequence[MemberView], calendar: Calendar, now: datetime) -> TeamView:
    return TeamView(
        team_id=row["team_id"],
        columns=own(row, teams) | {"budget_limits": running_limits(row["budget_limits"], calendar, now)},
        spend=spend_of(spends.account_part(row), terms_of(row), calendar, now),
        members=members,
        member_tier=tier_fields(part(row, "tier", budgets, "budget_id"), calendar, now),
        object_permission=part(row, "permission", object_permissions, "object_permission_id"),
    )

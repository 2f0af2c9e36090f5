"""Users in SQL: one statement that reads a user with its spend, its teams and its object permission."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, select

from app.domain.limits import terms_of
from app.domain.spend import spend_of
from app.domain.windows import Calendar
from app.models import budget_state, object_permissions, team_members, users
from app.services.accounts import spends
from app.services.rows.rows import labelled, own, part
from app.services.users.user_views import UserView

_PARTS = [*labelled({"permission": object_permissions}), *spends.account_columns()]


def load(
    connection: Connection,
    where: ColumnElement[bool],
    calendar: Calendar,
    now: datetime,
    *,
    teams_seen: ColumnElement[bool] | None = None,
) -> dict[str, UserView]:
    """The users that match, by their ids; the statement has a row per team of each.

    `teams_seen` keeps the memberships that are told to some teams.
    """
    joined = team_members.c.user_id == users.c.user_id
    if teams_seen is not None:
        joined = and_(joined, teams_seen)
    rows = connection.execute(
        select(users, *_PARTS, team_members.c.team_id.label("member_of"))
        .select_from(
            users.outerjoin(budget_state, spends.of_state("user", users.c.user_id))
            .outerjoin(
                object_permissions,
                object_permissions.c.object_permission_id == users.c.object_permission_id,
            )
            .outerjoin(team_members, joined)
        )
        .where(where)
        .order_by(users.c.user_id, team_members.c.created_at, team_members.c.team_id)
    ).mappings()
    grouped: dict[str, list[Mapping[Any, Any]]] = {}
    for row in rows:
        grouped.setdefault(row["user_id"], []).append(row)
    return {user_id: _view(found, calendar, now) for user_id, found in grouped.items()}


def _view(rows: Sequence[Mapping[Any, Any]], calendar: Calendar, now: datetime) -> UserView:
    row = rows[0]
    return UserView(
        user_id=row["user_id"],
        columns=own(row, users),
        spend=spend_of(spends.account_part(row), terms_of(row), calendar, now),
        teams=[found["member_of"] for found in rows if found["member_of"] is not None],
        object_permission=part(row, "permission", object_permissions, "object_permission_id"),
    )

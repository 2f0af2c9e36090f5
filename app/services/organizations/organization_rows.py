"""Organizations in SQL: each read with all that belongs to it in one statement, its members in two."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from app.domain.limits import terms_of
from app.domain.spend import spend_of
from app.domain.windows import Calendar
from app.models import (
    budget_state,
    budgets,
    object_permissions,
    organization_members,
    organizations,
    users,
)
from app.services.accounts import spends
from app.services.budgets.budget_views import tier_fields
from app.services.organizations.organization_views import OrganizationMemberView, OrganizationView
from app.services.rows.rows import labelled, own, part
from app.services.users import user_rows

_PARTS = [*labelled({"tier": budgets, "permission": object_permissions}), *spends.account_columns()]


def load(
    connection: Connection, where: ColumnElement[bool], calendar: Calendar, now: datetime
) -> list[OrganizationView]:
    """The organizations that match, by their ids."""
    rows = connection.execute(
        select(organizations, *_PARTS)
        .select_from(
            organizations.join(budgets, budgets.c.budget_id == organizations.c.budget_id)
            .outerjoin(budget_state, spends.of_state("organization", organizations.c.organization_id))
            .outerjoin(
                object_permissions,
                object_permissions.c.object_permission_id == organizations.c.object_permission_id,
            )
        )
        .where(where)
        .order_by(organizations.c.organization_id)
    ).mappings()
    return [_view(row, calendar, now) for row in rows]


def _view(row: Mapping[Any, Any], calendar: Calendar, now: datetime) -> OrganizationView:
    return OrganizationView(
        organization_id=row["organization_id"],
        columns=own(row, organizations),
        spend=spend_of(spends.account_part(row), terms_of(part(row, "tier", budgets, "budget_id")), calendar, now),
        tier=tier_fields(part(row, "tier", budgets, "budget_id"), calendar, now),
        object_permission=part(row, "permission", object_permissions, "object_permission_id"),
    )


def members(
    connection: Connection, where: ColumnElement[bool], calendar: Calendar, now: datetime
) -> list[OrganizationMemberView]:
    """The memberships that match, in the order of joining, each with its user and its tier; two statements."""
    joined = select(organization_members.c.user_id).where(where)
    found = user_rows.load(connection, users.c.user_id.in_(joined), calendar, now)
    rows = connection.execute(
        select(organization_members, *labelled({"tier": budgets}))
        .select_from(
            organization_members.outerjoin(budgets, budgets.c.budget_id == organization_members.c.budget_id)
        )
        .where(where)
        .order_by(organization_members.c.created_at, organization_members.c.user_id)
    ).mappings()
    return [
        OrganizationMemberView(
            columns=own(row, organization_members),
            user=found.get(row["user_id"]),
            tier=tier_fields(part(row, "tier", budgets, "budget_id"), calendar, now),
        )
        for row in rows
    ]

"""Which users a list holds, and in which order: the asked filters, all of it in SQL."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, or_, select
from sqlalchemy.sql.selectable import FromClause

from app.models import budget_state, organization_members, team_members, users
from app.services.accounts import spends
from app.services.rows.pages import Listing, Order, Wanted, Within, is_descending


@dataclass(frozen=True, slots=True, kw_only=True)
class UserQuery(Wanted):
    """What a list request asks for; None and nothing leave a filter out."""

    role: str | None = None
    user_ids: tuple[str, ...] = ()
    sso_user_ids: tuple[str, ...] = ()
    user_email: str | None = None
    search: str | None = None
    team: str | None = None
    organization_ids: tuple[str, ...] = ()
    sort_by: str | None = None
    sort_order: str = "asc"


# Spend is as it was folded last. How many keys somebody has no index can hold: it is told and does not sort.
SORTS: dict[str, Column[Any]] = {
    "user_id": users.c.user_id,
    "user_email": users.c.user_email,
    "created_at": users.c.created_at,
    "spend": budget_state.c.window_spend_nanos,
    "user_alias": users.c.user_alias,
    "user_role": users.c.user_role,
    "max_budget": users.c.max_budget_nanos,
    "updated_at": users.c.updated_at,
    "sso_user_id": users.c.sso_user_id,
}


def listing_of(query: UserQuery, organization_ids: Collection[str] | None) -> Listing:
    """The users to page through, of these organizations or of any; raises InvalidRequest for the sort."""
    order = _order(query)
    source: FromClause = users
    if order.column.table is budget_state:
        source = users.join(budget_state, spends.of_state("user", users.c.user_id))
    contains = query.search or query.user_email or len(query.user_ids) == 1
    within = _within(query, organization_ids)
    return Listing(source, _conditions(query), order, countable=not contains, counted=users, within=within)


def _order(query: UserQuery) -> Order:
    """Newest first unless asked otherwise; as in LiteLLM, the direction is only looked at beside a column."""
    if not query.sort_by:
        return Order(users.c.created_at, users.c.user_id)
    descending = is_descending(query.sort_by, query.sort_order, SORTS)
    column = SORTS[query.sort_by]
    # The same id, of the table whose index holds it beside the column.
    identity = budget_state.c.scope_id if column.table is budget_state else users.c.user_id
    return Order(column, identity, descending=descending, gaps=column.nullable is True)


def _within(query: UserQuery, organization_ids: Collection[str] | None) -> list[Within]:
    wanted: list[Within] = []
    if organization_ids is not None:
        belongs = organization_members.c.organization_id.in_(sorted(organization_ids))
        wanted.append(Within(users.c.user_id, select(organization_members.c.user_id).where(belongs)))
    if query.team:
        inside = select(team_members.c.user_id).where(team_members.c.team_id == query.team)
        wanted.append(Within(users.c.user_id, inside))
    return wanted


def _conditions(query: UserQuery) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if query.role:
        wanted.append(users.c.user_role == query.role)
    if len(query.user_ids) == 1:
        # As in LiteLLM: one id finds every user with it in the own.
        wanted.append(users.c.user_id.icontains(query.user_ids[0], autoescape=True))
    elif query.user_ids:
        wanted.append(users.c.user_id.in_(query.user_ids))
    if query.sso_user_ids:
        wanted.append(users.c.sso_user_id.in_(query.sso_user_ids))
    if query.user_email:
        wanted.append(users.c.user_email.icontains(query.user_email, autoescape=True))
    if query.search:
        named = (users.c.user_id, users.c.user_email)
        wanted.append(or_(*(column.icontains(query.search, autoescape=True) for column in named)))
    return wanted

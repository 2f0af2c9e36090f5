"""Which teams a list holds: those that the caller may see and the asked filters, all of it in SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, false, or_, select
from sqlalchemy.sql.selectable import FromClause

from app.domain.access import Caller
from app.errors import InvalidRequest
from app.models import budget_state, deleted_teams, team_members, teams
from app.services.accounts import spends
from app.services.keys.key_filters import holds
from app.services.rows.pages import Listing, Order, Wanted, is_descending

# Stands for no organization at all, as in LiteLLM.
NO_ORGANIZATION = "default_organization"
SORTS = ("team_id", "team_alias", "created_at", "updated_at", "max_budget", "spend", "total_spend")
SORTS_OF_DELETED = (*SORTS, "deleted_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamQuery(Wanted):
    """What a list request asks for; None and "" leave a filter out."""

    user_id: str | None = None
    organization_id: str | None = None
    team_id: str | None = None
    team_alias: str | None = None
    search: str | None = None
    sort_by: str | None = None
    sort_order: str = "asc"
    status: str | None = None

    def is_of_deleted(self) -> bool:
        """Whether it asks for deleted teams; raises InvalidRequest for a status that does not exist."""
        if self.status and self.status != "deleted":
            raise InvalidRequest("Invalid status value. Supported: 'deleted'.", "status")
        return self.status == "deleted"


def by_alias() -> Order:
    return Order(teams.c.team_alias, teams.c.team_id, descending=False, gaps=True)


def order_of(query: TeamQuery, table: Table) -> Order:
    """Newest first unless asked otherwise; raises InvalidRequest.

    As in LiteLLM, the direction is only looked at beside a column.
    """
    identity: Column[Any] = table.c.team_id if table is teams else table.c.id
    if not query.sort_by:
        return Order(table.c.created_at, identity)
    sorts = SORTS if table is teams else SORTS_OF_DELETED
    descending = is_descending(query.sort_by, query.sort_order, sorts)
    column = _sort_column(query.sort_by, table)
    if column.table is budget_state:
        # The same id, of the table whose index holds it beside the column.
        identity = budget_state.c.scope_id
    return Order(column, identity, descending=descending, gaps=column.nullable is True)


def _sort_column(name: str, table: Table) -> Column[Any]:
    """Spend is as it was folded last: an index can hold nothing that is added up anew for every row."""
    folded: dict[str, Column[Any]] = {
        "spend": budget_state.c.window_spend_nanos,
        "total_spend": budget_state.c.lifetime_spend_nanos,
    }
    if table is teams and name in folded:
        return folded[name]
    return table.c[f"{name}_nanos" if name in {"max_budget", *folded} else name]


def listing_of(
    query: TeamQuery, table: Table, where: Sequence[ColumnElement[bool]], among: Sequence[ColumnElement[bool]]
) -> Listing:
    """The rows to page through, joined to what they are sorted by and to nothing else."""
    order = order_of(query, table)
    source: FromClause = table
    if order.column.table is budget_state:
        source = table.join(budget_state, spends.of_state("team", teams.c.team_id))
    return Listing(source, where, order, countable=_countable(query, table), counted=table, among=among)


def _countable(query: TeamQuery, table: Table) -> bool:
    """The members of a deleted team are a list in its row: no index narrows them down."""
    return not (query.team_alias or query.search or (query.user_id and table is deleted_teams))


def conditions(query: TeamQuery, table: Table) -> list[ColumnElement[bool]]:
    """The filters that narrow what the caller may see."""
    wanted: list[ColumnElement[bool]] = []
    if query.user_id and table is teams:
        wanted.append(teams.c.team_id.in_(_joined_by(query.user_id)))
    elif query.user_id:
        wanted.append(holds(table.c.members, query.user_id))
    if query.organization_id:
        none = query.organization_id == NO_ORGANIZATION
        of = table.c.organization_id
        wanted.append(of.is_(None) if none else of == query.organization_id)
    if query.team_id:
        wanted.append(table.c.team_id == query.team_id)
    if query.team_alias:
        wanted.append(table.c.team_alias.icontains(query.team_alias, autoescape=True))
    if query.search:
        named = (table.c.team_alias, table.c.team_id)
        wanted.append(or_(*(column.icontains(query.search, autoescape=True) for column in named)))
    return wanted


def scope_of(caller: Caller, table: Table) -> list[ColumnElement[bool]]:
    """What keeps a list to the teams that `access.may_see_team` shows: a team must meet one of these.

    Of a deleted team nobody is a member: it is left to those above it.
    """
    if caller.sees_all:
        return []
    seen = [table.c.organization_id == organization_id for organization_id in sorted(caller.organization_admin_of)]
    if table is deleted_teams:
        return seen or [false()]
    if caller.team_id is not None:
        seen.append(teams.c.team_id == caller.team_id)
    return [teams.c.team_id.in_(_joined_by(caller.user_id)), *seen]


def _joined_by(user_id: str | None) -> Any:
    return select(team_members.c.team_id).where(team_members.c.user_id == user_id)

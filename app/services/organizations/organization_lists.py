"""Pages of organizations, each with its first members and teams: bounded, however large an organization is."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, ColumnElement, Connection, Select, func, select
from sqlalchemy.sql.selectable import FromClause

from app.db import Database
from app.domain.access import Caller
from app.domain.windows import Calendar
from app.models import organization_members, organizations, teams
from app.services.access.standings import teams_seen
from app.services.audit.audit import Act
from app.services.organizations import organization_rows
from app.services.organizations.organization_views import OrganizationMemberView, OrganizationView
from app.services.rows.pages import Listing, Order, Page, Wanted, page_of
from app.services.rows.rows import among, tuple_among
from app.services.teams import team_rows
from app.services.teams.team_views import TeamView

# A page shows so many members at the most, and as many teams; its organizations have equal shares of them.
MOST_SHOWN = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationQuery(Wanted):
    """Which organizations a request asks for; None and "" leave a filter out."""

    org_id: str | None = None
    org_alias: str | None = None


@dataclass(frozen=True, slots=True)
class ListedOrganization:
    """An organization with its first members, each as the caller may see it, and the first teams that it sees.

    Who belongs to a team is not read here.
    """

    organization: OrganizationView
    members: Sequence[Mapping[str, Any]]
    teams: Sequence[TeamView]
    more_members: bool
    more_teams: bool


@dataclass(frozen=True, slots=True)
class OrganizationPage:
    page: Page
    organizations: Sequence[ListedOrganization]


@dataclass(frozen=True, slots=True)
class _Inside:
    """The ids of the first members and teams of one organization, and whether those are not all."""

    members: Sequence[str]
    teams: Sequence[str]
    more_members: bool
    more_teams: bool


class OrganizationLists:
    def __init__(self, database: Database, calendar: Calendar) -> None:
        self._database = database
        self._calendar = calendar

    def list(self, act: Act, query: OrganizationQuery) -> OrganizationPage:
        """A page of the organizations that match and that the caller may see, newest first.

        Raises InvalidRequest for a cursor of another list. Seven statements at the most, or six behind a cursor.
        """
        order = Order(organizations.c.created_at, organizations.c.organization_id)
        listing = Listing(organizations, _conditions(act.caller, query), order, countable=not query.org_alias)
        with self._database.read() as connection:
            page = page_of(connection, listing, query)
            if not page.ids:
                return OrganizationPage(page, [])
            inside = _inside(connection, act.caller, page.ids)
            chosen = organizations.c.organization_id.in_(page.ids)
            found = organization_rows.load(connection, chosen, self._calendar, act.at)
            members = self._members(connection, act, inside)
            shown = self._teams(connection, act, inside)
        views = {view.organization_id: view for view in found}
        return OrganizationPage(
            page,
            [
                ListedOrganization(
                    views[organization_id],
                    [member.shown_to(act.caller) for member in members.get(organization_id, ())],
                    shown.get(organization_id, ()),
                    inside[organization_id].more_members,
                    inside[organization_id].more_teams,
                )
                for organization_id in page.ids
                if organization_id in views and organization_id in inside
            ],
        )

    def _members(
        self, connection: Connection, act: Act, inside: Mapping[str, _Inside]
    ) -> Mapping[str, Sequence[OrganizationMemberView]]:
        wanted = [(of, user_id) for of, first in inside.items() for user_id in first.members]
        grouped: defaultdict[str, Any] = defaultdict(list)
        if wanted:
            identity = (organization_members.c.organization_id, organization_members.c.user_id)
            those = tuple_among(connection, identity, wanted)
            for member in organization_rows.members(connection, those, self._calendar, act.at):
                grouped[member.columns["organization_id"]].append(member)
        return grouped

    def _teams(
        self, connection: Connection, act: Act, inside: Mapping[str, _Inside]
    ) -> Mapping[str, Sequence[TeamView]]:
        wanted = [team_id for first in inside.values() for team_id in first.teams]
        grouped: defaultdict[str, Any] = defaultdict(list)
        if wanted:
            chosen = teams.c.team_id.in_(among(connection, wanted))
            for view in team_rows.load(connection, chosen, self._calendar, act.at, member_limit=0):
                grouped[view.columns["organization_id"]].append(view)
        return grouped


def _conditions(caller: Caller, query: OrganizationQuery) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if query.org_id:
        wanted.append(organizations.c.organization_id == query.org_id)
    if query.org_alias:
        wanted.append(organizations.c.organization_alias.icontains(query.org_alias, autoescape=True))
    if not caller.sees_all:
        joined = select(organization_members.c.organization_id).where(
            organization_members.c.user_id == caller.user_id
        )
        wanted.append(organizations.c.organization_id.in_(joined))
    return wanted


def _inside(connection: Connection, caller: Caller, ids: Sequence[str]) -> dict[str, _Inside]:
    """Who and what stands first in each of these organizations, in one statement that reads no further."""
    share = MOST_SHOWN // len(ids)
    statement = select(
        organizations.c.organization_id,
        _first(connection, organization_members, "user_id", [], share).label("members"),
        _first(connection, teams, "team_id", [teams_seen(caller)], share).label("teams"),
    ).where(organizations.c.organization_id.in_(ids))
    found = {}
    for row in connection.execute(statement):
        members, shown = row.members or [], row.teams or []  # PostgreSQL's list of nothing is no list
        more = [len(first) > share for first in (members, shown)]
        found[row.organization_id] = _Inside(members[:share], shown[:share], *more)
    return found


def _first(
    connection: Connection, table: FromClause, identity: str, seen: Sequence[ColumnElement[bool]], share: int
) -> ColumnElement[Any]:
    """The ids of what stands first in an organization, one more than are to be shown, as a JSON list."""
    inside: Select[Any] = (
        select(table.c[identity].label("id"))
        .where(table.c.organization_id == organizations.c.organization_id, *seen)
        .correlate(organizations)
        .order_by(table.c.created_at, table.c[identity])
        .limit(share + 1)
    )
    first = inside.subquery()
    aggregate = func.json_group_array if connection.dialect.name == "sqlite" else func.json_agg
    return select(aggregate(first.c.id, type_=JSON)).scalar_subquery()

"""Lists of teams: those that a caller may see, page by page, and those that anybody may join."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, select

from app.db import Database
from app.domain import access
from app.domain.windows import Calendar
from app.models import deleted_teams, team_members, teams
from app.services.access.refusals import enforce
from app.services.access.standings import of_teams, standing_in
from app.services.audit.audit import Act
from app.services.keys import key_rows
from app.services.keys.key_views import KeyView
from app.services.rows.pages import Listing, Page, page_of
from app.services.teams import team_rows
from app.services.teams.team_filters import TeamQuery, by_alias, conditions, listing_of, scope_of
from app.services.teams.team_views import ArchivedTeam, TeamView
from app.services.teams.teams import keys_seen

# A list shows so many of the members of each team, those who joined first; `/team/info` shows all.
MEMBERS_OF_EACH = 100


@dataclass(frozen=True, slots=True)
class ListedTeam:
    """A team of a list, with how many members it has, and of its keys those that were asked for, newest first."""

    team: TeamView
    member_count: int
    keys: Sequence[KeyView] = ()


@dataclass(frozen=True, slots=True)
class TeamPage:
    """One page of teams, or of deleted ones."""

    page: Page
    teams: Sequence[ListedTeam] = ()
    deleted: Sequence[ArchivedTeam] = ()


class TeamLists:
    def __init__(self, database: Database, calendar: Calendar, *, available: Sequence[str]) -> None:
        self._database = database
        self._calendar = calendar
        self._available = available

    def list(self, act: Act, query: TeamQuery, key_limit: int) -> TeamPage:
        """A page of the teams that the caller may see, by alias, each with up to `key_limit` keys that it may see.

        Raises InvalidRequest for the cursor, RoleRefused where it asks for the teams of somebody else. Six
        statements, and one more where the caller does not see all, however many teams and keys there are.
        """
        enforce(access.may_list_teams_of(act.caller, query.user_id))
        with self._database.read() as connection:
            listing = Listing(teams, conditions(query, teams), by_alias(), among=scope_of(act.caller, teams))
            page = page_of(connection, listing, query)
            listed = self._listed(connection, act, page)
            keys = self._keys(connection, act, page, key_limit)
        return TeamPage(page, [replace(each, keys=keys.get(each.team.team_id, ())) for each in listed])

    def list_v2(self, act: Act, query: TeamQuery) -> TeamPage:
        """A page of the teams that match and that the caller may see, or of those that are deleted.

        Raises InvalidRequest for a sort, a status or a cursor that does not exist, RoleRefused where it asks for
        the teams of somebody else. Five statements, three for deleted teams.
        """
        enforce(access.may_list_teams_of(act.caller, query.user_id))
        table = deleted_teams if query.is_of_deleted() else teams
        with self._database.read() as connection:
            listing = listing_of(query, table, conditions(query, table), scope_of(act.caller, table))
            page = page_of(connection, listing, query)
            if table is teams:
                return TeamPage(page, self._listed(connection, act, page))
            archived = team_rows.archived(connection, page.ids, member_limit=MEMBERS_OF_EACH)
        return TeamPage(page, deleted=archived)

    def available(self, act: Act) -> Sequence[Mapping[str, Any]]:
        """What is told of the teams that everybody may join, but of the caller's own, by alias."""
        if not self._available:
            return []
        own = select(team_members.c.team_id).where(team_members.c.user_id == act.caller.user_id)
        statement = (
            select(teams)
            .where(teams.c.team_id.in_(self._available), teams.c.team_id.not_in(own))
            .order_by(teams.c.team_alias, teams.c.team_id)
        )
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def _listed(self, connection: Connection, act: Act, page: Page) -> Sequence[ListedTeam]:
        found = team_rows.load(
            connection, teams.c.team_id.in_(page.ids), self._calendar, act.at, member_limit=MEMBERS_OF_EACH
        )
        counts = team_rows.member_counts(connection, page.ids)
        views = {view.team_id: view for view in found}
        return [ListedTeam(views[team_id], counts.get(team_id, 0)) for team_id in page.ids if team_id in views]

    def _keys(self, connection: Connection, act: Act, page: Page, limit: int) -> Mapping[str, Sequence[KeyView]]:
        facts = {} if act.caller.sees_all else of_teams(connection, act.caller, page.ids)
        seen = [keys_seen(act.caller, team_id, standing_in(facts, team_id)) for team_id in page.ids]
        found: dict[str, list[KeyView]] = {}
        for key in key_rows.newest_of_each(connection, seen, limit, self._calendar, act.at):
            found.setdefault(key.columns["team_id"], []).append(key)
        return found

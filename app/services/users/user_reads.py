"""Reading users: one user, alone or with its teams and keys, or a page of those that a caller may see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, Connection, func, or_, select

from app.db import Database
from app.domain import access
from app.domain.access import Caller
from app.domain.scopes import Scope, ScopeKind
from app.domain.teams import DASHBOARD_TEAM
from app.domain.windows import Calendar
from app.models import keys, team_members, teams, users
from app.services.access.refusals import enforce
from app.services.accounts import further_spends
from app.services.audit.audit import Act
from app.services.keys import key_rows
from app.services.keys.key_views import KeyView
from app.services.rows.pages import Page, page_of
from app.services.teams import team_rows
from app.services.teams.team_views import TeamView
from app.services.users import user_rows
from app.services.users.user_filters import UserQuery, listing_of
from app.services.users.user_views import UserView
from app.services.users.users import user_not_found

# A user may own any number of keys and be in any number of teams; an info shows the newest.
NEWEST_KEYS = 100
NEWEST_TEAMS = 100


@dataclass(frozen=True, slots=True)
class UserInfo:
    """A user with its newest teams and keys; `view` is None for the master key, which is nobody."""

    user_id: str
    view: UserView | None
    keys: Sequence[KeyView]
    teams: Sequence[TeamView]


@dataclass(frozen=True, slots=True)
class UserPage:
    """One page of users, and how many keys each of them owns."""

    page: Page
    views: Sequence[UserView]
    key_counts: Mapping[str, int]


class UserReads:
    def __init__(self, database: Database, calendar: Calendar) -> None:
        self._database = database
        self._calendar = calendar

    def info(self, act: Act, user_id: str | None) -> UserInfo:
        """A user, by default the caller itself, with its newest teams and keys; raises NotFound.

        A user that the caller may not see is not found.
        """
        wanted = _seen(act.caller, user_id)
        with self._database.read() as connection:
            found = user_rows.load(connection, users.c.user_id == wanted, self._calendar, act.at)
            if not found and not (act.caller.key_id is None and wanted == act.caller.user_id):
                raise user_not_found(wanted)
            owned = key_rows.newest(connection, keys.c.user_id == wanted, NEWEST_KEYS, self._calendar, act.at)
            joined = (
                select(team_members.c.team_id)
                .where(team_members.c.user_id == wanted)
                .order_by(team_members.c.created_at.desc(), team_members.c.team_id)
                .limit(NEWEST_TEAMS)
            )
            shown = team_rows.load(connection, teams.c.team_id.in_(joined), self._calendar, act.at)
            return UserInfo(wanted, self._with_further(connection, act, found.get(wanted)), owned, shown)

    def _with_further(self, connection: Connection, act: Act, view: UserView | None) -> UserView | None:
        """The user with its budgets for models, and what is used of each."""
        if view is None:
            return None
        holder = Scope(ScopeKind.USER, view.user_id)
        found = further_spends.load(connection, {holder: view.columns}, self._calendar, act.at)
        return replace(view, further=found[holder])

    def row(self, act: Act, user_id: str | None) -> UserView:
        """A user, by default the caller itself, alone; raises NotFound as `info` does."""
        wanted = _seen(act.caller, user_id)
        with self._database.read() as connection:
            found = user_rows.load(connection, users.c.user_id == wanted, self._calendar, act.at)
        if wanted not in found:
            raise user_not_found(wanted)
        return found[wanted]

    def list(self, act: Act, query: UserQuery) -> UserPage:
        """A page of the users that match and that the caller may see, in four statements at the most.

        Raises Forbidden for a caller that lists nobody, InvalidRequest for a sort or a cursor that does not exist.
        """
        enforce(access.may_list_users(act.caller, query.organization_ids))
        among = access.organizations_listed(act.caller, query.organization_ids)
        with self._database.read() as connection:
            page = page_of(connection, listing_of(query, among), query)
            chosen = users.c.user_id.in_(page.ids)
            found = user_rows.load(connection, chosen, self._calendar, act.at, teams_seen=_teams_seen(act.caller))
            counts = _key_counts(connection, page.ids)
        return UserPage(page, [found[user_id] for user_id in page.ids if user_id in found], counts)


def _seen(caller: Caller, user_id: str | None) -> str:
    """The user that is asked for, by default the caller itself; raises NotFound for one out of its sight."""
    wanted = user_id or caller.user_id
    if wanted is None or not access.may_see_user(caller, wanted):
        raise user_not_found(wanted)
    return wanted


def _teams_seen(caller: Caller) -> ColumnElement[bool] | None:
    """Which memberships of the listed users are told: an admin of organizations knows of their teams alone."""
    if caller.sees_all:
        return None
    inside = teams.c.organization_id.in_(sorted(caller.organization_admin_of))
    return team_members.c.team_id.in_(select(teams.c.team_id).where(inside))


def _key_counts(connection: Connection, user_ids: Sequence[str]) -> dict[str, int]:
    """How many keys each of these owns; those without any are left out."""
    if not user_ids:
        return {}
    counted = (
        select(func.count().label("owned"), keys.c.user_id)
        .where(keys.c.user_id.in_(user_ids), or_(keys.c.team_id.is_(None), keys.c.team_id != DASHBOARD_TEAM))
        .group_by(keys.c.user_id)
    )
    return {row.user_id: row.owned for row in connection.execute(counted)}

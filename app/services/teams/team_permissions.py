"""What a team lets its plain members call: what the API calls permissions_list and permissions_update."""

from collections.abc import Sequence

from sqlalchemy import update

from app.db import Database
from app.domain.teams import BASELINE_PERMISSIONS, permissions
from app.domain.windows import Calendar
from app.models import teams
from app.services.access.refusals import rules
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.teams import team_rows
from app.services.teams.team_changes import managed_team
from app.services.teams.team_views import TeamView

_COLUMN = "team_member_permissions"


class TeamPermissions:
    def __init__(self, database: Database, calendar: Calendar) -> None:
        self._database = database
        self._calendar = calendar

    def list(self, act: Act, team_id: str) -> Sequence[str]:
        """The routes that the team's plain members may call; raises NotFound, Forbidden and StoreUnavailable."""
        with self._database.read() as connection:
            granted = managed_team(connection, act, team_id, "/team/permissions_list").row[_COLUMN]
        return BASELINE_PERMISSIONS if granted is None else list(granted)

    def update(self, act: Act, team_id: str, sent: Sequence[str]) -> TeamView:
        """Put these routes in the place of those granted so far; sending it again changes nothing.

        Nothing is announced: who is granted what is read from SQL by every request. Raises InvalidRequest (a route
        that cannot be granted), NotFound, Forbidden and StoreUnavailable, without any change.
        """
        route = "/team/permissions_update"
        with self._database.read() as connection:
            managed_team(connection, act, team_id, route)
        with rules(), self._database.transaction() as transaction:
            before = managed_team(transaction, act, team_id, route, lock=True).row
            after = permissions(sent)
            if after != before[_COLUMN]:
                transaction.execute(
                    update(teams)
                    .where(teams.c.team_id == team_id)
                    .values(team_member_permissions=after, updated_at=act.at)
                )
                change = Changed(team_id, {_COLUMN: before[_COLUMN]}, {_COLUMN: after})
                audit.record(transaction, act, "permissions_update", "team", [change])
            (view,) = team_rows.load(transaction, teams.c.team_id == team_id, self._calendar, act.at)
        return view

"""What a caller is to a team, read in one statement for as many teams as a use case touches."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, select

from app.domain.access import NO_STANDING, Caller, Standing
from app.models import team_members, teams


@dataclass(frozen=True, slots=True)
class TeamFacts:
    """A team that exists, and what the caller is to it."""

    row: Mapping[str, Any]
    standing: Standing


def of_teams(connection: Connection, caller: Caller, team_ids: Iterable[str | None]) -> dict[str, TeamFacts]:
    """The teams among these ids that exist."""
    wanted = {team_id for team_id in team_ids if team_id is not None}
    if not wanted:
        return {}
    rows = connection.execute(
        select(teams, team_members.c.role.label("caller_role"))
        .select_from(
            teams.outerjoin(
                team_members,
                and_(team_members.c.team_id == teams.c.team_id, team_members.c.user_id == caller.user_id),
            )
        )
        .where(teams.c.team_id.in_(wanted))
    ).mappings()
    return {row["team_id"]: TeamFacts(dict(row), _standing(row, caller)) for row in rows}


def _standing(row: Mapping[Any, Any], caller: Caller) -> Standing:
    return Standing(
        is_member=row["caller_role"] is not None,
        is_team_admin=row["caller_role"] == "admin",
        is_organization_admin=row["organization_id"] in caller.organization_admin_of,
        permissions=frozenset(row["team_member_permissions"] or ()),
    )


def standing_in(facts: Mapping[str, TeamFacts], team_id: str | None) -> Standing:
    """The caller's standing in a team; none in a team that does not exist."""
    return facts[team_id].standing if team_id is not None and team_id in facts else NO_STANDING

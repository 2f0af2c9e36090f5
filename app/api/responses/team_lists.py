"""The bodies of the lists of teams."""

from collections.abc import Mapping
from typing import Any

from app.clock import iso
from app.domain import spellings
from app.domain.money import shown
from app.services.teams.team_filters import TeamQuery
from app.services.teams.team_lists import ListedTeam, TeamPage

# What is told of a team to those who are not in it.
_OPEN = (
    "team_id",
    "team_alias",
    "organization_id",
    "models",
    "tpm_limit",
    "rpm_limit",
)


def team(found: ListedTeam) -> dict[str, Any]:
    return {
        **_item(found),
        "team_memberships": [member.fields() for member in found.team.members],
        "keys": [key.fields() for key in found.keys],
    }


def page(found: TeamPage, asked: TeamQuery) -> dict[str, Any]:
    deleted = [{**each.fields(), "members_count": each.member_count} for each in found.deleted]
    return {
        "teams": [*map(_item, found.teams), *deleted],
        "total": found.page.total,
        "page": asked.page,
        "page_size": asked.size,
        "total_pages": asked.pages_of(found.page.total),
    }


def _item(found: ListedTeam) -> dict[str, Any]:
    return {**found.team.fields(), "members_count": found.member_count}


def available(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: row[name] for name in _OPEN},
        **spellings.shown(row["budget_duration"]),
        "max_budget": shown(row["max_budget_nanos"]),
        "blocked": bool(row["blocked"]),
        "created_at": iso(row["created_at"]),
        "admins": [],
        "members": [],
        "members_with_roles": [],
    }

"""What a caller is to teams and organizations, each read in one statement for all that a use case touches."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, or_, select, true, union, union_all

from app.domain.access import NO_STANDING, Caller, Owner, Role, Standing
from app.domain.teams import permitted
from app.models import budgets, keys, organization_members, organizations, team_members, teams, users
from app.services.rows.rows import labelled, own, part
from app.services.teams.team_filters import scope_of


@dataclass(frozen=True, slots=True)
class TeamFacts:
    """A team that exists, and what the caller is to it."""

    row: Mapping[str, Any]
    standing: Standing


@dataclass(frozen=True, slots=True)
class OrganizationFacts:
    """An organization that exists, its tier, and whether the caller belongs to it."""

    row: Mapping[str, Any]
    tier: Mapping[str, Any]
    is_member: bool


_TIER = labelled({"tier": budgets})
# Drawn once: most requests ask so.
_TEAMS = (
    select(teams, team_members.c.role.label("caller_role"))
    .select_from(
        teams.outerjoin(
            team_members,
            and_(team_members.c.team_id == teams.c.team_id, team_members.c.user_id == bindparam("caller_id")),
        )
    )
    .where(teams.c.team_id.in_(bindparam("team_ids", expanding=True)))
    .order_by(teams.c.team_id)
)
_TEAMS_HELD = _TEAMS.with_for_update(of=teams)


def of_teams(
    connection: Connection, caller: Caller, team_ids: Iterable[str | None], *, lock: bool = False
) -> dict[str, TeamFacts]:
    """The teams among these ids that exist; `lock` holds them until the transaction ends."""
    wanted = {team_id for team_id in team_ids if team_id is not None}
    if not wanted:
        return {}
    asked = {"caller_id": caller.user_id, "team_ids": wanted}
    rows = connection.execute(_TEAMS_HELD if lock else _TEAMS, asked).mappings()
    return {row["team_id"]: TeamFacts(dict(row), _standing(row, caller)) for row in rows}


def hold_teams(transaction: Connection, team_ids: Iterable[str | None]) -> None:
    """Keep these teams, and who is in them, until the transaction ends: for something to be put into them.

    In a statement of its own: one that had to wait would see the members as they were before.
    """
    wanted = {team_id for team_id in team_ids if team_id is not None}
    if wanted:
        held = select(teams.c.team_id).where(teams.c.team_id.in_(wanted)).order_by(teams.c.team_id)
        transaction.execute(held.with_for_update(read=True, key_share=True)).all()


def of_caller(connection: Connection, caller: Caller) -> dict[str, Standing]:
    """Every team in which the caller is somebody: a member, or an administrator of its organization."""
    known = union(
        select(team_members.c.team_id).where(team_members.c.user_id == caller.user_id),
        select(teams.c.team_id).where(teams.c.organization_id.in_(sorted(caller.organization_admin_of))),
    )
    statement = (
        select(
            teams.c.team_id,
            teams.c.organization_id,
            teams.c.team_member_permissions,
            team_members.c.role.label("caller_role"),
        )
        .select_from(teams.outerjoin(team_members, _membership_of(caller)))
        .where(teams.c.team_id.in_(known))
    )
    return {row["team_id"]: _standing(row, caller) for row in connection.execute(statement).mappings()}


def teams_seen(caller: Caller) -> ColumnElement[bool]:
    """The teams that `access.may_see_team` shows, as SQL finds them."""
    return true() if caller.sees_all else or_(*scope_of(caller, teams))


def keys_seen(caller: Caller) -> ColumnElement[bool]:
    """The keys that `access.may_see_key` shows, as SQL finds them."""
    if caller.sees_all:
        return true()
    within = [select(team_members.c.team_id).where(team_members.c.user_id == caller.user_id)]
    if caller.organization_admin_of:
        administered = teams.c.organization_id.in_(sorted(caller.organization_admin_of))
        within.append(select(teams.c.team_id).where(administered))
    seen = [keys.c.key_id == caller.key_id, keys.c.team_id.in_(union_all(*within))]
    # Nobody is no owner: a key without one does not see the others that have none.
    if caller.user_id is not None:
        seen.append(keys.c.user_id == caller.user_id)
    if caller.is_service_account:
        seen.append(keys.c.team_id == caller.team_id)
    return or_(*seen)


def other_owner(connection: Connection, caller: Caller, user_id: str) -> Owner:
    """What another user is, beside the caller: its role, its organizations, and whether it leads further teams."""
    user = connection.execute(select(users.c.user_role).where(users.c.user_id == user_id)).scalar()
    administered = connection.execute(
        select(organization_members.c.organization_id).where(
            organization_members.c.user_id == user_id, organization_members.c.user_role == Role.ORG_ADMIN
        )
    ).scalars()
    led = select(team_members.c.team_id).where(team_members.c.user_id == user_id, team_members.c.role == "admin")
    standings = of_teams(connection, caller, connection.execute(led).scalars())
    return Owner(
        Role.of(user), frozenset(administered), any(not team.standing.manages for team in standings.values())
    )


def _membership_of(caller: Caller) -> ColumnElement[bool]:
    return and_(team_members.c.team_id == teams.c.team_id, team_members.c.user_id == caller.user_id)


def _standing(row: Mapping[Any, Any], caller: Caller) -> Standing:
    return Standing(
        is_member=row["caller_role"] is not None,
        is_team_admin=row["caller_role"] == "admin",
        is_organization_admin=row["organization_id"] in caller.organization_admin_of,
        permissions=permitted(row["team_member_permissions"]),
    )


def standing_in(facts: Mapping[str, TeamFacts], team_id: str | None) -> Standing:
    """The caller's standing in a team; none in a team that does not exist."""
    return facts[team_id].standing if team_id is not None and team_id in facts else NO_STANDING


def of_organizations(
    connection: Connection, caller: Caller, organization_ids: Iterable[str], *, lock: bool = False
) -> dict[str, OrganizationFacts]:
    """The organizations among these ids that exist; `lock` keeps them as they are until the transaction ends."""
    wanted = set(organization_ids)
    if not wanted:
        return {}
    statement = (
        select(organizations, *_TIER, organization_members.c.user_id.label("caller_id"))
        .select_from(
            organizations.join(budgets, budgets.c.budget_id == organizations.c.budget_id).outerjoin(
                organization_members,
                and_(
                    organization_members.c.organization_id == organizations.c.organization_id,
                    organization_members.c.user_id == caller.user_id,
                ),
            )
        )
        .where(organizations.c.organization_id.in_(wanted))
        .order_by(organizations.c.organization_id)
    )
    if lock:
        statement = statement.with_for_update(read=True, of=organizations)
    return {
        row["organization_id"]: OrganizationFacts(
            own(row, organizations),
            part(row, "tier", budgets, "budget_id") or {},
            row["caller_id"] is not None,
        )
        for row in connection.execute(statement).mappings()
    }

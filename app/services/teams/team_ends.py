"""The end of a team: what the API calls delete. Its keys, its members, its tiers and its accounts go with it."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import CompoundSelect, Connection, delete, insert, literal, or_, select, union_all

from app.db import Database
from app.domain import access
from app.domain.access import Caller, Refusal
from app.domain.scopes import ScopeKind
from app.domain.windows import Calendar
from app.errors import InvalidRequest
from app.models import deleted_teams, keys, team_members, teams
from app.services.access.refusals import enforce
from app.services.access.standings import TeamFacts, of_teams
from app.services.accounts import account_ends
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.budgets import budget_rows
from app.services.events import delivery
from app.services.events.delivery import Event
from app.services.keys import key_ends, key_relations
from app.services.keys.key_names import LATELY
from app.services.rows.rows import paged
from app.services.teams import team_rows
from app.services.teams.team_rows import MEMBER_ID
from app.services.teams.team_views import TeamView
from app.services.teams.teams import team_not_found
from app.store import policies
from app.store.policies import Policies

ROUTE = "/team/delete"


class TeamEnds:
    def __init__(self, database: Database, policy_store: Policies, calendar: Calendar) -> None:
        self._database = database
        self._policies = policy_store
        self._calendar = calendar

    def delete(self, act: Act, team_ids: Sequence[str]) -> list[str]:
        """Archive and remove these teams with their keys and members, all of them or none; answers their ids.

        Raises InvalidRequest (none is named), NotFound (one is unknown), Forbidden and StoreUnavailable, without a
        change, and WriteStands. Sent again, it raises NotFound, but not before it has announced those that were
        deleted lately: so a WriteStands is made good.
        """
        wanted = sorted(set(team_ids))
        if not wanted:
            raise InvalidRequest("No team id passed in", "team_ids")
        with self._database.read() as connection:
            refusals = _refusals(act.caller, wanted, of_teams(connection, act.caller, wanted))
            unknown = [team_id for team_id, refusal in refusals.items() if refusal is access.HIDDEN]
            gone = _deleted_lately(connection, act, unknown) if unknown else []
        if gone:
            self._policies.publish([policies.team(team_id) for team_id in gone])
        _enforce(refusals)
        # A team stands in the versions of each of its keys: they need no mark of their own.
        with (
            self._policies.long_change([policies.team(team_id) for team_id in wanted]) as announcement,
            self._database.transaction() as transaction,
        ):
            _enforce(_refusals(act.caller, wanted, of_teams(transaction, act.caller, wanted, lock=True)))
            archive(transaction, act, wanted, self._calendar, announcement.renew)
            announcement.before_commit()
        return list(dict.fromkeys(team_ids))


def _refusals(caller: Caller, team_ids: Sequence[str], facts: Mapping[str, TeamFacts]) -> dict[str, Refusal]:
    """Which of these teams the caller may not delete, and why; one that is not there is hidden."""
    found = {
        team_id: access.may_manage_team(caller, team_id, facts[team_id].standing, ROUTE)
        if team_id in facts
        else access.HIDDEN
        for team_id in team_ids
    }
    return {team_id: refusal for team_id, refusal in found.items() if refusal is not None}


def _enforce(refusals: Mapping[str, Refusal]) -> None:
    """Raise the error of the first refusal, of one that is hidden before all others."""
    for team_id, refusal in sorted(refusals.items(), key=lambda item: item[1] is not access.HIDDEN):
        enforce(refusal, team_not_found(team_id))


def _deleted_lately(connection: Connection, act: Act, team_ids: Sequence[str]) -> Sequence[str]:
    """Those of these teams that are deleted since a moment ago, of those that the caller might have seen."""
    found = select(deleted_teams.c.team_id).where(
        deleted_teams.c.team_id.in_(team_ids), deleted_teams.c.deleted_at > act.at - LATELY
    )
    if not act.caller.sees_all:
        found = found.where(
            or_(
                deleted_teams.c.organization_id.in_(sorted(act.caller.organization_admin_of)),
                deleted_teams.c.deleted_by == act.caller.user_id,
            )
        )
    return connection.execute(found).scalars().all()


def archive(
    transaction: Connection,
    act: Act,
    team_ids: Collection[str],
    calendar: Calendar,
    renew: Callable[[], None],
) -> None:
    """Move teams into the archive, with their keys; remove their members and whatever belonged to them alone.

    The caller holds the teams, and has announced them or their organization. `renew` is called now and then, so
    that the change may take as long as there are keys.
    """
    for page in paged(team_ids):
        account_ends.hold(transaction, _accounts(page))
    for page in paged(team_ids):
        key_ends.archive_all(transaction, act, keys.c.team_id.in_(page), calendar, renew)
    for page in paged(team_ids):
        _archive(transaction, act, page, calendar)
        renew()


def _archive(transaction: Connection, act: Act, team_ids: Sequence[str], calendar: Calendar) -> None:
    views = team_rows.load(transaction, teams.c.team_id.in_(team_ids), calendar, act.at)
    if not views:
        return
    tiers = [*paged(_tiers(views))]
    for page in tiers:
        budget_rows.locked(transaction, page)
    transaction.execute(insert(deleted_teams), [_archived(act, view) for view in views])
    account_ends.close(transaction, act, _accounts(team_ids))
    transaction.execute(delete(teams).where(teams.c.team_id.in_(team_ids)))
    for page in tiers:
        budget_rows.remove_unlinked(transaction, page)
    key_relations.drop_permissions(transaction, views)
    audit.record(
        transaction, act, "delete", "team", [Changed(view.team_id, view.fields(), None) for view in views]
    )
    delivery.enqueue(transaction, [_event(view) for view in views], act.at)


def _accounts(team_ids: Sequence[str]) -> CompoundSelect[Any]:
    """Scope and id of the accounts of these teams and of their members."""
    of_members = select(literal(ScopeKind.MEMBER.value), MEMBER_ID).where(team_members.c.team_id.in_(team_ids))
    of_teams = [
        select(literal(kind.value), teams.c.team_id).where(teams.c.team_id.in_(team_ids))
        for kind in (ScopeKind.TEAM, ScopeKind.TEAM_MODEL, ScopeKind.TEAM_WINDOW)
    ]
    return union_all(of_members, *of_teams)


def _tiers(views: Iterable[TeamView]) -> set[str]:
    """The tiers of teams' members: those that each team's members share, and those of their own."""
    tiers = [tier for view in views for tier in (view.member_tier, *(member.tier for member in view.members))]
    return {tier["budget_id"] for tier in tiers if tier is not None}


def _archived(act: Act, view: TeamView) -> dict[str, Any]:
    columns = view.columns
    return {
        **{name: value for name, value in columns.items() if name in deleted_teams.c},
        "members": [member.user_id for member in view.members],
        "spend_nanos": view.spend.window_nanos,
        "total_spend_nanos": view.spend.lifetime_nanos,
        "deleted_at": act.at,
        "deleted_by": act.caller.user_id,
        "deleted_by_key_id": act.caller.key_id or act.caller.key_alias,
        "changed_by": act.changed_by,
        "fields": view.fields(),
        "team_memberships": [member.fields() for member in view.members],
    }


def _event(view: TeamView) -> Event:
    return Event("team_deleted", "team", view.team_id, view.event_fields())

"""Taking somebody out of a team: what the API calls member_delete."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, and_, delete, func, literal, select, union_all

from app.db import Database
from app.domain.scopes import ScopeKind
from app.domain.teams import member_id
from app.domain.users import folded
from app.domain.windows import Calendar
from app.errors import InvalidRequest
from app.models import keys, team_members, teams, users
from app.services.accounts import account_ends
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.budgets import budget_rows
from app.services.keys import key_ends
from app.services.teams import team_rows
from app.services.teams.team_changes import managed_team
from app.services.teams.team_views import MemberView, TeamView
from app.store import policies
from app.store.policies import Announcement, Policies

ROUTE = "/team/member_delete"


class MemberEnds:
    def __init__(self, database: Database, policy_store: Policies, calendar: Calendar) -> None:
        self._database = database
        self._policies = policy_store
        self._calendar = calendar

    def member_delete(self, act: Act, sent: Mapping[str, Any]) -> TeamView:
        """Remove the member named by `user_id`, or else `user_email`, and its keys in the team; answers the team.

        Raises NotFound (no such team), InvalidRequest (nobody such in it), Forbidden and StoreUnavailable, without
        any change, and WriteStands. Sent again, it raises InvalidRequest, but not before it has announced the
        member: so a WriteStands is made good.
        """
        team_id = sent["team_id"]
        with self._database.read() as connection:
            managed_team(connection, act, team_id, ROUTE)
            user_id = sent.get("user_id") or _somebody(connection, team_id, folded(sent.get("user_email")))
        if user_id is None:
            raise _not_in_team(sent)
        # A member stands in the versions of each of its keys in the team: they need no mark of their own.
        with (
            self._policies.long_change([policies.member(team_id, user_id)]) as announcement,
            self._database.transaction() as transaction,
        ):
            managed_team(transaction, act, team_id, ROUTE, lock=True)
            member = team_rows.member(transaction, team_id, user_id, self._calendar, act.at)
            if member is None:
                raise _not_in_team(sent)
            view = self._remove(transaction, act, member, announcement)
            announcement.before_commit()
        return view

    def _remove(
        self, transaction: Connection, act: Act, member: MemberView, announcement: Announcement
    ) -> TeamView:
        team_id, user_id = member.team_id, member.user_id
        owned = and_(keys.c.team_id == team_id, keys.c.user_id == user_id)
        account = select(literal(ScopeKind.MEMBER.value), literal(member_id(team_id, user_id)))
        account_ends.hold(transaction, account)
        key_ends.archive_all(transaction, act, owned, self._calendar, announcement.renew)
        own = [] if member.tier is None or member.shares_tier else [member.tier["budget_id"]]
        budget_rows.locked(transaction, own)
        account_ends.close(transaction, act, account)
        transaction.execute(
            delete(team_members).where(team_members.c.team_id == team_id, team_members.c.user_id == user_id)
        )
        budget_rows.remove_unlinked(transaction, own)
        audit.record(
            transaction,
            act,
            "member_delete",
            "team",
            [Changed(team_id, {"member": member.fields()}, {"member": None})],
        )
        (view,) = team_rows.load(transaction, teams.c.team_id == team_id, self._calendar, act.at)
        return view


def _somebody(connection: Connection, team_id: str, address: str | None) -> str | None:
    """Who has this address: a user, or a member without a row of its own."""
    nobody = ~select(users.c.user_id).where(users.c.user_id == team_members.c.user_id).exists()
    found: str | None = connection.execute(
        union_all(
            select(users.c.user_id).where(users.c.email_folded == address),
            select(team_members.c.user_id).where(
                team_members.c.team_id == team_id, func.lower(team_members.c.user_email) == address, nobody
            ),
        ).limit(1)
    ).scalar()
    return found


def _not_in_team(sent: Mapping[str, Any]) -> InvalidRequest:
    field = "user_id" if sent.get("user_id") else "user_email"
    return InvalidRequest(f"User not found in team. {field}={sent.get(field)}", field)

"""Who is what in a team, and what it may spend there: what the API calls member_update and reset_budget."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select, update

from app.db import Database
from app.domain import access
from app.domain.budgets import limits_nothing
from app.domain.teams import OWN_TIER_FIELDS, member_tier_changes
from app.domain.users import folded
from app.domain.windows import Calendar
from app.errors import NotFound
from app.models import team_members, users
from app.services.access.refusals import enforce, rules
from app.services.accounts import holder_accounts
from app.services.accounts.holder_accounts import HolderChange
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.budgets import budget_rows
from app.services.teams import team_rows
from app.services.teams.team_changes import managed_team
from app.services.teams.team_views import MemberView
from app.store import policies
from app.store.policies import Policies

ROUTE = "/team/member_update"
RESET_BUDGET = "/team/{team_id}/member/{user_id}/reset_budget"


class MemberChanges:
    def __init__(self, database: Database, policy_store: Policies, calendar: Calendar) -> None:
        self._database = database
        self._policies = policy_store
        self._calendar = calendar

    def member_update(self, act: Act, sent: Mapping[str, Any]) -> MemberView:
        """Change the role of a member, named by `user_id` or else by `user_email`, and its limits in the team.

        Limits are those of a tier of its own: a member that shared the team's gets a copy. One without any limit
        left shares the team's again. Raises NotFound, InvalidRequest, Forbidden and StoreUnavailable, all of them
        without any change, and WriteStands. Sending it again is safe.
        """
        team_id = sent["team_id"]
        with rules():
            with self._database.read() as connection:
                managed_team(connection, act, team_id, ROUTE)
                user_id = member_named(connection, sent)
            with (
                self._policies.change([policies.member(team_id, user_id)]) as before_commit,
                self._database.transaction() as transaction,
            ):
                view = self._update(transaction, act, user_id, sent)
                before_commit()
        return view

    def reset_budget(self, act: Act, team_id: str, user_id: str) -> MemberView:
        """Put a member back on the tier that the team's members share; what it has spent stays.

        Raises NotFound, Forbidden (for oneself too) and StoreUnavailable, without any change, and WriteStands.
        Doing it again changes nothing.
        """
        with self._database.read() as connection:
            relieved_team(connection, act, team_id, user_id, RESET_BUDGET)
            member_named(connection, {"team_id": team_id, "user_id": user_id})
        with (
            self._policies.change([policies.member(team_id, user_id)]) as before_commit,
            self._database.transaction() as transaction,
        ):
            view = self._reset_budget(transaction, act, team_id, user_id)
            before_commit()
        return view

    def _reset_budget(self, transaction: Connection, act: Act, team_id: str, user_id: str) -> MemberView:
        team = relieved_team(transaction, act, team_id, user_id, RESET_BUDGET, lock=True)
        before = self._member(transaction, act, team, user_id)
        if before.tier is None or before.shares_tier:
            return before
        nothing = dict.fromkeys(OWN_TIER_FIELDS)
        self._change_tier(transaction, act, before, team["member_budget_id"], nothing)
        view = self._member(transaction, act, team, user_id)
        change = Changed(team_id, {"member": before.fields()}, {"member": view.fields()})
        audit.record(transaction, act, "member_reset_budget", "team", [change])
        return view

    def _update(self, transaction: Connection, act: Act, user_id: str, sent: Mapping[str, Any]) -> MemberView:
        team = managed_team(transaction, act, sent["team_id"], ROUTE, lock=True).row
        before = self._member(transaction, act, team, user_id)
        role = sent.get("role") or before.role
        if OWN_TIER_FIELDS.keys() & sent.keys():
            self._change_tier(transaction, act, before, team["member_budget_id"], sent)
        if role != before.role:
            transaction.execute(update(team_members).where(_is(before)).values(role=role))
        view = self._member(transaction, act, team, user_id)
        change = Changed(team["team_id"], {"member": before.fields()}, {"member": view.fields()})
        audit.record(transaction, act, "member_update", "team", [change])
        return view

    def _member(self, transaction: Connection, act: Act, team: Mapping[str, Any], user_id: str) -> MemberView:
        found = team_rows.member(transaction, team["team_id"], user_id, self._calendar, act.at)
        if found is None:
            raise not_in_team("user_id", user_id)
        return found

    def _change_tier(
        self, transaction: Connection, act: Act, member: MemberView, shared_id: str | None, sent: Mapping[str, Any]
    ) -> None:
        """Change the member's own tier, or give it one; a tier that others are linked to stays as it is."""
        present_id: str | None = None if member.tier is None else member.tier["budget_id"]
        rows = budget_rows.locked(transaction, {present_id, shared_id} - {None})
        present = {} if present_id is None else rows[present_id]
        own_id = None if present_id == shared_id else present_id
        if own_id is not None and budget_rows.is_shared(transaction, own_id):
            own_id = None
        changes = member_tier_changes(sent, OWN_TIER_FIELDS, present, self._calendar, act.at)
        after = {**budget_rows.limits_in(present), **changes}
        shares = limits_nothing(after)
        if shares:
            after = {} if shared_id is None else rows[shared_id]
        change = HolderChange(member.account, present, after)
        with holder_accounts.follow(transaction, act, [change], self._calendar):
            budget_id = shared_id
            if own_id is not None and not shares:
                budget_rows.change(transaction, act, own_id, changes)
                budget_id = own_id
            elif not shares:
                budget_id = str(uuid.uuid4())
                budget_rows.put(transaction, act, {budget_id: after})
            if budget_id != present_id:
                transaction.execute(update(team_members).where(_is(member)).values(budget_id=budget_id))
                if own_id is not None:
                    budget_rows.remove(transaction, own_id)


def relieved_team(
    connection: Connection, act: Act, team_id: str, user_id: str, route: str, *, lock: bool = False
) -> Mapping[str, Any]:
    """The team, if the caller may reset this user's spend or budget in it; raises NotFound, else Forbidden."""
    row = managed_team(connection, act, team_id, route, lock=lock).row
    enforce(access.may_relieve_member(act.caller, user_id))
    return row


def member_named(connection: Connection, sent: Mapping[str, Any]) -> str:
    """The id of the member that the request names; raises NotFound."""
    user_id = sent.get("user_id")
    field = "user_id" if user_id else "user_email"
    statement = (
        select(team_members.c.user_id)
        .select_from(team_members.outerjoin(users, users.c.user_id == team_members.c.user_id))
        .where(team_members.c.team_id == sent["team_id"])
    )
    if user_id:
        statement = statement.where(team_members.c.user_id == user_id)
    else:
        address = folded(sent["user_email"])
        listed = and_(users.c.user_id.is_(None), func.lower(team_members.c.user_email) == address)
        statement = statement.where(or_(users.c.email_folded == address, listed))
    found: str | None = connection.execute(statement.order_by(team_members.c.user_id)).scalar()
    if found is None:
        raise not_in_team(field, sent[field])
    return found


def _is(member: MemberView) -> Any:
    return and_(team_members.c.team_id == member.team_id, team_members.c.user_id == member.user_id)


def not_in_team(field: str, value: str) -> NotFound:
    return NotFound(f"User not found in team. {field}={value}", field)

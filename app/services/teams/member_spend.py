"""Setting what a member has spent in a team: what the API calls reset_spend."""

from decimal import Decimal

from sqlalchemy import Connection

from app.db import Database
from app.domain import money
from app.domain.windows import Calendar
from app.errors import InvalidRequest
from app.services.access.refusals import rules
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.decisions.rebasing import Rebasing
from app.services.ledger.relieving import Relieving
from app.services.teams import team_rows
from app.services.teams.member_changes import member_named, not_in_team, relieved_team
from app.services.teams.team_views import MemberView
from app.store import policies
from app.store.policies import Policies

ROUTE = "/team/{team_id}/member/{user_id}/reset_spend"


class MemberSpend:
    def __init__(
        self,
        database: Database,
        policy_store: Policies,
        calendar: Calendar,
        rebasing: Rebasing,
        relieving: Relieving,
    ) -> None:
        self._database = database
        self._policies = policy_store
        self._calendar = calendar
        self._rebasing = rebasing
        self._relieving = relieving

    def reset(self, act: Act, team_id: str, user_id: str, to: Decimal) -> tuple[MemberView, MemberView]:
        """Set a member's spend to a smaller amount, its lifetime kept; the membership before and after.

        Raises NotFound, InvalidRequest (above the present spend, or above the cap), Forbidden (for oneself too)
        and StoreUnavailable, without any change, and WriteStands. Doing it again changes nothing.
        """
        with self._database.read() as connection:
            relieved_team(connection, act, team_id, user_id, ROUTE)
            member_named(connection, {"team_id": team_id, "user_id": user_id})
        with (
            rules(),
            self._policies.change([policies.member(team_id, user_id)]) as before_commit,
            self._database.transaction() as transaction,
        ):
            changed = self._reset(transaction, act, team_id, user_id, to)
            before_commit()
        self._rebasing.corrected([changed[0].account.scope])
        return changed

    def _reset(
        self, transaction: Connection, act: Act, team_id: str, user_id: str, to: Decimal
    ) -> tuple[MemberView, MemberView]:
        relieved_team(transaction, act, team_id, user_id, ROUTE, lock=True)
        before = self._member(transaction, act, team_id, user_id)
        to_nanos = money.nanos(to, "reset_to")
        _check(before, to_nanos)
        if to_nanos == before.spend.window_nanos:
            return before, before
        owner = {"team_id": team_id, "user_id": user_id}
        self._relieving.relieve(transaction, act, before.account, to_nanos, owner)
        after = self._member(transaction, act, team_id, user_id)
        change = Changed(team_id, {"member": before.fields()}, {"member": after.fields()})
        audit.record(transaction, act, "member_reset_spend", "team", [change])
        return before, after

    def _member(self, transaction: Connection, act: Act, team_id: str, user_id: str) -> MemberView:
        found = team_rows.member(transaction, team_id, user_id, self._calendar, act.at)
        if found is None:
            raise not_in_team("user_id", user_id)
        return found


def _check(before: MemberView, to_nanos: int) -> None:
    if to_nanos > before.spend.window_nanos:
        raise InvalidRequest("reset_to must not be above the present spend of the member.", "reset_to")
    cap = None if before.tier is None else before.tier["max_budget"]
    if cap is not None and to_nanos > money.nanos(Decimal(str(cap)), "max_budget"):
        raise InvalidRequest("reset_to must not be above the budget of the member.", "reset_to")

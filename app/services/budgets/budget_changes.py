"""Changing budget tiers, and with them the caps and windows of everything that is linked to one."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection

from app.db import Database
from app.domain import access
from app.domain.budgets import tier_changes
from app.domain.windows import Calendar
from app.errors import InvalidRequest
from app.services.access.refusals import enforce, rules
from app.services.accounts import rearming, tier_accounts
from app.services.accounts.tier_accounts import LINKED_BATCH
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.budgets import budget_rows
from app.services.budgets.budget_views import BudgetView, budget_view
from app.services.budgets.budgets import budget_not_found
from app.store import policies
from app.store.policies import Policies


class BudgetChanges:
    """`batch` is how many linked keys follow a change at a time."""

    def __init__(
        self, database: Database, policy_store: Policies, calendar: Calendar, *, batch: int = LINKED_BATCH
    ) -> None:
        self._database = database
        self._policies = policy_store
        self._calendar = calendar
        self._batch = batch

    def update(self, act: Act, sent: Mapping[str, Any]) -> BudgetView:
        """Change what was sent of the tier named by `budget_id`; another window is that of all linked to it.

        Raises Forbidden, InvalidRequest, NotFound and StoreUnavailable, all of them without any change;
        WriteStands where the change is stored but not announced. Sending it again is safe.
        """
        enforce(access.may_update_budget(act.caller))
        budget_id = sent.get("budget_id")
        if not budget_id:
            raise InvalidRequest("budget_id is required", "budget_id")
        with self._database.read() as connection:
            if budget_id not in budget_rows.rows_of(connection, [budget_id]):
                raise budget_not_found(budget_id)
        with (
            rules(),
            self._policies.long_change([policies.tier(budget_id)]) as announcement,
            self._database.transaction() as transaction,
        ):
            view = self._update(transaction, act, budget_id, sent, announcement.renew)
            announcement.before_commit()
        return view

    def _update(
        self,
        transaction: Connection,
        act: Act,
        budget_id: str,
        sent: Mapping[str, Any],
        renew: Callable[[], None],
    ) -> BudgetView:
        # Asked of all linked keys: only where the answer may matter.
        more = [rearming.rolls_beside()] if "max_budget" in sent else []
        stored = budget_rows.locked(transaction, [budget_id], *more).get(budget_id)
        if stored is None:
            raise budget_not_found(budget_id)
        before = budget_view(stored, self._calendar, act.at)
        changes = tier_changes(sent, stored, self._calendar, act.at)
        tier_accounts.follow(
            transaction,
            stored,
            changes,
            calendar=self._calendar,
            now=act.at,
            renew=renew,
            batch=self._batch,
        )
        budget_rows.change(transaction, act, budget_id, changes)
        tier_accounts.watch(transaction, stored, changes, renew, self._batch)
        view = budget_rows.load(transaction, [budget_id], self._calendar, act.at)[budget_id]
        audit.record(transaction, act, "update", "budget", [Changed(budget_id, before.fields(), view.fields())])
        return view

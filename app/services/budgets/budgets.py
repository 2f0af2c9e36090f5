"""Budget tiers: caps that many keys, members or organizations are linked to, each with its own spend."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.db import Database
from app.domain import access
from app.domain.budgets import tier_of
from app.domain.windows import Calendar
from app.errors import InvalidRequest, NotFound
from app.models import budgets
from app.services.access.refusals import enforce, rules
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.budgets import budget_rows
from app.services.budgets.budget_views import BudgetView
from app.services.rows.pages import Listing, Order, Page, Wanted, page_of


@dataclass(frozen=True, slots=True)
class BudgetPage:
    """One page of tiers, newest first."""

    page: Page
    views: Sequence[BudgetView]


class Budgets:
    def __init__(self, database: Database, calendar: Calendar) -> None:
        self._database = database
        self._calendar = calendar

    def new(self, act: Act, sent: Mapping[str, Any]) -> BudgetView:
        """Make a tier; nothing is linked to it yet, so no verdict changes.

        Raises InvalidRequest (a limit that cannot be, an id that exists) and StoreUnavailable. Sent again
        without a `budget_id`, it makes another tier.
        """
        request = {name: value for name, value in sent.items() if value is not None}
        budget_id = request.get("budget_id") or str(uuid.uuid4())
        exists = InvalidRequest(f"Budget with id '{budget_id}' already exists.", "budget_id")
        with rules(taken={"pk_budgets": exists}):
            columns = tier_of(request, self._calendar, act.at)
            with self._database.transaction() as transaction:
                budget_rows.put(transaction, act, {budget_id: columns})
                view = budget_rows.load(transaction, [budget_id], self._calendar, act.at)[budget_id]
                audit.record(transaction, act, "new", "budget", [Changed(budget_id, None, view.fields())])
        return view

    def info(self, act: Act, budget_ids: Sequence[str]) -> list[BudgetView]:
        """The tiers among these ids that exist, in the order asked for; raises InvalidRequest without ids."""
        if not budget_ids:
            raise InvalidRequest("Specify the ids of the budgets to show. Received an empty list.", "budgets")
        with self._database.read() as connection:
            found = budget_rows.load(connection, budget_ids, self._calendar, act.at)
        return [found[budget_id] for budget_id in dict.fromkeys(budget_ids) if budget_id in found]

    def list(self, act: Act, wanted: Wanted) -> BudgetPage:
        """A page of all tiers, in three statements at the most; raises Forbidden and InvalidRequest."""
        enforce(access.may_see_budgets(act.caller))
        listing = Listing(budgets, (), Order(budgets.c.created_at, budgets.c.budget_id))
        with self._database.read() as connection:
            page = page_of(connection, listing, wanted)
            found = budget_rows.load(connection, page.ids, self._calendar, act.at)
        return BudgetPage(page, [found[budget_id] for budget_id in page.ids if budget_id in found])

    def settings(self, act: Act, budget_id: str) -> BudgetView:
        """The tier whose settings are asked for; raises Forbidden and NotFound."""
        enforce(access.may_see_budgets(act.caller))
        with self._database.read() as connection:
            found = budget_rows.load(connection, [budget_id], self._calendar, act.at)
        if budget_id not in found:
            raise budget_not_found(budget_id)
        return found[budget_id]


def budget_not_found(budget_id: str, field: str = "budget_id") -> NotFound:
    return NotFound(f"Budget not found, passed {field}={budget_id}", field)

"""What is used of the budgets beside the one of their holder, for whoever reads the holder."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from app.domain.further_budgets import further_accounts
from app.domain.further_usage import FurtherUsage
from app.domain.rollover import Terms
from app.domain.scopes import Scope, ScopeKind
from app.domain.snapshots import Row
from app.domain.spend import Spend, spend_of
from app.domain.windows import Calendar
from app.services.accounts import account_rows, spends


def load(
    connection: Connection, holders: Mapping[Scope, Row], calendar: Calendar, now: datetime
) -> dict[Scope, list[FurtherUsage]]:
    """Those of each of the holders, which come with their columns.

    One statement for any number of them; none where no holder has such a budget.
    """
    accounts = {holder: further_accounts(holder, settings) for holder, settings in holders.items()}
    states = _states(connection, [scope for of_holder in accounts.values() for scope in of_holder])
    return {
        holder: [
            FurtherUsage(
                scope, terms, _spend(states.get(scope), terms, holders[holder]["created_at"], calendar, now)
            )
            for scope, terms in of_holder.items()
        ]
        for holder, of_holder in accounts.items()
    }


def _states(connection: Connection, scopes: Sequence[Scope]) -> dict[Scope, dict[str, Any]]:
    if not scopes:
        return {}
    chosen = select(*spends.account_columns()).where(account_rows.among(connection, scopes))
    states = [spends.account_part(row) for row in connection.execute(chosen).mappings()]
    return {
        Scope(ScopeKind(state["scope"]), state["scope_id"], state["sub"]): state
        for state in states
        if state is not None
    }


def _spend(
    state: Mapping[str, Any] | None, terms: Terms, since: datetime, calendar: Calendar, now: datetime
) -> Spend:
    """An account without a row has spent nothing yet, and runs since its holder was made."""
    if state is None:
        return Spend(window=calendar.running(terms.spelling, since, now), armed_at=since)
    return spend_of({**state, "armed_at": state["armed_at"] or since}, terms, calendar, now)

"""What is used of the budgets beside the one of their holder, for whoever reads the holder.

Read in one statement for any number of holders, and in none where no holder has such a budget.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from app.clock import iso
from app.domain.further_budgets import OF_MODELS, further_accounts
from app.domain.money import dollars, shown
from app.domain.rollover import Terms
from app.domain.scopes import Scope, ScopeKind
from app.domain.snapshots import Row
from app.domain.spend import Spend, spend_of
from app.domain.windows import Calendar
from app.services.accounts import account_rows, spends

_Used = tuple[Scope, Terms, Spend]


def usage(
    connection: Connection, holders: Mapping[Scope, Row], calendar: Calendar, now: datetime
) -> dict[Scope, dict[str, Any]]:
    """The fields that tell it, by holder and ready for JSON; `holders` come with their columns.

    A field is there where its holder has such budgets. A window is named by its spelling, as everywhere.
    """
    further = {holder: further_accounts(holder, settings) for holder, settings in holders.items()}
    states = _states(connection, [scope for accounts in further.values() for scope in accounts])
    return {
        holder: _fields(
            holder,
            [
                (scope, terms, _spend(states.get(scope), terms, holders[holder]["created_at"], calendar, now))
                for scope, terms in accounts.items()
            ],
        )
        for holder, accounts in further.items()
    }


def _states(connection: Connection, scopes: Sequence[Scope]) -> dict[Scope, dict[str, Any]]:
    if not scopes:
        return {}
    chosen = select(*spends.account_columns()).where(account_rows.among(connection, scopes))
    states = [spends.account_part(row) for row in connection.execute(chosen).mappings()]
    return {Scope(ScopeKind(state["scope"]), state["scope_id"], state["sub"]): state for state in states if state is not None}


def _spend(
    state: Mapping[str, Any] | None, terms: Terms, since: datetime, calendar: Calendar, now: datetime
) -> Spend:
    if state is None:
        return Spend(window=calendar.running(terms.spelling, since, now))
    return spend_of({**state, "armed_at": state["armed_at"] or since}, terms, calendar, now)


def _fields(holder: Scope, used: Sequence[_Used]) -> dict[str, Any]:
    models = {scope.sub: _of_model(terms, spend) for scope, terms, spend in used if _is_model(holder, scope)}
    limits = {
        scope.sub: {"current_spend": dollars(spend.window_nanos)}
        for scope, _, spend in used
        if not _is_model(holder, scope)
    }
    fields = {"model_max_budget_usage": models, "budget_limits_usage": limits}
    return {name: entries for name, entries in fields.items() if entries}


def _is_model(holder: Scope, scope: Scope) -> bool:
    return scope.kind is OF_MODELS[holder.kind]


def _of_model(terms: Terms, spend: Spend) -> dict[str, Any]:
    return {
        "current_spend": dollars(spend.window_nanos),
        "budget_limit": shown(terms.cap_nanos),
        "time_period": terms.spelling,
        "budget_reset_at": iso(spend.reset_at),
    }

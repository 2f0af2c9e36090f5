"""The ledger's side of a key's spend: opening an account, arming its window, correcting it.

Every change of a spend is a ledger row of its own, written in the transaction of the change.
"""

import uuid
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, insert, update

from app.domain.spend import Spend
from app.domain.windows import Calendar, Window
from app.models import budget_state, ledger
from app.services.audit import Act


def open_account(
    transaction: Connection, scope: str, scope_id: str, spelling: str | None, calendar: Calendar, now: datetime
) -> Spend:
    """Start the account of a new scope, its window armed where it has one."""
    window = _armed(spelling, calendar, now)
    transaction.execute(
        insert(budget_state).values(scope=scope, scope_id=scope_id, sub="", **_columns(window, now))
    )
    return Spend(window=window)


def rearm(
    transaction: Connection,
    scope: str,
    scope_id: str,
    spend: Spend,
    *,
    before: str | None,
    after: str | None,
    calendar: Calendar,
    now: datetime,
) -> Spend:
    """Give a scope another window and return its spend in it.

    A window armed where there was none starts at zero; one that replaces another takes its spend along, and
    without a window the spend so far stays. The same spelling again changes nothing, so nothing drifts.
    """
    if before == after:
        return spend
    window = _armed(after, calendar, now)
    moved = replace(spend, window_nanos=0 if before is None else spend.window_nanos, window=window)
    transaction.execute(
        update(budget_state)
        .where(_is(scope, scope_id))
        .values(window_spend_nanos=moved.window_nanos, **_columns(window, now))
    )
    return moved


def correct_key(transaction: Connection, act: Act, key_id: str, spend: Spend, to_nanos: int) -> None:
    """Set what a key has spent in its window; its lifetime moves by the same amount.

    The caller holds the key's row, so nobody else corrects it meanwhile.
    """
    amount = to_nanos - spend.window_nanos
    if amount == 0:
        return
    transaction.execute(
        insert(ledger).values(
            kind="correction",
            request_id=f"correction-{uuid.uuid4()}",
            key_id=key_id,
            amount_nanos=amount,
            actor=act.caller.user_id,
            occurred_at=act.at,
            recorded_at=act.at,
        )
    )
    window = {} if spend.window is None else {"window_start": spend.window.start, "reset_at": spend.window.end}
    transaction.execute(
        update(budget_state)
        .where(_is("key", key_id))
        .values(
            window_spend_nanos=to_nanos,
            lifetime_spend_nanos=budget_state.c.lifetime_spend_nanos + amount,
            **window,
        )
    )


def _is(scope: str, scope_id: str) -> ColumnElement[bool]:
    return and_(budget_state.c.scope == scope, budget_state.c.scope_id == scope_id, budget_state.c.sub == "")


def _armed(spelling: str | None, calendar: Calendar, now: datetime) -> Window | None:
    return None if spelling is None else calendar.window(spelling, now, now)


def _columns(window: Window | None, now: datetime) -> dict[str, Any]:
    if window is None:
        return {"armed_at": None, "window_start": None, "reset_at": None, "parked_at": None}
    return {"armed_at": now, "window_start": window.start, "reset_at": window.end, "parked_at": None}

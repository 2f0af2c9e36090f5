"""The ledger's side of a key's spend: opening an account, arming its window, correcting it.

Every change of a spend is a ledger row of its own, written in the transaction of the change.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, insert, update
from sqlalchemy.dialects import postgresql, sqlite

from app.domain.spend import Spend
from app.domain.windows import Calendar, Window
from app.models import budget_state, ledger
from app.services.audit import Act


def open_account(
    transaction: Connection, scope: str, scope_id: str, spelling: str | None, calendar: Calendar, now: datetime
) -> Spend:
    """Start the account of a new scope, its window armed where it has one."""
    open_accounts(transaction, scope, {scope_id: spelling}, calendar, now)
    return Spend(window=_armed(spelling, calendar, now))


def open_accounts(
    transaction: Connection, scope: str, spellings: Mapping[str, str | None], calendar: Calendar, now: datetime
) -> None:
    """Start the accounts of new scopes of one kind, in one statement; `spellings` tells the window of each.

    A team or a user may have been charged before it had a row: that stays, but an armed window starts at zero.
    """
    if not spellings:
        return
    dialect = sqlite if transaction.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(budget_state)
    new = statement.excluded
    kept = case((new.armed_at.is_(None), budget_state.c.window_spend_nanos), else_=0)
    transaction.execute(
        statement.on_conflict_do_update(
            index_elements=["scope", "scope_id", "sub"],
            set_={
                "armed_at": new.armed_at,
                "window_start": new.window_start,
                "reset_at": new.reset_at,
                "window_spend_nanos": kept,
            },
        ),
        [
            {"scope": scope, "scope_id": scope_id, "sub": "", **_columns(_armed(spelling, calendar, now), now)}
            for scope_id, spelling in spellings.items()
        ],
    )


@dataclass(frozen=True, slots=True)
class Rearming:
    """What a scope has spent, and the spellings of its window before and after a change."""

    spend: Spend
    before: str | None
    after: str | None


def rearm(
    transaction: Connection, scope: str, changes: Mapping[str, Rearming], calendar: Calendar, now: datetime
) -> dict[str, Spend]:
    """Give scopes of one kind, by their ids, other windows and return their spend in them; one statement for all.

    A window armed where there was none starts at zero; one that replaces another takes its spend along, and
    without a window the spend so far stays. The same spelling again changes nothing, so nothing drifts.
    """
    moved = {
        scope_id: replace(
            change.spend,
            window_nanos=0 if change.before is None else change.spend.window_nanos,
            window=_armed(change.after, calendar, now),
        )
        for scope_id, change in changes.items()
        if change.before != change.after
    }
    if moved:
        transaction.execute(
            update(budget_state).where(_is(scope, bindparam("of_scope"))),
            [
                {"of_scope": scope_id, "window_spend_nanos": spend.window_nanos, **_columns(spend.window, now)}
                for scope_id, spend in moved.items()
            ],
        )
    return {scope_id: moved.get(scope_id, change.spend) for scope_id, change in changes.items()}


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


def _is(scope: str, scope_id: str | ColumnElement[str]) -> ColumnElement[bool]:
    return and_(budget_state.c.scope == scope, budget_state.c.scope_id == scope_id, budget_state.c.sub == "")


def _armed(spelling: str | None, calendar: Calendar, now: datetime) -> Window | None:
    return None if spelling is None else calendar.window(spelling, now, now)


def _columns(window: Window | None, now: datetime) -> dict[str, Any]:
    if window is None:
        return {"armed_at": None, "window_start": None, "reset_at": None, "parked_at": None}
    return {"armed_at": now, "window_start": window.start, "reset_at": window.end, "parked_at": None}

"""Accounts: opening one, arming another window.

Charges wait unfolded beside the stored state, so each change here sets the state such that both together give the
number that is meant.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cache
from types import SimpleNamespace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    case,
    false,
    literal_column,
    null,
    update,
)

from app.db import insertion_on
from app.domain.limits import Account
from app.domain.rollover import Terms
from app.domain.scopes import Scope
from app.domain.windows import Calendar
from app.models import budget_state
from app.services.accounts import account_rows, late_charges, spends
from app.services.accounts.account_windows import KEPT, NOTHING_KEPT, UNPARKED, columns

_NOTHING_ROLLED: Mapping[str, None] = {"rolled_by": None}


def open_account(
    transaction: Connection, scope: Scope, spelling: str | None, calendar: Calendar, now: datetime
) -> Account:
    """Start the account of a new scope, its window armed where it has one."""
    account = armed_account(scope, spelling, calendar, now)
    open_accounts(transaction, [account])
    return account


def armed_account(scope: Scope, spelling: str | None, calendar: Calendar, now: datetime) -> Account:
    """The account as it is when its window, if it has one, is armed now."""
    return Account(scope) if spelling is None else Account(scope, calendar.window(spelling, now, now), now)


def open_accounts(transaction: Connection, accounts: Iterable[Account], *, at_zero: bool = False) -> None:
    """Start accounts in one statement; one that is there already is armed anew.

    A team or a user may have been charged before it had a row: without a window that stays, unless all start
    `at_zero`, but an armed window always starts at zero.
    """
    rows = [
        {**account_rows.names(account.scope), **columns(account.window, account.armed_at)}
        for account in sorted(accounts, key=account_rows.order)
    ]
    if not rows:
        return
    transaction.execute(_opening(transaction.dialect.name, at_zero=at_zero), rows)


@cache
def _opening(store: str, *, at_zero: bool) -> Any:
    """Drawn once for each store, as every new key needs it."""
    statement = insertion_on(store, budget_state)
    new = statement.excluded
    keeps = false() if at_zero else new.window_start.is_(None)
    waiting = spends.unfolded(_STANDING, _proposed("window_start"), _proposed("reset_at"))
    return statement.on_conflict_do_update(
        index_elements=["scope", "scope_id", "sub"],
        set_={
            "armed_at": new.armed_at,
            "window_start": new.window_start,
            "reset_at": new.reset_at,
            "windowless": new.windowless,
            **UNPARKED,
            **_NOTHING_ROLLED,
            "window_spend_nanos": case((keeps, budget_state.c.window_spend_nanos), else_=-waiting),
            "carried_nanos": case((keeps, budget_state.c.carried_nanos), else_=null()),
            **NOTHING_KEPT,
        },
    )


def replace_further(
    transaction: Connection,
    before: Mapping[Scope, Terms],
    after: Mapping[Scope, Terms],
    calendar: Calendar,
    now: datetime,
) -> None:
    """Follow a change of budgets for models and for further windows, whoever has them; terms by scope.

    One that is new, or runs by another spelling, starts at zero. The account of one that is gone stays, as do its
    charges: some may wait yet, and if it comes again its lifetime goes on. Set aside for its spelling, it is so no
    longer.
    """
    fresh = [
        scope for scope, terms in after.items() if scope not in before or before[scope].spelling != terms.spelling
    ]
    # Armed without a window too: what the account was before is another one, in Redis as well.
    restarted = [
        replace(armed_account(scope, after[scope].spelling, calendar, now), armed_at=now) for scope in fresh
    ]
    gone = before.keys() - after.keys()
    # In one order for everybody: a rollup may hold some of them already.
    if gone:
        account_rows.lock(transaction, account_rows.among(transaction, {*gone, *fresh}))
    open_accounts(transaction, restarted, at_zero=True)
    if gone:
        transaction.execute(
            update(budget_state)
            .where(account_rows.among(transaction, gone), budget_state.c.parked_at.is_not(None))
            .values(UNPARKED)
        )


def rearm(
    transaction: Connection,
    which: ColumnElement[bool],
    *,
    before: str | None,
    after: str | None,
    calendar: Calendar,
    now: datetime,
    carry_spend: bool = False,
) -> None:
    """Give the accounts that `which` chooses, and that run by one spelling, another window; two statements,
    and two more at the most where they roll over.

    A window armed where there was none starts at zero, unless it is to `carry_spend`: what was spent so far. One
    that replaces another takes its spend along, and without a window the spend so far stays. One that has passed
    unmoved is kept as the window before. The same spelling again changes nothing, so nothing drifts.
    """
    if before == after:
        return
    # In a statement of its own: one that had to wait would see the charges of before beside the state of after.
    account_rows.lock(transaction, which)
    if calendar.rolls(before):
        late_charges.store(transaction, which, calendar)
    window = None if after is None else calendar.window(after, now, now)
    armed = columns(window, now)
    spent = budget_state.c.window_spend_nanos + spends.unfolded(
        budget_state, budget_state.c.window_start, budget_state.c.reset_at
    )
    # What cannot be computed has not passed.
    over = false() if calendar.running(before, now, now) is None else budget_state.c.reset_at <= now
    if before is not None:
        kept: ColumnElement[Any] = case((over, 0), else_=spent)
    else:
        kept = spent if carry_spend else spends.ZERO
    everything = budget_state.c.lifetime_spend_nanos + spends.unfolded(budget_state, None, None)
    transaction.execute(
        update(budget_state)
        .where(which)
        .values(
            **armed,
            **UNPARKED,
            **_NOTHING_ROLLED,
            window_spend_nanos=kept - spends.unfolded(budget_state, armed["window_start"], armed["reset_at"]),
            # What a part of the ledger would sum up to is not read for this: a check starts with the next window.
            carried_nanos=kept - everything if after is None else None,
            **{name: case((over, stored), else_=budget_state.c[name]) for name, stored in KEPT.items()},
        )
    )


def shift_window(transaction: Connection, scope: Scope, nanos: int) -> None:
    """Add to what an account has spent in its stored window, and to nothing else: neither lifetime nor ledger.

    What the window holds beyond the ledger's rows moves along, so that a check still finds it right.
    """
    transaction.execute(
        update(budget_state)
        .where(account_rows.among(transaction, [scope]))
        .values(
            window_spend_nanos=budget_state.c.window_spend_nanos + nanos,
            carried_nanos=budget_state.c.carried_nanos + nanos,
        )
    )


# So ON CONFLICT names the row that stands and the one proposed; as tables of a subquery they would be all rows.
_STANDING = SimpleNamespace(
    c=SimpleNamespace(**{name: literal_column(f"budget_state.{name}") for name in ("scope", "scope_id", "sub")})
)


def _proposed(name: str) -> ColumnElement[Any]:
    return literal_column(f"excluded.{name}", budget_state.c[name].type)

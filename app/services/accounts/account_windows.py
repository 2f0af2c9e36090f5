"""The window that an account stores: its columns, and moving it to the present one.

A window that nobody can compute any more has no end, from the next charge on in the store as well: until a change
of the budget it counts on.

Whoever moves a window keeps the one just before it, `previous_*`, with what was folded of it: a charge of it that
is folded later is added there as well. So it crosses that window's thresholds, and what the window has spent
beyond its cap can be carried on with late charges in it. Where several have passed at once, the one just before
held nothing when it was left, and none is kept: whoever needs it computes when it was. What is older than that one
counts in the lifetime alone, whether the windows were moved one by one or at once. Accounts that carry on what
they spend beyond their cap are moved by `app.services.accounts.rollover`, which keeps more of them.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    and_,
    bindparam,
    case,
    null,
    or_,
    true,
    update,
)

from app.db import insertion
from app.domain.limits import Account
from app.domain.scopes import OF_KEYS
from app.domain.windows import Window
from app.models import budget_state
from app.services.accounts import account_rows, spends

# Where the window before is kept, and of what.
KEPT: Mapping[str, ColumnElement[Any]] = {
    "previous_start": budget_state.c.window_start,
    "previous_end": budget_state.c.reset_at,
    "previous_spend_nanos": budget_state.c.window_spend_nanos,
}
NOTHING_KEPT: Mapping[str, Any] = {"previous_start": null(), "previous_end": null(), "previous_spend_nanos": 0}
# Whoever arms or moves a window has computed it.
UNPARKED: Mapping[str, None] = {"parked_at": None, "parked_reason": None}


def columns(window: Window | None, armed_at: datetime | None) -> dict[str, Any]:
    """Those of an account that was armed then, in this window."""
    start, end = (None, None) if window is None else (window.start, window.end)
    # Without this mark, which only whoever arms knows to set, it would be due for ever: nothing computes its end.
    windowless = armed_at is not None and window is None
    return {"armed_at": armed_at, "window_start": start, "reset_at": end, "windowless": windowless}


def move_windows(transaction: Connection, accounts: Iterable[Account]) -> None:
    """Move each stored window that ended before the account's to that one, at zero: the only zeroing there is.

    That of an account in no window, for nothing can be computed, loses its end: no charge lies beyond it.
    A compare-and-set on the start of the window and on its arming: an account that was armed anew since is left
    alone. Moving twice, late or side by side leaves the same state. Nothing is locked where nothing moves.
    """
    ordered = sorted(accounts, key=account_rows.order)
    windowed = [account for account in ordered if account.window is not None]
    endless = [account for account in ordered if account.window is None and account.armed_at is not None]
    by_use = [account for account in ordered if account.scope.sub]
    if by_use:
        opened = insertion(transaction, budget_state).on_conflict_do_nothing()
        transaction.execute(opened, [_opened_by_use(account) for account in by_use])
    if endless:
        transaction.execute(_LEAVE_OPEN, [_moved(account) for account in endless])
    if windowed:
        transaction.execute(
            _MOVE,
            [
                {**_moved(account), "start": account.window.start, "end": account.window.end}
                for account in windowed
                if account.window is not None
            ],
        )


def passed(start: Any, stays: ColumnElement[bool]) -> dict[str, ColumnElement[Any]]:
    """The columns that keep the stored window, for whoever moves it to one that begins at `start`.

    Where the stored one `stays`, so does the window before.
    """
    adjoins = budget_state.c.reset_at == start
    return {
        name: case((stays, budget_state.c[name]), (adjoins, stored), else_=NOTHING_KEPT[name])
        for name, stored in KEPT.items()
    }


def closed() -> dict[str, ColumnElement[Any]]:
    """The columns of a window that has passed and that nothing follows, for lack of a spelling or of an owner.

    Everybody reads the account as before: the window was one without an end, and without a window whatever waits
    counts. It is kept as the window before.
    """
    without = budget_state.c.window_start.is_(None)
    spent = budget_state.c.window_spend_nanos - case(
        (without, 0), else_=spends.unfolded(budget_state, None, budget_state.c.window_start)
    )
    return {
        "window_start": null(),
        "reset_at": null(),
        "windowless": true(),
        "rolled_by": null(),
        "window_spend_nanos": spent,
        # What the ledger sums up to from now on is all of it.
        "carried_nanos": case(
            (without, budget_state.c.carried_nanos), else_=spent - budget_state.c.lifetime_spend_nanos
        ),
        **{name: case((without, budget_state.c[name]), else_=stored) for name, stored in KEPT.items()},
    }


def _opened_by_use(account: Account) -> dict[str, Any]:
    # Those of keys alone were surely never closed: of the others the ledger may hold what is no longer theirs.
    carried = 0 if account.scope.kind in OF_KEYS else None
    return {
        **account_rows.names(account.scope),
        **columns(account.window, account.armed_at),
        "carried_nanos": carried,
    }


def _moved(account: Account) -> dict[str, Any]:
    names = {f"moved_{name}": value for name, value in account_rows.names(account.scope).items()}
    return {**names, "moved_armed_at": account.armed_at}


_OF_MOVED = (
    budget_state.c.scope == bindparam("moved_scope"),
    budget_state.c.scope_id == bindparam("moved_scope_id"),
    budget_state.c.sub == bindparam("moved_sub"),
    budget_state.c.armed_at == bindparam("moved_armed_at", type_=budget_state.c.armed_at.type),
)
_START = bindparam("start", type_=budget_state.c.window_start.type)
_END = bindparam("end", type_=budget_state.c.reset_at.type)
# The same window, with a later end by another calendar.
_STAYS = budget_state.c.window_start == _START
_MOVE: Update = (
    update(budget_state)
    .where(
        *_OF_MOVED,
        or_(
            budget_state.c.window_start.is_(None),
            # One that has not ended when the account's begins is the same, of a process with another calendar.
            and_(
                budget_state.c.window_start < _START,
                or_(budget_state.c.reset_at.is_(None), budget_state.c.reset_at <= _START),
            ),
            and_(_STAYS, budget_state.c.reset_at < _END),
        ),
    )
    .values(
        window_start=_START,
        reset_at=_END,
        windowless=False,
        window_spend_nanos=case((_STAYS, budget_state.c.window_spend_nanos), else_=0),
        carried_nanos=case((_STAYS, budget_state.c.carried_nanos), else_=0),
        rolled_by=case((_STAYS, budget_state.c.rolled_by), else_=None),
        **UNPARKED,
        **passed(_START, _STAYS),
    )
)
_LEAVE_OPEN: Update = (
    update(budget_state)
    .where(*_OF_MOVED, budget_state.c.window_start.is_not(None), budget_state.c.reset_at.is_not(None))
    .values(reset_at=None)
)

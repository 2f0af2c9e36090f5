"""Accounts: opening one, moving its window to the present one, arming another window.

Charges wait unfolded beside the stored state, so each change here sets the state such that both together give the
number that is meant.

A window that nobody can compute any more has no end, from the next charge on in the store as well: until a change
of the budget it counts on.

Whoever moves a window keeps the one just before it, `previous_*`, with what was folded of it: a charge of it that
is folded later is added there as well. So it crosses that window's thresholds, and what the window has spent
beyond its cap can be carried on with late charges in it. Where several have passed at once, the one just before
held nothing when it was left, and none is kept: whoever needs it computes when it was. What is older than that one
counts in the lifetime alone, whether the windows were moved one by one or at once. Accounts that carry on what
they spend beyond their cap are moved by `app.services.rollover`, which keeps more of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    and_,
    bindparam,
    case,
    false,
    literal_column,
    null,
    or_,
    true,
    update,
)

from app.db import insertion
from app.domain.limits import Account
from app.domain.rollover import Terms
from app.domain.scopes import OF_KEYS, Scope
from app.domain.windows import Calendar, Window
from app.models import budget_state
from app.services import account_rows, late_charges, spends

# Where the window before is kept, and of what.
_KEPT: Mapping[str, ColumnElement[Any]] = {
    "previous_start": budget_state.c.window_start,
    "previous_end": budget_state.c.reset_at,
    "previous_spend_nanos": budget_state.c.window_spend_nanos,
}
_NOTHING_KEPT: Mapping[str, Any] = {"previous_start": null(), "previous_end": null(), "previous_spend_nanos": 0}
_NOTHING_ROLLED: Mapping[str, None] = {"rolled_by": None}
# Whoever arms or moves a window has computed it.
UNPARKED: Mapping[str, None] = {"parked_at": None, "parked_reason": None}


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
        {**account_rows.names(account.scope), **_columns(account.window, account.armed_at)}
        for account in sorted(accounts, key=account_rows.order)
    ]
    if not rows:
        return
    statement = insertion(transaction, budget_state)
    new = statement.excluded
    keeps = false() if at_zero else new.window_start.is_(None)
    waiting = spends.unfolded(_STANDING, _proposed("window_start"), _proposed("reset_at"))
    transaction.execute(
        statement.on_conflict_do_update(
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
                **_NOTHING_KEPT,
            },
        ),
        rows,
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
    armed = _columns(window, now)
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
            **{name: case((over, stored), else_=budget_state.c[name]) for name, stored in _KEPT.items()},
        )
    )


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
        name: case((stays, budget_state.c[name]), (adjoins, stored), else_=_NOTHING_KEPT[name])
        for name, stored in _KEPT.items()
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
        **{name: case((without, budget_state.c[name]), else_=stored) for name, stored in _KEPT.items()},
    }


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


def _opened_by_use(account: Account) -> dict[str, Any]:
    # Those of keys alone were surely never closed: of the others the ledger may hold what is no longer theirs.
    carried = 0 if account.scope.kind in OF_KEYS else None
    return {
        **account_rows.names(account.scope),
        **_columns(account.window, account.armed_at),
        "carried_nanos": carried,
    }


def _columns(window: Window | None, armed_at: datetime | None) -> dict[str, Any]:
    start, end = (None, None) if window is None else (window.start, window.end)
    # Without this mark, which only whoever arms knows to set, it would be due for ever: nothing computes its end.
    windowless = armed_at is not None and window is None
    return {"armed_at": armed_at, "window_start": start, "reset_at": end, "windowless": windowless}


# So ON CONFLICT names the row that stands and the one proposed; as tables of a subquery they would be all rows.
_STANDING = SimpleNamespace(
    c=SimpleNamespace(**{name: literal_column(f"budget_state.{name}") for name in ("scope", "scope_id", "sub")})
)


def _proposed(name: str) -> ColumnElement[Any]:
    return literal_column(f"excluded.{name}", budget_state.c[name].type)


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

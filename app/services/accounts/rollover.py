"""Moving windows that carry on what was spent beyond their cap, by the rule of `app.domain.rollover`.

Whoever moves one takes off its spend, as far as that is folded, what the caps of all windows since allow, and
begins the present one with the rest. Of the windows that have passed it keeps what a charge that comes late needs:
every reader counts such a charge while it waits, and the rollup writes down what it changes. So a move changes no
number that anybody sees, whoever makes it and whenever.

The cap is the one that is stored. So whoever changes it, or the window, moves what has passed by the old one
first.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    case,
    cast,
    delete,
    exists,
    false,
    insert,
    literal,
    or_,
    select,
    tuple_,
    type_coerce,
    update,
)

from app.db import Json
from app.domain.durations import InvalidDuration
from app.domain.further_budgets import OF_MODELS, OF_WINDOWS
from app.domain.limits import Account
from app.domain.reservations import SETTLED_WITHIN
from app.domain.rollover import Grid, Terms, allowance
from app.domain.scopes import Scope
from app.domain.windows import Calendar, Window, window_of
from app.models import budget_state, rolled_windows, watched
from app.services.accounts import account_rows, account_windows, spellings
from app.services.rows.rows import unfolded

# A charge may come so long after its call, and wait as long again to be folded.
KEPT = 2 * SETTLED_WITHIN

_PAGE = 500
_NONE: ColumnElement[bool] = false()
_NAMES = ("scope", "scope_id", "sub")
_TERMS = frozenset({"budget_duration", "max_budget_nanos", "budget_id", "model_max_budget", "budget_limits"})
_SPENT = budget_state.c.window_spend_nanos
STATE = tuple(budget_state.c[name] for name in (*_NAMES, "armed_at", "window_start", "reset_at", "rolled_by"))


@dataclass(frozen=True, slots=True)
class Roll:
    """From the stored window to a later one, so many windows on; `previous` is the one just before that.

    `known` where the windows before the stored one are kept already.
    """

    terms: Terms
    stored: datetime
    previous: Window
    window: Window
    windows: int
    known: bool


def roll_of(state: Any, terms: Terms, window: Window, calendar: Calendar) -> Roll | None:
    """How an account moves to a later window; None where that one begins at zero, or is no later."""
    stored, spelling = state.window_start, terms.spelling
    if stored is None or stored >= window.start or spelling is None or not terms.roll(calendar):
        return None
    if state.reset_at is not None and state.reset_at > window.start:
        return None
    windows = Grid(calendar, spelling, state.armed_at).passed(stored, window.start)
    previous = calendar.window(spelling, state.armed_at, window.start - timedelta(microseconds=1))
    return Roll(
        terms,
        stored,
        Window(stored if windows == 1 else max(stored, previous.start), window.start),
        window,
        windows,
        state.rolled_by == spelling,
    )


def move(transaction: Connection, rolls: Mapping[Scope, Roll], now: datetime) -> None:
    """Move accounts that the caller holds; two statements for each window, whatever the caps, two for all of them.

    What stands crossed by what a window begins with is told by whoever looks at the accounts that are watched.
    """
    if not rolls:
        return
    _drop(transaction, list(rolls), [scope for scope, roll in rolls.items() if not roll.known], now)
    alike: dict[Roll, dict[Scope, int]] = defaultdict(dict)
    for scope, roll in rolls.items():
        alike[replace(roll, terms=Terms(roll.terms.spelling), known=True)][scope] = roll.terms.cap_nanos or 0
    for roll, caps in alike.items():
        capped = _capped(transaction, caps, roll.windows)
        transaction.execute(_keep(capped))
        transaction.execute(
            update(budget_state).where(account_rows.same(capped, budget_state)).values(_moved(roll, capped))
        )
    opened_spent = and_(account_rows.among(transaction, rolls), budget_state.c.sub == "", _SPENT > 0)
    found = select(budget_state.c.scope, budget_state.c.scope_id).where(opened_spent)
    transaction.execute(insert(watched).from_select(["scope", "scope_id"], found))


def move_present(transaction: Connection, present: Iterable[Account], calendar: Calendar, now: datetime) -> None:
    """Move those that roll over to the windows that they are given in; what was armed anew since is left alone.

    One statement where none has to move, and none where none rolls over.
    """
    present = list(present)
    latest: dict[Scope, Account] = {}
    for account in present:
        if account.terms is not None and account.window is not None:
            other = latest.get(account.scope)
            if other is None or other.window is None or other.window.start < account.window.start:
                latest[account.scope] = account
    if not latest or not _rolls(transaction, latest, calendar):
        return
    # All of them in one order for everybody: the others may move as well.
    account_rows.lock(transaction, account_rows.among(transaction, [each.scope for each in present]))
    move(transaction, _rolls(transaction, latest, calendar), now)


def concerns(columns: Iterable[str], spelling: str | None, calendar: Calendar) -> bool:
    """Whether a change of these columns of a budget holder may change how a window of it rolls over.

    `spelling` is that of its window so far. What its models and its further windows do is for the installation to
    say.
    """
    return not _TERMS.isdisjoint(columns) and (calendar.rollover or calendar.rolls(spelling))


def of_holders(holders: Iterable[Scope]) -> ColumnElement[bool]:
    """Every account of holders of one kind: their own, and those of their models and further windows."""
    kinds, ids = set(), set()
    for holder in holders:
        kinds |= {holder.kind, OF_MODELS.get(holder.kind, holder.kind), OF_WINDOWS.get(holder.kind, holder.kind)}
        ids.add(holder.id)
    return and_(budget_state.c.scope.in_(sorted(kinds)), budget_state.c.scope_id.in_(sorted(ids)))


def move_passed(
    transaction: Connection,
    which: ColumnElement[bool],
    calendar: Calendar,
    now: datetime,
    *,
    beside: ColumnElement[bool] = _NONE,
) -> None:
    """Move what has passed of these accounts, by the spellings and caps that are stored as yet.

    One statement where nothing has passed; else a few for every 500. What does not roll over begins at zero: it is
    not to carry on by a cap that it gets only now. Where anything moves, those `beside` these, which the caller
    changes after it, are held with them.
    """
    due = and_(which, budget_state.c.reset_at <= now, budget_state.c.armed_at.is_not(None))
    if not transaction.execute(select(exists().where(due))).scalar():
        return
    account_rows.lock(transaction, or_(which, beside))
    place = tuple(budget_state.c[name] for name in _NAMES)
    page = select(*STATE).where(due).order_by(*place).limit(_PAGE)
    rows = transaction.execute(page).all()
    while rows:
        states = {account_rows.scope_of(row): row for row in rows}
        rolls: dict[Scope, Roll] = {}
        others: list[Account] = []
        for scope, terms in spellings.load(transaction, states).items():
            state = states.get(scope)
            window = None if state is None else _running(state, terms, calendar, now)
            if state is None or window is None:
                continue
            roll = roll_of(state, terms, window, calendar)
            if roll is None:
                others.append(Account(scope, window, state.armed_at))
            else:
                rolls[scope] = roll
        account_windows.move_windows(transaction, others)
        move(transaction, rolls, now)
        last = rows[-1]
        rows = transaction.execute(page.where(tuple_(*place) > (last.scope, last.scope_id, last.sub))).all()


def _running(state: Any, terms: Terms, calendar: Calendar, now: datetime) -> Window | None:
    stored = window_of(state.window_start, state.reset_at)
    return calendar.running(terms.spelling, state.armed_at, now, stored)


def _rolls(transaction: Connection, latest: Mapping[Scope, Account], calendar: Calendar) -> dict[Scope, Roll]:
    found: dict[Scope, Roll] = {}
    for row in transaction.execute(select(*STATE).where(account_rows.among(transaction, latest))):
        account = latest[account_rows.scope_of(row)]
        if account.terms is None or account.window is None or row.armed_at != account.armed_at:
            continue
        try:
            roll = roll_of(row, account.terms, account.window, calendar)
        except InvalidDuration:
            continue
        if roll is not None:
            found[account.scope] = roll
    return found


def _capped(transaction: Connection, caps: Mapping[Scope, int], windows: int) -> CTE:
    """Accounts as rows, with their caps and with what so many windows take off, and one fewer.

    They are one parameter: a statement takes so many at the most, and a cap may be as many as there are accounts.
    """
    listed = [
        [scope.kind.value, scope.id, scope.sub, cap, allowance(cap, windows), allowance(cap, windows - 1)]
        for scope, cap in caps.items()
    ]
    entry = unfolded(transaction, literal(listed, Json)).c.value
    on_sqlite = transaction.dialect.name == "sqlite"
    values = type_coerce(entry, Json) if on_sqlite else cast(entry, Json)
    amounts = ("cap_nanos", "allowed_nanos", "allowed_before_nanos")
    return select(
        *(values[place].as_string().label(name) for place, name in enumerate(_NAMES)),
        *(
            cast(values[place].as_string(), BigInteger).label(name)
            for place, name in enumerate(amounts, start=len(_NAMES))
        ),
    ).cte("capped")


def _keep(capped: CTE) -> Any:
    """Write down the stored window, unless it says nothing: then it is one of those after the last one kept."""
    cap = capped.c.cap_nanos
    last = (
        select(rolled_windows.c.cap_nanos)
        .where(account_rows.same(rolled_windows, budget_state))
        .order_by(rolled_windows.c.window_start.desc())
        .limit(1)
        .correlate(budget_state)
        .scalar_subquery()
    )
    place = [budget_state.c[name] for name in _NAMES]
    told = select(*place, budget_state.c.window_start, _SPENT, cap).where(
        account_rows.same(capped, budget_state), or_(_SPENT != 0, last.is_distinct_from(cap))
    )
    return insert(rolled_windows).from_select([*_NAMES, "window_start", "used_nanos", "cap_nanos"], told)


def _moved(roll: Roll, capped: CTE) -> dict[str, Any]:
    opened = _opening(capped.c.allowed_nanos, roll.windows)
    return {
        "window_start": roll.window.start,
        "reset_at": roll.window.end,
        "windowless": False,
        "window_spend_nanos": opened,
        "carried_nanos": opened,
        "rolled_by": roll.terms.spelling,
        "previous_start": roll.previous.start,
        "previous_end": roll.previous.end,
        "previous_spend_nanos": _opening(capped.c.allowed_before_nanos, roll.windows - 1),
        **account_windows.UNPARKED,
    }


def _opening(allowed: ColumnElement[Any], windows: int) -> ColumnElement[Any]:
    """As `app.domain.rollover.opening`, of the stored spend."""
    if windows == 0:
        return _SPENT
    return case((allowed < _SPENT, _SPENT - allowed), else_=0)


def _drop(transaction: Connection, scopes: Sequence[Scope], unknown: Sequence[Scope], now: datetime) -> None:
    """Let go of what no charge can come to any more, and of all that is left from before the account was armed."""
    later = rolled_windows.alias("later")
    followed = exists().where(
        account_rows.same(later, rolled_windows),
        later.c.window_start > rolled_windows.c.window_start,
        later.c.window_start <= now - KEPT,
    )
    left = or_(followed, account_rows.among(transaction, unknown, rolled_windows))
    those = account_rows.among(transaction, scopes, rolled_windows)
    transaction.execute(delete(rolled_windows).where(those, left))

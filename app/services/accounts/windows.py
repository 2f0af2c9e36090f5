"""Moving budget windows that have passed: bookkeeping only, for every reader computes the window by the clock.

What is due is found in the accounts alone, by an index that holds nothing else: those whose window has an end that
has passed, and those without an end. Of the latter an account that is meant to have no window is none, and says so
(`windowless`): to look at what it belongs to instead would be to look at every such account in every run. Whoever
arms an account sets that mark. Where it is missing, or what an account belongs to has lost its window or is gone,
the job finds no spelling and closes the window. So whatever is due is moved, set aside or closed, and is due no
longer.
"""

import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, case, func, select, tuple_, union_all, update

from app.clock import Clock, iso
from app.db import Database
from app.domain.durations import InvalidDuration
from app.domain.rollover import Terms
from app.domain.scopes import Scope
from app.domain.values import InvalidValue
from app.domain.windows import Calendar, Window, follow, window_of
from app.errors import StoreUnavailable
from app.models import budget_state
from app.services.accounts import account_rows, account_windows, late_charges, rollover, spellings
from app.services.accounts.rollover import Roll, roll_of
from app.services.audit import audit
from app.services.audit.audit import SYSTEM, Act, Changed
from app.services.decisions.rebasing import Rebasing
from app.services.events import delivery
from app.services.events.delivery import Event
from app.services.jobs.job_batches import TOLD, JobBatch, Parked, ParkedRow

# By the store: SQLite has one place to write at, and others wait for it.
RESET_BATCH = {"sqlite": 500, "postgresql": 5_000}
# So many of those set aside are looked at again by each batch.
LOOKED_AT_AGAIN = 100
# In characters, of what is stored and cannot be read; a spelling that is one is shorter.
LONGEST_TOLD = 80


# Where one of those set aside stands among them.
Place = tuple[datetime, str, str, str]
_PLACE = tuple(budget_state.c[name] for name in ("parked_at", "scope", "scope_id", "sub"))
_ASIDE = (budget_state.c.parked_at, budget_state.c.parked_reason)

_log = structlog.get_logger(__name__)


class Windows:
    def __init__(self, database: Database, clock: Clock, calendar: Calendar, rebasing: Rebasing) -> None:
        self._database = database
        self._clock = clock
        self._calendar = calendar
        self._rebasing = rebasing
        self._looked_at: Place | None = None

    def move_due(self) -> JobBatch:
        """Move a batch of windows that have passed, or were never computed, into the present one.

        The spend of a passed window becomes zero, or what rolls over, exactly once: it is kept where the window's
        start is the present one already, as every reader has it. Run twice, late, killed half-way or side by
        side, it leaves the same state. A window whose spelling cannot be computed, or whose entry cannot be read,
        is parked and does not keep the others; one that has no spelling any more is closed. Where nothing more is
        due, some of those parked are looked at again, all of them in turn.

        One statement finds them, one for each kind of scope reads the spellings, one for each window moves all
        accounts that come into it; where they roll over, two for each window, and two more. Accounts that somebody
        holds are left to the next run, so it waits for nobody, in whatever order it finds them.
        """
        now = self._clock.now()
        with self._database.transaction() as transaction:
            most = RESET_BATCH[transaction.dialect.name]
            found = transaction.execute(due_at(transaction, now, most, self._looked_at)).all()
            due = {account_rows.scope_of(row): row for row in found if row.parked_at is None}
            # They take no turn from what is due.
            aside = [row for row in found if row.parked_at is not None] if len(due) < most else []
            if not due and not aside:
                self._looked_at = None
                return JobBatch(0)
            again = {account_rows.scope_of(row): row for row in aside}
            terms = spellings.load_readable(transaction, [*due, *again])
            cured = self._look_again(transaction, again, self._sorted(again, *terms, now))
            outcomes = self._sorted(due, *terms, now)
            for window, scopes in outcomes.moves.items():
                _move(transaction, window, [due[scope].place for scope in scopes])
            rollover.move(transaction, outcomes.rolls, now)
            for reason, scopes in outcomes.parked.items():
                places = [due[scope].place for scope in scopes]
                _set(transaction, places, parked_at=now, parked_reason=reason, reset_at=None)
            if outcomes.closed:
                rolled = [scope for scope in outcomes.closed if due[scope].rolled_by is not None]
                if rolled:
                    late_charges.store(transaction, account_rows.among(transaction, rolled), self._calendar)
                _set(transaction, [due[scope].place for scope in outcomes.closed], **account_windows.closed())
            opened = outcomes.opened()
            _tell(transaction, opened, now)
        if len(due) < most:
            # After the last of all of them it begins anew.
            self._looked_at = _place(aside[-1]) if len(aside) == LOOKED_AT_AGAIN else None
        self._rebase(list(outcomes.rolls))
        return JobBatch(
            sum(map(len, opened.values())) + len(outcomes.closed),
            parked=sum(map(len, outcomes.parked.values())),
            more=len(due) == most or cured > 0,
        )

    def _look_again(self, transaction: Connection, aside: Mapping[Scope, Any], outcomes: "_Outcomes") -> int:
        """Make those due that can be computed by now, and say why the others cannot where that is new."""
        kept = {scope for scopes in outcomes.parked.values() for scope in scopes}
        cured = _change_aside(transaction, aside.keys() - kept, **account_windows.UNPARKED)
        for reason, scopes in outcomes.parked.items():
            other = [scope for scope in scopes if aside[scope].parked_reason != reason]
            _change_aside(transaction, other, parked_reason=reason)
        return cured

    def parked(self) -> Parked:
        """How much is set aside at present, and what has been for the longest; one statement."""
        aside = budget_state.c.parked_at.is_not(None)
        names = (budget_state.c.scope, budget_state.c.scope_id, budget_state.c.sub)
        with self._database.read() as connection:
            found = connection.execute(
                select(
                    *names,
                    budget_state.c.parked_at,
                    budget_state.c.parked_reason,
                    select(func.count()).select_from(budget_state).where(aside).scalar_subquery().label("rows"),
                )
                .where(aside)
                .order_by(budget_state.c.parked_at, *names)
                .limit(TOLD)
            ).all()
        told = [ParkedRow(row.scope, row.scope_id, row.sub, row.parked_reason, row.parked_at) for row in found]
        return Parked(found[0].rows if found else 0, tuple(told))

    def _rebase(self, scopes: Sequence[Scope]) -> None:
        """Let a charge count at once that came between the first call of a window and the move into it."""
        try:
            self._rebasing.present(scopes)
        except StoreUnavailable:
            # The next charge that is folded does it.
            _log.warning("windows_not_rebased", accounts=len(scopes))

    def _sorted(
        self,
        due: Mapping[Scope, Any],
        spelled: Mapping[Scope, Terms],
        faults: Mapping[Scope, InvalidValue],
        now: datetime,
    ) -> "_Outcomes":
        """What is to become of each; accounts with one spelling share their window, so groups are few."""
        outcomes = _Outcomes()
        for scope, state in due.items():
            if scope in faults:
                outcomes.parked[str(faults[scope])[:LONGEST_TOLD]].append(scope)
                continue
            terms = spelled.get(scope)
            if terms is None or terms.spelling is None:
                outcomes.closed.append(scope)
                continue
            try:
                present = self._calendar.window(terms.spelling, state.armed_at, now)
                window = follow(window_of(state.window_start, state.reset_at), present, now)
                roll = roll_of(state, terms, window, self._calendar)
            except InvalidDuration as error:
                outcomes.parked[f"'{terms.spelling[:LONGEST_TOLD]}': {error}"].append(scope)
                continue
            if roll is None:
                outcomes.moves[window].append(scope)
            else:
                outcomes.rolls[scope] = roll
        return outcomes


@dataclass(frozen=True, slots=True)
class _Outcomes:
    """The accounts by the window they belong in, how those come there that roll over, the accounts by the reason
    for which they are set aside, and the rest.
    """

    moves: dict[Window, list[Scope]] = field(default_factory=lambda: defaultdict(list))
    rolls: dict[Scope, Roll] = field(default_factory=dict)
    parked: dict[str, list[Scope]] = field(default_factory=lambda: defaultdict(list))
    closed: list[Scope] = field(default_factory=list)

    def opened(self) -> dict[Window, list[Scope]]:
        """All that begin a window, by that."""
        windows = {window: list(scopes) for window, scopes in self.moves.items()}
        for scope, roll in self.rolls.items():
            windows.setdefault(roll.window, []).append(scope)
        return windows


def due_at(connection: Connection, now: datetime, most: int, looked_at: Place | None = None) -> Any:
    """What is due: what has passed, the longest ago first, then what has no end, `most` of them together; then
    LOOKED_AT_AGAIN of those set aside, which nobody holds, after the one that was looked at last.

    Each is a stretch of an index. Asked for at once they would be none, and every batch would sort all of them.
    """
    end, kind = budget_state.c.reset_at, budget_state.c.scope
    of_index = (
        budget_state.c.armed_at.is_not(None),
        budget_state.c.parked_at.is_(None),
        ~budget_state.c.windowless,
    )
    # A later release may have more of them. By the bare column a planner would take the index of the lists, that
    # of all accounts without an end. Of what has passed SQLite alone would; PostgreSQL tells by it how many have.
    kinds = [kind.value for kind in spellings.READERS]
    hidden = kind.concat("").in_(kinds)
    passed = (end <= now, hidden if connection.dialect.name == "sqlite" else kind.in_(kinds))
    endless = (end.is_(None), hidden)
    columns = (*rollover.STATE, *_ASIDE, account_rows.place(connection).label("place"))
    found = (
        select(*columns)
        .where(*of_index, *conditions)
        .order_by(end)
        .limit(most)
        .with_for_update(skip_locked=True)
        .cte(name)
        for name, conditions in (("passed", passed), ("endless", endless))
    )
    due = union_all(*map(select, found)).limit(most).subquery()
    aside = select(*columns).where(
        budget_state.c.parked_at.is_not(None), budget_state.c.armed_at.is_not(None), hidden
    )
    if looked_at is not None:
        aside = aside.where(tuple_(*_PLACE) > looked_at)
    return union_all(select(due), select(aside.order_by(*_PLACE).limit(LOOKED_AT_AGAIN).subquery()))


def _place(row: Any) -> Place:
    return row.parked_at, row.scope, row.scope_id, row.sub


def _change_aside(transaction: Connection, scopes: Collection[Scope], **columns: Any) -> int:
    """Change those of these accounts that are set aside yet; one that somebody holds is left to another look."""
    if not scopes:
        return 0
    held = (
        select(account_rows.place(transaction))
        .where(account_rows.among(transaction, scopes), budget_state.c.parked_at.is_not(None))
        .with_for_update(skip_locked=True)
    )
    places = transaction.execute(held).scalars().all()
    _set(transaction, places, **columns)
    return len(places)


def _move(transaction: Connection, window: Window, places: Sequence[Any]) -> None:
    """Open the window for all of its accounts in one statement, so that none of them is due any longer.

    They are held: nobody has moved one since it was found due. What was spent in one that has no end, and began in
    this window, stays.
    """
    inside = budget_state.c.window_start >= window.start
    _set(
        transaction,
        places,
        window_start=case((inside, budget_state.c.window_start), else_=window.start),
        reset_at=window.end,
        window_spend_nanos=case((inside, budget_state.c.window_spend_nanos), else_=0),
        carried_nanos=case((inside, budget_state.c.carried_nanos), else_=0),
        rolled_by=case((inside, budget_state.c.rolled_by), else_=None),
        **account_windows.passed(window.start, inside),
    )


def _set(transaction: Connection, places: Sequence[Any], **columns: Any) -> None:
    transaction.execute(update(budget_state).where(account_rows.at(transaction, places)).values(columns))


def _tell(transaction: Connection, moves: Mapping[Window, Sequence[Scope]], now: datetime) -> None:
    """One audit row and one event for the batch: a million keys at midnight are no million messages."""
    if not moves:
        return
    batch = str(uuid.uuid4())
    summary = {
        "scopes": _counted(scope for scopes in moves.values() for scope in scopes),
        "windows": [
            {"start": iso(window.start), "end": iso(window.end), "scopes": _counted(scopes)}
            for window, scopes in moves.items()
        ],
    }
    audit.record(transaction, Act(SYSTEM, now), "reset", "budget", [Changed(batch, None, summary)])
    delivery.enqueue(transaction, [Event("budget_reset", "budget", batch, summary)], now)


def _counted(scopes: Iterable[Scope]) -> dict[str, int]:
    """How many there are of each kind."""
    return dict(sorted(Counter(scope.kind.value for scope in scopes).items()))

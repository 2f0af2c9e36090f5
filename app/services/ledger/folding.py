"""The rollup: adding what waits unfolded to the accounts and to the daily sums, each row of the ledger once.

Owning a row is deleting what waits of it: there is no watermark that a late commit could fall behind. Until it is
folded every reader counts it from where it waits, so a rollup changes no number that anybody sees. The counters in
Redis are healed first: while a row waits, whoever starts again does that again.

The accounts are held meanwhile, so what each had spent before and has spent after is exact: a threshold in between
is told in the same transaction. A charge that is folded after its window has passed counts in that one's spend as
well, and crosses that one's thresholds; where that rolls over, what it adds to the windows since is written down.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, select, update

from app.clock import Clock
from app.db import Database, insertion
from app.domain.money import MAXIMUM_NANOS
from app.domain.scopes import KINDS, OF_KEYS, Scope, ScopeKind
from app.domain.thresholds import Crossing, crossings
from app.domain.windows import Calendar, Window, window_of
from app.models import budget_state, ledger, ledger_unfolded
from app.services.accounts import account_rows, capped, late_charges
from app.services.accounts.capped import Capped
from app.services.accounts.late_charges import Late
from app.services.decisions.rebasing import Rebasing
from app.services.jobs.job_batches import TOLD, JobBatch, Parked, ParkedRow
from app.services.ledger import daily
from app.services.thresholds import threshold_events

FOLD_BATCH = 1_000
# So much, in either direction, is no charge and no correction, and a few of them would not fit into a column.
BEYOND_NANOS = 100 * MAXIMUM_NANOS
UNKNOWN_SCOPE = "this release knows no such scope"
BEYOND_MONEY = "the amount is beyond all money"
# What a column takes.
_HIGHEST = 2**63 - 1

_FOLDABLE = and_(
    ledger_unfolded.c.scope.in_(sorted(KINDS)),
    ledger_unfolded.c.amount_nanos.between(-BEYOND_NANOS, BEYOND_NANOS),
)

# How much, and when it happened.
_Charge = tuple[int, datetime]


class Folding:
    """`alert_percentages` of a cap are told of where a key does not say at which."""

    def __init__(
        self,
        database: Database,
        rebasing: Rebasing,
        clock: Clock,
        calendar: Calendar,
        *,
        alert_percentages: Sequence[int],
    ) -> None:
        self._database = database
        self._rebasing = rebasing
        self._clock = clock
        self._calendar = calendar
        self._alert_percentages = alert_percentages

    def fold_due(self) -> JobBatch:
        """Fold up to FOLD_BATCH rows of the ledger; raises StoreUnavailable, having folded none of them.

        Run twice, late, killed half-way or side by side, it leaves the same state: a row is folded in the
        transaction that takes it out of those that wait.
        """
        now = self._clock.now()
        with self._database.read() as connection:
            found = connection.execute(select(ledger).where(ledger.c.ledger_id.in_(_waiting()))).mappings()
            rows = [dict(row) for row in found]
        if not rows:
            return JobBatch(0)
        self._rebasing.heal(rows, now)
        with self._database.transaction() as transaction:
            taken = _take(transaction, [row["ledger_id"] for row in rows])
            self._fold(transaction, taken, now)
            # Each charge has one row of its key, whatever else of it has waited for longer.
            mine = {row["ledger_id"] for row in taken if row["scope"] == ScopeKind.KEY}
            daily.add(transaction, [row for row in rows if row["ledger_id"] in mine and row["kind"] == "charge"])
        return JobBatch(len({row["ledger_id"] for row in taken}), more=len(rows) == FOLD_BATCH)

    def parked(self) -> Parked:
        """What waits and cannot be folded: nothing but another release, or a hand, can help it. One statement."""
        names = (ledger_unfolded.c.scope, ledger_unfolded.c.scope_id, ledger_unfolded.c.sub)
        with self._database.read() as connection:
            found = connection.execute(
                select(*names, ledger_unfolded.c.occurred_at, func.count().over().label("rows"))
                .where(~_FOLDABLE)
                .order_by(ledger_unfolded.c.occurred_at, *names)
                .limit(TOLD)
            ).all()
        told = [
            ParkedRow(
                row.scope,
                row.scope_id,
                row.sub,
                UNKNOWN_SCOPE if row.scope not in KINDS else BEYOND_MONEY,
                row.occurred_at,
            )
            for row in found
        ]
        return Parked(found[0].rows if found else 0, tuple(told))

    def _fold(self, transaction: Connection, waiting: Sequence[Mapping[str, Any]], now: datetime) -> None:
        """Add charges to their accounts, and tell of the thresholds that they cross."""
        charges = _by_account(waiting)
        if not charges:
            return
        # A charge that comes after its key is gone still counts in the accounts of its team and owner.
        _open(transaction, [scope for scope in charges if scope.kind not in OF_KEYS])
        states = _states(transaction, list(charges))
        caps = capped.load(transaction, states, self._alert_percentages, now)
        late = late_charges.load(transaction, states, charges, self._calendar)
        folds = [
            _Fold.of(state, charges[scope], caps.get(scope), late.get(scope), self._calendar)
            for scope, state in states.items()
        ]
        if folds:
            transaction.execute(_ADD, [fold.columns() for fold in folds])
        late_charges.keep(transaction, late)
        threshold_events.enqueue(transaction, (found for fold in folds for found in fold.crossings(now)), now)


def _waiting() -> Any:
    waiting = select(ledger_unfolded.c.ledger_id).where(_FOLDABLE)
    return waiting.group_by(ledger_unfolded.c.ledger_id).limit(FOLD_BATCH)


def _take(transaction: Connection, ledger_ids: Sequence[int]) -> list[Mapping[str, Any]]:
    """Whatever waits of these rows and nobody else is taking, in the order of the ledger."""
    mine = transaction.execute(
        select(ledger.c.ledger_id).where(ledger.c.ledger_id.in_(ledger_ids)).with_for_update(skip_locked=True)
    ).scalars()
    taken = transaction.execute(
        delete(ledger_unfolded)
        .where(ledger_unfolded.c.ledger_id.in_(mine.all()), _FOLDABLE)
        .returning(ledger_unfolded)
    )
    return sorted((dict(row) for row in taken.mappings()), key=itemgetter("ledger_id"))


def _by_account(waiting: Sequence[Mapping[str, Any]]) -> dict[Scope, list[_Charge]]:
    charges: dict[Scope, list[_Charge]] = defaultdict(list)
    for row in waiting:
        scope = Scope(ScopeKind(row["scope"]), row["scope_id"], row["sub"])
        charges[scope].append((row["amount_nanos"], row["occurred_at"]))
    return {
        scope: charges[scope]
        for scope in sorted(charges, key=lambda scope: tuple(account_rows.names(scope).values()))
    }


def _open(transaction: Connection, scopes: Sequence[Scope]) -> None:
    if scopes:
        opened = insertion(transaction, budget_state).on_conflict_do_nothing()
        transaction.execute(opened, [account_rows.names(scope) for scope in scopes])


def _states(transaction: Connection, scopes: Sequence[Scope]) -> dict[Scope, Mapping[str, Any]]:
    """The accounts that there are, held as they are until the transaction ends."""
    rows = transaction.execute(
        select(budget_state)
        .where(account_rows.among(transaction, scopes))
        .order_by(*account_rows.in_order(transaction))
        .with_for_update()
    ).mappings()
    return {Scope(ScopeKind(row["scope"]), row["scope_id"], row["sub"]): dict(row) for row in rows}


@dataclass(frozen=True, slots=True)
class _Added:
    """What charges add to the spend of a window, in the end and at the most; None where it has no end, or is none.

    `carried` is the part of it that comes from the windows before.
    """

    window: Window | None
    before: int
    total: int
    most: int
    carried: int

    @classmethod
    def within(
        cls,
        start: datetime | None,
        end: datetime | None,
        before: int,
        charges: Sequence[_Charge],
        late: Late | None = None,
    ) -> "_Added":
        total = most = carried = 0 if late is None or start is None else late.into(start)
        for amount, at in charges:
            if (start is None or start <= at) and (end is None or at < end):
                total += amount
                most = max(most, total)
        return cls(window_of(start, end), before, total, max(most, 0), carried)


@dataclass(frozen=True, slots=True)
class _Fold:
    """What the charges of a fold make of one account: of its present window, the one before, and its lifetime."""

    scope: Scope
    present: _Added
    previous: _Added | None
    lifetime: int
    everything: int
    capped: Capped | None

    @classmethod
    def of(
        cls,
        state: Mapping[str, Any],
        charges: Sequence[_Charge],
        capped: Capped | None,
        late: Late | None,
        calendar: Calendar,
    ) -> "_Fold":
        start, end = state["window_start"], state["reset_at"]
        present = window_of(start, end)
        previous = window_of(state["previous_start"], state["previous_end"])
        if previous is None and present is not None and capped is not None:
            previous = _before(present, capped.terms.spelling, state["armed_at"], calendar)
        return cls(
            Scope(ScopeKind(state["scope"]), state["scope_id"], state["sub"]),
            _Added.within(start, end, state["window_spend_nanos"], charges, late),
            None
            if previous is None
            else _Added.within(previous.start, previous.end, state["previous_spend_nanos"], charges, late),
            state["lifetime_spend_nanos"],
            sum(amount for amount, _ in charges),
            capped,
        )

    def columns(self) -> dict[str, Any]:
        """What is added in the account's row."""
        kept = self.previous
        window = None if kept is None else kept.window
        return {
            **{f"folded_{name}": value for name, value in account_rows.names(self.scope).items()},
            "inside": _fitting(self.present.before, self.present.total),
            "carried": _fitting(self.present.before, self.present.carried),
            "late": 0 if kept is None else _fitting(kept.before, kept.total),
            "late_start": None if window is None else window.start,
            "late_end": None if window is None else window.end,
            "all": _fitting(self.lifetime, self.everything),
        }

    def crossings(self, now: datetime) -> list[tuple[Capped, Crossing]]:
        """The thresholds that the charges cross, those of the window before too, with whose they are."""
        if self.capped is None:
            return []
        return [
            (self.capped, crossing)
            for added in (self.present, self.previous)
            if added is not None and added.most > 0
            for crossing in crossings(
                self.scope,
                self.capped.caps,
                added.window,
                before=added.before,
                after=added.before + added.most,
                now=now,
                since=self.capped.since,
            )
        ]


def _fitting(before: int, added: int) -> int:
    """As much of it as a column takes that holds what was before."""
    return max(-_HIGHEST, min(before + added, _HIGHEST)) - before


def _before(window: Window, spelling: str | None, armed_at: datetime | None, calendar: Calendar) -> Window | None:
    """The window before this one where none is kept, because several have passed at once: it held nothing.

    None where the account was armed in this one: what was charged before belongs to no window.
    """
    if armed_at is None or armed_at >= window.start:
        return None
    return calendar.running(spelling, armed_at, window.start - timedelta(microseconds=1))


_ADD = (
    update(budget_state)
    .where(
        budget_state.c.scope == bindparam("folded_scope"),
        budget_state.c.scope_id == bindparam("folded_scope_id"),
        budget_state.c.sub == bindparam("folded_sub"),
    )
    .values(
        window_spend_nanos=budget_state.c.window_spend_nanos + bindparam("inside"),
        carried_nanos=budget_state.c.carried_nanos + bindparam("carried"),
        lifetime_spend_nanos=budget_state.c.lifetime_spend_nanos + bindparam("all"),
        previous_start=bindparam("late_start", type_=budget_state.c.previous_start.type),
        previous_end=bindparam("late_end", type_=budget_state.c.previous_end.type),
        previous_spend_nanos=budget_state.c.previous_spend_nanos + bindparam("late"),
    )
)

"""The rollup: adding what waits unfolded to the accounts and to the daily sums, each row of the ledger once.

Owning a row is deleting what waits of it: there is no watermark that a late commit could fall behind. Until it is
folded every reader counts it from where it waits, so a rollup changes no number that anybody sees. The counters in
Redis are healed first: while a row waits, whoever starts again does that again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update

from app.db import Database, insertion
from app.domain.scopes import Scope, ScopeKind
from app.models import budget_state, ledger, ledger_unfolded
from app.services import accounts, daily
from app.services.job_batches import JobBatch
from app.services.rebasing import Rebasing

FOLD_BATCH = 1_000

# Their accounts go with the key; a charge that comes later still counts in those of its team and owner.
_OF_KEYS = frozenset({ScopeKind.KEY, ScopeKind.KEY_MODEL, ScopeKind.KEY_WINDOW})


class Folding:
    def __init__(self, database: Database, rebasing: Rebasing) -> None:
        self._database = database
        self._rebasing = rebasing

    def fold_due(self) -> JobBatch:
        """Fold up to FOLD_BATCH rows of the ledger; raises StoreUnavailable, having folded none of them.

        Run twice, late, killed half-way or side by side, it leaves the same state: a row is folded in the
        transaction that takes it out of those that wait.
        """
        with self._database.read() as connection:
            found = connection.execute(select(ledger).where(ledger.c.ledger_id.in_(_waiting()))).mappings()
            rows = [dict(row) for row in found]
        if not rows:
            return JobBatch(0)
        self._rebasing.heal(rows)
        with self._database.transaction() as transaction:
            taken = _take(transaction, [row["ledger_id"] for row in rows])
            _fold(transaction, taken)
            mine = {row["ledger_id"] for row in taken}
            daily.add(transaction, [row for row in rows if row["ledger_id"] in mine and row["kind"] == "charge"])
        return JobBatch(len(mine), more=len(rows) == FOLD_BATCH)


def _waiting() -> Any:
    return select(ledger_unfolded.c.ledger_id).group_by(ledger_unfolded.c.ledger_id).limit(FOLD_BATCH)


def _take(transaction: Connection, ledger_ids: Sequence[int]) -> list[Mapping[str, Any]]:
    """Whatever waits of these rows and nobody else is taking."""
    mine = transaction.execute(
        select(ledger.c.ledger_id).where(ledger.c.ledger_id.in_(ledger_ids)).with_for_update(skip_locked=True)
    ).scalars()
    taken = transaction.execute(
        delete(ledger_unfolded).where(ledger_unfolded.c.ledger_id.in_(mine.all())).returning(ledger_unfolded)
    )
    return [dict(row) for row in taken.mappings()]


def _fold(transaction: Connection, waiting: Iterable[Mapping[str, Any]]) -> None:
    """Add the charges to their accounts: all to the lifetime, those inside the stored window to the window too."""
    charges: dict[Scope, list[tuple[int, datetime]]] = defaultdict(list)
    for row in waiting:
        scope = Scope(ScopeKind(row["scope"]), row["scope_id"], row["sub"])
        charges[scope].append((row["amount_nanos"], row["occurred_at"]))
    scopes = sorted(charges, key=lambda scope: tuple(accounts.names(scope).values()))
    missing = [scope for scope in scopes if scope.kind not in _OF_KEYS]
    if missing:
        transaction.execute(
            insertion(transaction, budget_state).on_conflict_do_nothing(), [accounts.names(s) for s in missing]
        )
    if not scopes:
        return
    windows = _windows(transaction, scopes)
    changes = [
        {
            **{f"folded_{name}": value for name, value in accounts.names(scope).items()},
            "inside": sum(amount for amount, at in charges[scope] if _within(at, windows[scope])),
            "all": sum(amount for amount, _ in charges[scope]),
        }
        for scope in scopes
        if scope in windows
    ]
    if changes:
        transaction.execute(_ADD, changes)


def _windows(
    transaction: Connection, scopes: Sequence[Scope]
) -> dict[Scope, tuple[datetime | None, datetime | None]]:
    """The stored windows, held as they are until the transaction ends."""
    rows = transaction.execute(
        select(
            budget_state.c.scope,
            budget_state.c.scope_id,
            budget_state.c.sub,
            budget_state.c.window_start,
            budget_state.c.reset_at,
        )
        .where(accounts.among(scopes))
        .order_by(budget_state.c.scope, budget_state.c.scope_id, budget_state.c.sub)
        .with_for_update()
    )
    return {Scope(ScopeKind(row.scope), row.scope_id, row.sub): (row.window_start, row.reset_at) for row in rows}


def _within(at: datetime, window: tuple[datetime | None, datetime | None]) -> bool:
    start, end = window
    return (start is None or at >= start) and (end is None or at < end)


_ADD = (
    update(budget_state)
    .where(
        budget_state.c.scope == bindparam("folded_scope"),
        budget_state.c.scope_id == bindparam("folded_scope_id"),
        budget_state.c.sub == bindparam("folded_sub"),
    )
    .values(
        window_spend_nanos=budget_state.c.window_spend_nanos + bindparam("inside"),
        lifetime_spend_nanos=budget_state.c.lifetime_spend_nanos + bindparam("all"),
    )
)

"""Closing accounts: of teams, members, users and organizations that are gone: one of the same name begins at zero.

The ledger keeps what was charged. An entry that takes the account's lifetime back stands beside it from then on:
so the ledger still sums up to what an account holds, of one that is opened under the same name too.
"""

from collections import defaultdict

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, insert, select, tuple_
from sqlalchemy.sql.selectable import SelectBase

from app.domain.limits import Account
from app.domain.scopes import Scope, ScopeKind
from app.models import budget_state, ledger, ledger_unfolded
from app.services.accounts import account_rows
from app.services.audit.audit import Act
from app.services.ledger.ledger import correction, owner

# The reason in the ledger of an entry that closes an account: what stands before it is no longer that name's.
CLOSED = "closed"


def hold(transaction: Connection, chosen: SelectBase) -> None:
    """Hold what waits of the accounts whose scope and id `chosen` selects, once nobody is folding any of it.

    Before any account is held: a fold holds what it takes before its accounts, in the same order.
    """
    held = _waiting(chosen).order_by(ledger.c.ledger_id).with_for_update().subquery()
    transaction.execute(select(func.count()).select_from(held))


def close(transaction: Connection, act: Act, chosen: SelectBase) -> None:
    """Remove the accounts whose scope and id `chosen` selects, in four statements at the most.

    What waits of them is taken first; the caller holds it. A charge that comes meanwhile, and that a fold is
    taking, is left to that: it is folded into an account of its own.
    """
    left: dict[Scope, int] = defaultdict(int)
    for table, amount in (
        (ledger_unfolded, ledger_unfolded.c.amount_nanos),
        (budget_state, budget_state.c.lifetime_spend_nanos),
    ):
        named = (table.c.scope, table.c.scope_id)
        which: ColumnElement[bool] = tuple_(*named).in_(chosen)
        if table is budget_state:
            account_rows.lock(transaction, which)
        else:
            free = _waiting(chosen).with_for_update(skip_locked=True).cte("free")
            which = and_(which, ledger_unfolded.c.ledger_id.in_(select(free.c.ledger_id)))
        rows = transaction.execute(
            delete(table).where(which).returning(*named, table.c.sub, amount.label("amount"))
        )
        for row in rows:
            left[Scope(ScopeKind(row.scope), row.scope_id, row.sub)] += int(row.amount)
    closing = [
        correction(Account(scope), -amount, act, {**owner(scope), "reason": CLOSED}).row(act)
        for scope, amount in left.items()
        if amount
    ]
    if closing:
        transaction.execute(insert(ledger), closing)


def _waiting(chosen: SelectBase) -> Select[int]:
    """The entries of the ledger that are not folded yet into one of the chosen accounts."""
    named = (ledger_unfolded.c.scope, ledger_unfolded.c.scope_id)
    waiting = select(ledger_unfolded.c.ledger_id).where(tuple_(*named).in_(chosen))
    return select(ledger.c.ledger_id).where(ledger.c.ledger_id.in_(waiting))

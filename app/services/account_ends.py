"""Closing accounts: of teams, members, users and organizations that are gone: one of the same name begins at zero.

The ledger keeps what was charged. An entry that takes the account's lifetime back stands beside it from then on:
so the ledger still sums up to what an account holds, of one that is opened under the same name too.
"""

from collections import defaultdict

from sqlalchemy import Connection, delete, insert, tuple_
from sqlalchemy.sql.selectable import SelectBase

from app.domain.limits import Account
from app.domain.scopes import Scope, ScopeKind
from app.models import budget_state, ledger, ledger_unfolded
from app.services import account_rows
from app.services.audit import Act
from app.services.ledger import correction

# The reason in the ledger of an entry that closes an account: what stands before it is no longer that name's.
CLOSED = "closed"


def close(transaction: Connection, act: Act, chosen: SelectBase) -> None:
    """Remove the accounts whose scope and id `chosen` selects, in four statements at the most.

    What waits of them is taken first, as the rollup does it: neither waits for the other, and a charge that comes
    meanwhile is folded into an account of its own.
    """
    left: dict[Scope, int] = defaultdict(int)
    for table, amount in (
        (ledger_unfolded, ledger_unfolded.c.amount_nanos),
        (budget_state, budget_state.c.lifetime_spend_nanos),
    ):
        named = (table.c.scope, table.c.scope_id)
        which = tuple_(*named).in_(chosen)
        if table is budget_state:
            account_rows.lock(transaction, which)
        rows = transaction.execute(
            delete(table).where(which).returning(*named, table.c.sub, amount.label("amount"))
        )
        for row in rows:
            left[Scope(ScopeKind(row.scope), row.scope_id, row.sub)] += int(row.amount)
    closing = [
        correction(Account(scope), -amount, act, {**_owner(scope), "reason": CLOSED}).row(act)
        for scope, amount in left.items()
        if amount
    ]
    if closing:
        transaction.execute(insert(ledger), closing)


def _owner(scope: Scope) -> dict[str, str]:
    """The column of the ledger that names the scope; a member has none, nor a further budget."""
    column = _COLUMNS.get(scope.kind)
    return {} if column is None else {column: scope.id}


_COLUMNS = {
    ScopeKind.TEAM: "team_id",
    ScopeKind.USER: "user_id",
    ScopeKind.ORGANIZATION: "organization_id",
}

"""The ledger: charges and corrections, appended once, each to be folded into the accounts that it counts in."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from app.db import insertion
from app.domain.limits import Account
from app.domain.scopes import Scope, ScopeKind
from app.domain.windows import Calendar
from app.models import ledger, ledger_unfolded
from app.services.accounts import rollover, spends
from app.services.accounts.account_rows import names
from app.services.accounts.account_windows import move_windows
from app.services.audit.audit import Act

_OWNERS = {
    ScopeKind.KEY: "key_id",
    ScopeKind.TEAM: "team_id",
    ScopeKind.USER: "user_id",
    ScopeKind.ORGANIZATION: "organization_id",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A row to be appended to the ledger; `columns` are those that say whose it is and what was used."""

    kind: str
    request_id: str
    amount_nanos: int
    occurred_at: datetime
    accounts: tuple[Account, ...]
    columns: Mapping[str, Any]

    def row(self, act: Act) -> dict[str, Any]:
        return {
            **_NOBODY,
            **self.columns,
            "kind": self.kind,
            "request_id": self.request_id,
            "amount_nanos": self.amount_nanos,
            "scopes": [list(names(account.scope).values()) for account in self.accounts],
            "actor": act.caller.user_id,
            "occurred_at": self.occurred_at,
            "recorded_at": act.at,
        }


# Rows of one statement have the same columns.
_NOBODY: dict[str, Any] = dict.fromkeys(
    (
        "key_id",
        "team_id",
        "user_id",
        "organization_id",
        "model",
        "input_tokens",
        "output_tokens",
        "tags",
        "end_user",
    )
)


def correct(
    transaction: Connection,
    act: Act,
    account: Account,
    to_nanos: int,
    owner: Mapping[str, str],
    calendar: Calendar,
) -> int:
    """Set what an account has spent in its present window; its lifetime moves by the same amount, the answer.

    `owner` holds the column of the ledger that says whose account it is. The caller holds the owner's row, so that
    nobody else corrects it meanwhile.
    """
    (spent,) = spends.current(transaction, [account], calendar)
    amount = to_nanos - (spent or 0)
    if amount:
        append(transaction, [correction(account, amount, act, owner)], act, calendar)
    return amount


def owner(scope: Scope) -> dict[str, str]:
    """The column of the ledger that names the scope; a member has none, nor a further budget."""
    column = _OWNERS.get(scope.kind)
    return {} if column is None else {column: scope.id}


def correction(account: Account, amount_nanos: int, act: Act, owner: Mapping[str, str]) -> Entry:
    """So much more in an account, or less, by the will of an administrator."""
    return Entry("correction", f"correction-{uuid.uuid4()}", amount_nanos, act.at, (account,), owner)


def append(transaction: Connection, entries: Sequence[Entry], act: Act, calendar: Calendar) -> list[bool]:
    """Write rows of the ledger, each to be folded into its accounts; tells of each whether it is new.

    One whose key id and request id stand there already is left as it is. Two statements and one more where windows
    move, however many entries; one more where accounts roll over, and a few where such windows move. The windows
    are moved first, so that no charge lies beyond a stored one.
    """
    present = dict.fromkeys(account for entry in entries for account in entry.accounts)
    rollover.move_present(transaction, present, calendar, act.at)
    move_windows(transaction, present)
    statement = insertion(transaction, ledger).on_conflict_do_nothing()
    found = transaction.execute(
        statement.returning(ledger.c.ledger_id, ledger.c.key_id, ledger.c.request_id),
        # In one order for everybody: batches that share calls wait for each other here.
        [entry.row(act) for entry in sorted(entries, key=_order)],
    )
    ids = {(row.key_id, row.request_id): row.ledger_id for row in found}
    waiting, is_new = [], []
    for entry in entries:
        # A request id that stands twice in one call is one charge.
        ledger_id = ids.pop((entry.columns.get("key_id"), entry.request_id), None)
        is_new.append(ledger_id is not None)
        if ledger_id is not None:
            waiting += [
                {
                    "ledger_id": ledger_id,
                    **names(account.scope),
                    "amount_nanos": entry.amount_nanos,
                    "occurred_at": entry.occurred_at,
                }
                for account in entry.accounts
            ]
    if waiting:
        transaction.execute(insert(ledger_unfolded), waiting)
    return is_new


def _order(entry: Entry) -> tuple[str, str]:
    return entry.columns.get("key_id") or "", entry.request_id

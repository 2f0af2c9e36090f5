"""Bringing the counters in Redis into line with the ledger: note, then read, then set.

Done for a counter that is new, before a refusal goes out, and for every charge before it is folded. So what a
crash or a lost Redis leaves is healed, in either direction, and a charge that nobody has applied is not forgotten.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from app.db import Database
from app.domain.limits import Account, account_at
from app.domain.scopes import Scope, ScopeKind, scopes_in
from app.domain.windows import Calendar, window_of
from app.errors import StoreUnavailable, WriteStands
from app.models import budget_state
from app.services.accounts import spellings, spends
from app.services.accounts.account_rows import among
from app.store.balances import Balances, Closing

# Scopes of one statement: their names and windows must fit into what a store takes as parameters.
_AT_ONCE = 1_000


class Rebasing:
    def __init__(self, database: Database, balances: Balances, calendar: Calendar) -> None:
        self._database = database
        self._balances = balances
        self._calendar = calendar

    def seed(self, accounts: Sequence[Account]) -> bool:
        """Set these accounts' counters, made where they are absent; one statement and two round trips.

        False where an account's window is over for the store already: then nothing is set of it, and whoever
        decides must look at the clock again. Raises StoreUnavailable.
        """
        return self._rebase(accounts, create=True)

    def present(self, scopes: Sequence[Scope], now: datetime | None = None) -> None:
        """Set whatever counters there are of these scopes, in their stored windows.

        With `now` also in the windows that run by then, where the stored ones have passed and carry on.
        """
        for start in range(0, len(scopes), _AT_ONCE):
            with self._database.read() as connection:
                rows = connection.execute(
                    select(budget_state).where(among(connection, scopes[start : start + _AT_ONCE]))
                ).mappings()
                stored = [_account(row) for row in rows]
                running = [] if now is None else self._carried_into(connection, stored, now)
            self._rebase([*stored, *running], create=False)

    def counted(self, accounts: Sequence[Account]) -> None:
        """Set whatever counters there are of these accounts, in the windows that they are given in."""
        for start in range(0, len(accounts), _AT_ONCE):
            self._rebase(accounts[start : start + _AT_ONCE], create=False)

    def corrected(self, scopes: Sequence[Scope]) -> None:
        """Let what an administrator has just set count at once; raises WriteStands where that cannot be."""
        try:
            self.present(scopes)
        except StoreUnavailable as error:
            raise WriteStands from error

    def heal(self, rows: Iterable[Mapping[str, Any]], now: datetime) -> None:
        """See to it that these rows of the ledger count in Redis, each once.

        Their holds are closed, as far as there are any; then the counters are set.
        """
        rows = list(rows)
        self._balances.close(
            [
                Closing(row["key_id"], row["request_id"], row["amount_nanos"])
                for row in rows
                if row["kind"] == "charge"
            ]
        )
        scopes = {scope for row in rows for scope in scopes_in(row["scopes"])}
        self.present(sorted(scopes, key=lambda scope: (scope.kind, scope.id, scope.sub)), now)

    def _carried_into(self, connection: Connection, stored: Iterable[Account], now: datetime) -> list[Account]:
        """The accounts in windows that run and that nobody has moved them to; no statement where none passed."""
        passed = {
            account.scope: account
            for account in stored
            if account.window is not None and account.window.end <= now
        }
        terms = spellings.load(connection, passed) if passed else {}
        running = (
            account_at(scope, found, passed[scope].armed_at, self._calendar, now, passed[scope].window)
            for scope, found in terms.items()
            if scope in passed
        )
        return [account for account in running if account.terms is not None]

    def _rebase(self, accounts: Sequence[Account], *, create: bool) -> bool:
        notes = self._balances.note(accounts, create=create)
        if not notes:
            return True
        with self._database.read() as connection:
            found = spends.current(connection, [note.account for note in notes], self._calendar)
        self._balances.set(zip(notes, found, strict=True))
        return None not in found


def _account(row: Mapping[Any, Any]) -> Account:
    scope = Scope(ScopeKind(row["scope"]), row["scope_id"], row["sub"])
    return Account(scope, window_of(row["window_start"], row["reset_at"]), row["armed_at"])

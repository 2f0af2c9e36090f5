"""The accounts of budget holders that are changed: of keys, teams, users, members and organizations.

Around the write of a holder's row everything happens in one order. What has passed is moved first, by the terms
that are still stored. After the write come the windows, what is set as spent, in the window of after, and the
further budgets: in the order in which everybody holds accounts. Last, what the new caps may leave crossed is put
down to be looked at.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from app.domain.further_budgets import OF_MODELS, further_accounts
from app.domain.limits import Account
from app.domain.rollover import Terms
from app.domain.scopes import Scope
from app.domain.windows import Calendar
from app.services.accounts import account_rows, accounts, rollover
from app.services.audit.audit import Act
from app.services.ledger import ledger
from app.services.thresholds import watched

_Terms = dict[Scope, Terms]
# The spellings of a window before and after, and whether the spend so far is carried into it.
_Rearming = tuple[str | None, str | None, bool]


@dataclass(frozen=True, slots=True)
class HolderChange:
    """The columns that a holder is capped by, before and after: its own, or those of the tier that it runs by.

    `account` is as it is before; `spent_nanos` is what it is to have spent after. A window where there was none
    starts at zero, unless it `carries` the spend so far. `by_tier` names further accounts whose terms are not
    among these columns, with their spellings before and after.
    """

    account: Account
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    spent_nanos: int | None = None
    carries: bool = False
    by_tier: Mapping[Scope, tuple[str | None, str | None]] = field(default_factory=dict)

    @property
    def scope(self) -> Scope:
        return self.account.scope

    @property
    def running(self) -> str | None:
        """The spelling of the window that it has so far."""
        spelling: str | None = self.before.get("budget_duration")
        return spelling

    @property
    def spelling(self) -> str | None:
        """The spelling of the window that it is to have."""
        spelling: str | None = self.after.get("budget_duration")
        return spelling

    def rolls(self, calendar: Calendar) -> bool:
        """Whether it may change how a window that has passed rolls over."""
        changed = {name for name, value in self.after.items() if value != self.before.get(name)}
        return rollover.concerns(changed, self.running, calendar)

    def rearmings(self) -> Iterator[tuple[Scope, _Rearming]]:
        """The accounts that are given another window."""
        if self.running != self.spelling:
            yield self.scope, (self.running, self.spelling, self.carries)
        for scope, (running, spelling) in self.by_tier.items():
            yield scope, (running, spelling, False)


@contextmanager
def follow(
    transaction: Connection, act: Act, changes: Sequence[HolderChange], calendar: Calendar
) -> Iterator[None]:
    """Have the accounts of holders of one kind follow the change of their rows, which the block writes.

    No statement where nothing of that changes; else as many as there are different changes of a window, however
    many holders, and those of each spend.
    """
    _roll(transaction, act, changes, calendar)
    yield
    moved: dict[_Rearming, list[Scope]] = defaultdict(list)
    for each in changes:
        for scope, rearming in each.rearmings():
            moved[rearming].append(scope)
    corrected = [each for each in changes if each.spent_nanos is not None]
    before, after = _further(changes)
    # One holder's accounts come in the order of everybody by themselves, but for several of its models.
    if len(changes) > 1 or any(each.by_tier for each in changes):
        steps = len(moved) + len(corrected) + bool(before or after)
        held = {*before, *after, *(scope for scopes in moved.values() for scope in scopes)}
        held |= {each.scope for each in corrected}
        if len(held) > 1 and steps > 1:
            account_rows.lock(transaction, account_rows.among(transaction, held))
    for (running, spelling, carries), scopes in moved.items():
        accounts.rearm(
            transaction,
            account_rows.among(transaction, scopes),
            before=running,
            after=spelling,
            calendar=calendar,
            now=act.at,
            carry_spend=carries,
        )
    for each in corrected:
        _correct(transaction, act, each, calendar)
    accounts.replace_further(transaction, before, after, calendar, act.at)
    watched.watch(transaction, [each.scope for each in changes if watched.bears(each.before, each.after)])


def _roll(transaction: Connection, act: Act, changes: Sequence[HolderChange], calendar: Calendar) -> None:
    """Move what has passed by the caps that are about to change; no statement where nothing rolls over.

    Where anything moves, everything else that follows is held with it.
    """
    rolling = [each.scope for each in changes if each.rolls(calendar)]
    if rolling:
        all_of_them = rollover.of_holders([each.scope for each in changes])
        rollover.move_passed(transaction, rollover.of_holders(rolling), calendar, act.at, beside=all_of_them)


def _further(changes: Sequence[HolderChange]) -> tuple[_Terms, _Terms]:
    """The further budgets, before and after, of the holders where any of them changes."""
    before: _Terms = {}
    after: _Terms = {}
    for each in changes:
        earlier, later = _further_of(each.scope, each.before), _further_of(each.scope, each.after)
        if earlier != later:
            before |= earlier
            after |= later
    return before, after


def _further_of(holder: Scope, columns: Mapping[str, Any]) -> _Terms:
    # What a tier says of models is for the keys that are linked to it alone.
    return further_accounts(holder, columns) if holder.kind in OF_MODELS else {}


def _correct(transaction: Connection, act: Act, change: HolderChange, calendar: Calendar) -> None:
    """Set the spend, in the window that the holder has after the change."""
    account = change.account
    if change.running != change.spelling:
        account = accounts.armed_account(account.scope, change.spelling, calendar, act.at)
    ledger.correct(transaction, act, account, change.spent_nanos or 0, ledger.owner(account.scope), calendar)

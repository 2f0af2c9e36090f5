"""Setting what an account has spent in its present window, its lifetime kept: what was charged was charged."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from app.domain.limits import Account
from app.domain.windows import Calendar
from app.services.accounts import account_rows, accounts, capped, spends
from app.services.audit.audit import Act
from app.services.ledger import ledger
from app.services.thresholds import threshold_events


class Relieving:
    """`alert_percentages` of a cap are told of where a key does not say at which."""

    def __init__(self, calendar: Calendar, *, alert_percentages: Sequence[int]) -> None:
        self._calendar = calendar
        self._alert_percentages = alert_percentages

    def relieve(
        self, transaction: Connection, act: Act, account: Account, to_nanos: int, owner: Mapping[str, str]
    ) -> None:
        """Set the window's spend; `owner` and who holds what are as in `ledger.correct`.

        The row in the ledger is one of no amount. It waits to be folded like any other, which has the counters set
        again where whoever wrote it was stopped before it could set them. Whoever folds the charges that wait
        finds the window relieved, so what they cross is told here.
        """
        ledger.append(transaction, [ledger.correction(account, 0, act, owner)], act, self._calendar)
        # In a statement of its own: a fold that was waited for would show its charges twice, or not at all.
        account_rows.lock(transaction, account_rows.among(transaction, [account.scope]))
        (spent,) = spends.current(transaction, [account], self._calendar)
        if spent is None:
            return
        caps = capped.load(transaction, [account.scope], self._alert_percentages, act.at)
        threshold_events.tell_standing(transaction, caps, [(account, spent)], act.at)
        accounts.shift_window(transaction, account.scope, to_nanos - spent)

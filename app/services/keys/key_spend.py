"""Setting what a key has spent: what the API calls reset_spend."""

from decimal import Decimal

from sqlalchemy import Connection, update

from app.db import Database
from app.domain import access, money
from app.domain.keys import restarted_windows
from app.domain.scopes import ScopeKind
from app.domain.windows import Calendar
from app.errors import InvalidRequest, KeyNotFound
from app.models import keys
from app.services.access.callers import Callers
from app.services.access.refusals import enforce, rules
from app.services.access.standings import of_teams, standing_in
from app.services.accounts import accounts
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.decisions.rebasing import Rebasing
from app.services.events import delivery
from app.services.keys import key_events, key_names, key_rows
from app.services.keys.key_views import KeyView
from app.services.ledger.relieving import Relieving
from app.store import policies
from app.store.policies import Policies


class KeySpend:
    def __init__(
        self,
        database: Database,
        policy_store: Policies,
        callers: Callers,
        calendar: Calendar,
        rebasing: Rebasing,
        relieving: Relieving,
    ) -> None:
        self._database = database
        self._policies = policy_store
        self._callers = callers
        self._calendar = calendar
        self._rebasing = rebasing
        self._relieving = relieving

    def reset(self, act: Act, reference: str, to: Decimal) -> tuple[KeyView, KeyView]:
        """Set the key's spend to a smaller amount, its lifetime kept, and start its own windows anew.

        The answer is the key before and after.

        Raises KeyNotFound, InvalidRequest (above the present spend, or above a cap), ManagersOnly and
        StoreUnavailable, without any change, and WriteStands. Doing it again only starts the windows once more.
        """
        if self._callers.is_master(reference):
            raise InvalidRequest("The master key is no virtual key.", "key")
        with self._database.read() as connection:
            key_id = key_names.by_reference(connection, act.caller, [reference], act.at).get(reference)
        if key_id is None:
            raise KeyNotFound
        with (
            rules(),
            self._policies.change([policies.key(key_id)]) as before_commit,
            self._database.transaction() as transaction,
        ):
            changed = self._reset(transaction, act, key_id, to)
            before_commit()
        self._rebasing.corrected([changed[0].account.scope])
        return changed

    def _reset(self, transaction: Connection, act: Act, key_id: str, to: Decimal) -> tuple[KeyView, KeyView]:
        found = key_rows.load(transaction, [key_id], self._calendar, act.at, lock=True)
        if not found:
            raise KeyNotFound
        before = found[0]
        facts = of_teams(transaction, act.caller, [before.columns["team_id"]])
        enforce(
            access.may_reset_spend(act.caller, before.target, standing_in(facts, before.columns["team_id"])),
            KeyNotFound(),
        )
        to_nanos = money.nanos(to, "reset_to")
        _check(before, to_nanos)
        limits = restarted_windows(before.columns["budget_limits"], self._calendar, act.at)
        if to_nanos == before.spend.window_nanos and limits is None:
            return before, before
        if to_nanos != before.spend.window_nanos:
            self._relieving.relieve(transaction, act, before.account, to_nanos, {"key_id": key_id})
        if limits is not None:
            transaction.execute(update(keys).where(keys.c.key_id == key_id).values(budget_limits=limits))
            windows = {
                scope: terms
                for scope, terms in before.further_accounts.items()
                if scope.kind is ScopeKind.KEY_WINDOW
                and self._calendar.running(terms.spelling, act.at, act.at) is not None
            }
            accounts.replace_further(transaction, {}, windows, self._calendar, act.at)
        (after,) = key_rows.load(transaction, [key_id], self._calendar, act.at)
        changes = [Changed(key_id, before.fields(), after.fields())]
        audit.record(transaction, act, "reset_spend", "key", changes)
        delivery.enqueue(transaction, [key_events.of_key("key_updated", after)], act.at)
        return before, after


def _check(before: KeyView, to_nanos: int) -> None:
    if to_nanos > before.spend.window_nanos:
        raise InvalidRequest("reset_to must not be above the present spend of the key.", "reset_to")
    own = before.columns["max_budget_nanos"]
    tier = None if before.tier is None else before.tier["max_budget"]
    caps = [
        cap
        for cap in (own, None if tier is None else money.nanos(Decimal(str(tier)), "max_budget"))
        if cap is not None
    ]
    if caps and to_nanos > min(caps):
        raise InvalidRequest("reset_to must not be above the budget of the key.", "reset_to")

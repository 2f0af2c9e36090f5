"""Why a call would be allowed or refused: every rule with what it looked at, and nothing consumed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from app.clock import iso
from app.db import Database
from app.domain import minting, money, verdicts
from app.domain.limit_states import LimitKind, LimitState
from app.domain.limits import Numbers
from app.domain.verdicts import Rule
from app.domain.windows import Calendar
from app.services.accounts import spends
from app.services.audit.audit import Act
from app.services.decisions.decisions import Verdict, refusal_of, states_of
from app.services.decisions.judging import Asked, Case, Dismissed, Judging
from app.services.decisions.reaping import Reaping
from app.services.decisions.snapshots import Snapshots
from app.store.balances import Balances


@dataclass(frozen=True, slots=True)
class Explanation:
    """The verdict that verify would give, with every rule behind it, in the order in which they decide."""

    verdict: Verdict
    rules: Sequence[Rule]


class Explaining:
    """`budget_exceeded_status` is the status that a refusal by a budget names."""

    def __init__(
        self,
        database: Database,
        snapshots: Snapshots,
        judging: Judging,
        balances: Balances,
        reaping: Reaping,
        calendar: Calendar,
        *,
        budget_exceeded_status: int,
    ) -> None:
        self._database = database
        self._snapshots = snapshots
        self._judging = judging
        self._balances = balances
        self._reaping = reaping
        self._calendar = calendar
        self._budget_exceeded_status = budget_exceeded_status

    def explain(self, act: Act, asked: Asked, at: datetime | None) -> Explanation:
        """Decide as `Decisions.verify` does for a new call, now or at another time, and hold nothing.

        At another time the settings are those of now, and nothing is held or counted but what is spent. Raises
        InvalidRequest and StoreUnavailable.
        """
        now = at or act.at
        snapshot = self._snapshots.of(minting.digest(asked.key), act.at)
        case = self._judging.judge(act.caller, snapshot, asked, now)
        rules = list(verdicts.rules(case.snapshot, asked.call, now))
        if isinstance(case, Dismissed):
            if not any(rule.refused for rule in rules):
                rules.append(Rule("estimate", {"required": asked.estimate.required}, case.refused))
            return Explanation(Verdict(case, case.refused), rules)
        numbers = self._numbers(case, present=at is None)
        limits = [self._rule(case, state) for state in states_of(case, numbers)]
        refused = next((rule.refused for rule in limits if rule.refused is not None), None)
        return Explanation(Verdict(case, refused, numbers), [*rules, *limits])

    def _numbers(self, case: Case, *, present: bool) -> Numbers:
        """What is used by the ledger's word, and what is held and counted by Redis's, where it is about now."""
        plan = case.plan
        with self._database.read() as connection:
            found = spends.current(connection, [budget.account for budget in plan.budgets], self._calendar)
        used = [spend or 0 for spend in found]
        if not present:
            nothing = [0] * len(used)
            slots = len(plan.slots)
            return Numbers(used, nothing, [True] * len(used), [0] * len(plan.rates), [0] * slots, [None] * slots)
        # A verify closes what is past its lease before it refuses.
        self._reaping.reap(case.at)
        return replace(self._balances.look(plan, case.at), used=used)

    def _rule(self, case: Case, state: LimitState) -> Rule:
        inputs = {
            "scope": state.scope.kind.value,
            "id": state.scope.id,
            "sub": state.scope.sub or None,
            **{name: _shown(state, getattr(state, name)) for name in ("limit", "used", "held", "asked")},
            "resets_at": iso(state.resets_at),
        }
        refused = None if state.fits else refusal_of(case, state, self._budget_exceeded_status)[0]
        return Rule(state.kind.value, inputs, refused)


def _shown(state: LimitState, amount: int) -> float:
    return money.dollars(amount) if state.kind is LimitKind.BUDGET else amount

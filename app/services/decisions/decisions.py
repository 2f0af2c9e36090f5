"""May this key make this call? Decided in one round trip where everything is known, and never by an old state.

A call is judged by what this process remembers of its key and of the gateway that asks; one script then checks
that all of it is still true, checks every limit, and holds what the call may cost, or nothing. What it says that
is not final (an old snapshot, a cold counter, a budget that looks full) is mended, and it is asked again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.clock import Clock
from app.domain import access, minting, money, refusals
from app.domain.limit_states import LimitKind, LimitState, states
from app.domain.limits import Account, Numbers, admits
from app.domain.refusals import Refused
from app.errors import ServiceError, StoreUnavailable
from app.services.access.callers import Callers
from app.services.access.refusals import enforce
from app.services.decisions.flights import Flights
from app.services.decisions.judging import Asked, Case, Dismissed, Judging
from app.services.decisions.reaping import Reaping
from app.services.decisions.rebasing import Rebasing
from app.services.decisions.reservations import Reservations
from app.services.decisions.snapshots import Sighting, Snapshots
from app.store import balances
from app.store.balances import Balances
from app.store.outcomes import Cold, Full, Held, Lost
from app.store.policies import Freshness, together

# For this part of its time a refusal is confirmed while charges keep coming in.
_CONFIRMING_PART = 0.2
# A call under way ends when it ends: nobody can say when.
_SOON_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a call: allowed, with a reservation, or refused.

    `retry_after` are seconds until it might be allowed, where that is known. Numbers are None where no limit was
    looked at.
    """

    case: Case | Dismissed
    refused: Refused | None
    numbers: Numbers | None = None
    reservation_id: str | None = None
    lease_ends_at: datetime | None = None
    replayed: bool = False
    retry_after: float | None = None

    @property
    def allowed(self) -> bool:
        return self.refused is None


class Decisions:
    """`budget_exceeded_status` is the status that a refusal by a budget names.

    `serve_unlimited` lets keys without budgets and limits go on, from SQL, while Redis is away. `seconds` are
    what a decision may take. By less than `skew_seconds` the clock may be behind that of others.
    """

    def __init__(
        self,
        callers: Callers,
        snapshots: Snapshots,
        judging: Judging,
        balances: Balances,
        rebasing: Rebasing,
        reaping: Reaping,
        reservations: Reservations,
        clock: Clock,
        *,
        budget_exceeded_status: int,
        serve_unlimited: bool,
        seconds: float,
        skew_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._callers = callers
        self._snapshots = snapshots
        self._judging = judging
        self._balances = balances
        self._rebasing = rebasing
        self._reaping = reaping
        self._reservations = reservations
        self._clock = clock
        self._budget_exceeded_status = budget_exceeded_status
        self._serve_unlimited = serve_unlimited
        self._seconds = seconds
        self._skew = timedelta(seconds=skew_seconds)
        self._confirming_seconds = seconds * _CONFIRMING_PART
        self._monotonic = monotonic
        self._flights = Flights()

    def verify(self, credential: str, asked: Asked, route: str) -> Verdict:
        """Decide a call for the gateway with this credential; hold what it may cost where it is allowed.

        One round trip to Redis and no SQL where gateway, key and counters are known. Sent again with the same
        request id, an allowed call is allowed again, under the reservation of then, and holds nothing more; a
        refused one is decided afresh. Raises Unauthenticated and its kin for the gateway, InvalidRequest, and
        StoreUnavailable.
        """
        try:
            return self._decide(credential, asked, route)
        except StoreUnavailable as away:
            if not self._serve_unlimited:
                raise
            return self._without_redis(credential, asked, route, away)

    def _decide(self, credential: str, asked: Asked, route: str) -> Verdict:
        began = self._monotonic()
        token = minting.digest(asked.key)
        begun: datetime | None = None
        while self._monotonic() - began < self._seconds:
            now = self._now(begun)
            gateway, key = self._callers.sight(credential, now), self._snapshots.sight(token, now)
            seen = [key] if gateway is None else [gateway, key]
            try:
                case = self._judge(credential, gateway, key, asked, now, route)
            except ServiceError:
                if self._holds_true(seen):
                    raise
                continue
            if isinstance(case, Dismissed):
                if self._holds_true(seen):
                    return Verdict(case, case.refused)
                continue
            confirming = self._monotonic() - began < self._confirming_seconds
            found = self._hold(case, seen, confirming=confirming)
            if isinstance(found, Verdict):
                return found
            begun = found
        raise StoreUnavailable("The call could not be decided in time. Try again.")

    def _now(self, begun: datetime | None) -> datetime:
        """The time, at the earliest when a window began that others have begun already.

        Raises StoreUnavailable where that is too far ahead to be believed.
        """
        now = self._clock.now()
        if begun is None or begun <= now:
            return now
        if begun - now > self._skew:
            raise StoreUnavailable("The clocks of this host and another one differ. Try again.")
        return begun

    def _judge(
        self,
        credential: str,
        gateway: Sighting | None,
        key: Sighting,
        asked: Asked,
        now: datetime,
        route: str,
    ) -> Case | Dismissed:
        caller = self._callers.admit(credential, None if gateway is None else gateway.snapshot, now)
        enforce(access.gate(caller, route, "POST"))
        return self._judging.judge(caller, key.snapshot, asked, now)

    def _holds_true(self, seen: list[Sighting]) -> bool:
        """Whether what was seen may decide; if not, it is forgotten."""
        if not any(sighting.remembered for sighting in seen) or self._snapshots.is_fresh(seen):
            return True
        self._snapshots.forget(seen)
        return False

    # --- limits ----------------------------------------------------------------------------------------------

    def _hold(self, case: Case, seen: list[Sighting], *, confirming: bool) -> Verdict | datetime | None:
        """The verdict, or None after mending what stood in its way: as `_rebase` says, there may be an instant."""
        call = self._call(case)
        versions = [sighting.versions for sighting in seen if sighting.versions is not None]
        outcome = self._balances.hold(call, together(versions) if versions else None)
        match outcome:
            case Held():
                return Verdict(
                    case,
                    None,
                    outcome.numbers,
                    outcome.reservation,
                    outcome.deadline,
                    replayed=outcome.replayed,
                )
            case Freshness():
                self._snapshots.forget(seen)
            case Cold():
                return self._rebase([call.plan.budgets[which].account for which in outcome.which])
            case Lost():
                wait = (outcome.until - case.at).total_seconds()
                refused = refusals.holds_lost(outcome.until)
                return Verdict(case, refused, outcome.numbers, retry_after=max(wait, 0.0))
            case Full():
                return self._full(case, outcome, confirming=confirming)
        return None

    def _full(self, case: Case, full: Full, *, confirming: bool) -> Verdict | datetime | None:
        """The refusal by a limit; a budget's is confirmed first, by the ledger and without holds that are over."""
        if full.limit == "budget":
            if full.ripe and self._reaping.reap(case.at):
                return None
            if confirming and not full.numbers.confirmed[full.which]:
                return self._rebase([case.plan.budgets[full.which].account])
        state = states_of(case, full.numbers)[_place(case, full)]
        refused, retry_after = refusal_of(case, state, self._budget_exceeded_status)
        return Verdict(case, refused, full.numbers, retry_after=retry_after)

    def _rebase(self, accounts: list[Account]) -> datetime | None:
        """Set these counters; when their next window begins, where others are in that already."""
        seeded = self._flights.share(
            accounts[0], lambda: self._rebasing.seed(accounts), seconds=self._confirming_seconds
        )
        ends = [account.window.end for account in accounts if account.window is not None]
        return min(ends) if seeded is False and ends else None

    def _call(self, case: Case) -> balances.Call:
        return balances.Call(
            key_id=case.reservation.key_id,
            request_id=case.reservation.request_id,
            plan=case.plan,
            amount_nanos=case.reservation.amount_nanos,
            tokens=case.reservation.tokens,
            now=case.at,
            deadline=case.deadline,
            reservation=self._reservations.sign(case.reservation),
        )

    # --- without Redis ---------------------------------------------------------------------------------------

    def _without_redis(self, credential: str, asked: Asked, route: str, away: StoreUnavailable) -> Verdict:
        """Decide from SQL alone, where nothing has to be counted; raises `away` where something has."""
        now = self._clock.now()
        caller = self._callers.authenticate(credential, now)
        enforce(access.gate(caller, route, "POST"))
        snapshot = self._snapshots.of(minting.digest(asked.key), now)
        case = self._judging.judge(caller, snapshot, asked, now)
        if isinstance(case, Dismissed):
            return Verdict(case, case.refused)
        call = self._call(case)
        if call.plan.budgets or call.plan.rates or call.plan.slots:
            raise away
        return Verdict(case, None, None, call.reservation, call.deadline)


def states_of(case: Case, numbers: Numbers) -> list[LimitState]:
    """How full each limit of a call is."""
    return states(case.plan, numbers, case.reservation.amount_nanos, case.reservation.tokens, case.at)


def _place(case: Case, full: Full) -> int:
    """Which of the call's limits, all in one row, is the full one."""
    before = {"budget": 0, "rate": len(case.plan.budgets), "slots": len(case.plan.budgets) + len(case.plan.rates)}
    return before[full.limit] + full.which


def refusal_of(case: Case, state: LimitState, budget_status: int) -> tuple[Refused, float | None]:
    """The refusal of a limit without room, and seconds until there may be some, where that is known.

    None too for a call that fits into no window: waiting would never help it.
    """
    refused, seconds = _refusal_and_wait(case, state, budget_status)
    if admits(0, 0, state.asked, state.limit):
        return refused, seconds
    return refusals.never_fitting(refused, _amount(state, state.asked), _amount(state, state.limit)), None


def _amount(state: LimitState, amount: int) -> str:
    return repr(money.dollars(amount)) if state.kind is LimitKind.BUDGET else str(amount)


def _refusal_and_wait(case: Case, state: LimitState, budget_status: int) -> tuple[Refused, float | None]:
    scope, now = state.scope, case.at
    if state.kind is LimitKind.BUDGET:
        refused = refusals.budget_refused(
            scope.kind,
            case.snapshot,
            spent_nanos=state.used,
            cap_nanos=state.limit,
            status=budget_status,
            sub=scope.sub,
        )
        if admits(state.used, 0, state.asked, state.limit):
            # Only calls under way stand in its way.
            held, asked = _amount(state, state.held), _amount(state, state.asked)
            return refusals.held_back(refused, held, asked), _SOON_SECONDS
        return refused, None if state.resets_at is None else (state.resets_at - now).total_seconds()
    if state.kind is LimitKind.PARALLEL_REQUESTS:
        refused = refusals.concurrency_refused(
            scope.kind, case.snapshot, limit=state.limit, reset_at=state.frees_at or now, now=now
        )
        return refused, _SOON_SECONDS
    reset_at = state.resets_at or now
    refused = refusals.rate_refused(
        scope.kind,
        case.snapshot,
        unit="tokens" if state.kind is LimitKind.TOKENS else "requests",
        limit=state.limit,
        remaining=state.remaining,
        reset_at=reset_at,
        now=now,
        sub=scope.sub,
    )
    return refused, (reset_at - now).total_seconds()

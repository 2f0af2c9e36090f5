"""What really happened, kept beside the protocol, and what must hold whatever happened in between.

It learns of events (a hold opened, a charge committed …), never of what the stores make of them.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.model.redis import Balance, State
from tests.model.scopes import KEY, LEASE, SCOPES, WINDOW, Counter, Scope, counter
from tests.model.sql import Entry, Snapshot

if TYPE_CHECKING:
    from tests.model.requests import Reservation
    from tests.model.world import World


class Broken(AssertionError):
    """An invariant does not hold."""


def must(holds: bool, invariant: str, *facts: object) -> None:
    if not holds:
        raise Broken(f"{invariant}: {facts}")


@dataclass
class Held:
    """A hold as its caller sees it."""

    estimate: int
    deadline: int
    counters: tuple[Counter, ...]
    given_up: bool = False


@dataclass
class Charge:
    """`held`: what an open hold still keeps for it; `counted`: the counters that have been told of it since.

    `exempt`: what no hold could keep of it: above its estimate, after its lease, without a hold, or corrected.
    `late`: the counters of later windows that there were before it, into which something of it may be carried.
    """

    entry: Entry
    held: dict[Counter, int] = field(default_factory=dict)
    late: frozenset[Counter] = frozenset()
    counted: set[Counter] = field(default_factory=set)
    exempt: dict[Counter, int] = field(init=False)

    def __post_init__(self) -> None:
        self.exempt = {of: max(self.entry.amount - self.held.get(of, 0), 0) for of in self.entry.counters}
        self.exempt |= dict.fromkeys(self.late, max(self.entry.amount, 0))

    def has_told(self, of: Counter) -> bool:
        """Whether the counter of a later window has what is carried of it."""
        return of not in self.late or of in self.counted

    def lose_redis(self) -> None:
        """What a lost hold kept is exempt as well, but for the counters that were told before."""
        for of in self.held.keys() & self.exempt.keys() - self.counted:
            self.exempt[of] += self.held[of]
        self.held.clear()
        # Whoever makes them anew reads it.
        self.counted |= self.late


@dataclass
class Truth:
    world: "World"
    known: int = 0  # the place in the policies' history of the youngest change that was acknowledged
    holds: dict[str, Held] = field(default_factory=dict)
    charges: dict[str, Charge] = field(default_factory=dict)
    caps: list[tuple[int, int]] = field(default_factory=list)  # of the key, since when
    releasing: list[str] = field(default_factory=list)  # what callers are giving up at this moment

    def __post_init__(self) -> None:
        self.caps.append((-1, self.world.sql.policy.key.cap))

    # --- what happens ------------------------------------------------------------------------------------------------

    def decided(self, snapshot: Snapshot, known: int) -> None:
        since = [policy.snapshot() for policy in self.world.sql.history[known:]]
        must(
            snapshot in since,
            "5: a verify was decided by a state older than an acknowledged change",
            snapshot,
            since,
        )

    def allowed(self, reservation: "Reservation", caps: dict[Counter, int]) -> None:
        for each, cap in caps.items():
            taken = self._taken(each)
            fits = taken < cap and taken + reservation.estimate <= cap
            must(fits, "4: a call was allowed beyond the cap", each, taken, reservation.estimate, cap)
        if reservation.request_id in self.charges:
            return  # what it holds will never be charged
        deadline = self.world.now + LEASE
        self.holds[reservation.request_id] = Held(reservation.estimate, deadline, tuple(caps))

    def capped(self) -> None:
        self.caps.append((self.world.now, self.world.sql.policy.key.cap))

    def committed(self, entry: Entry) -> None:
        if entry.request_id in self.charges:
            return
        hold = self.holds.pop(entry.request_id, None)
        held: dict[Counter, int] = {}
        if hold is not None and not self._is_over(hold, entry.request_id):
            held = dict.fromkeys(hold.counters, min(hold.estimate, entry.amount))
        self.charges[entry.request_id] = Charge(entry, held, self._later(entry))

    def corrected(self, entry: Entry) -> None:
        self.charges[entry.request_id] = Charge(entry)

    def counted(self, entry: Entry) -> None:
        self.charges[entry.request_id].counted.update(entry.counters)

    def healed(self, entries: Iterable[Entry], counters: Iterable[Counter]) -> None:
        for entry in entries:
            self.charges[entry.request_id].counted.update(counters)

    def settled(self, request_id: str, amount: int) -> None:
        recorded = self.charges[request_id].entry.amount
        must(amount == recorded, "3: a repeated settle reported another amount", request_id, amount, recorded)

    @contextmanager
    def given_up(self, request_id: str) -> Iterator[None]:
        """While its caller releases a hold, and ever after, the caller has no claim to it."""
        self.releasing.append(request_id)
        if request_id in self.holds:
            self.holds[request_id].given_up = True
        try:
            yield
        finally:
            self.releasing.remove(request_id)

    def extended(self, request_id: str) -> None:
        if request_id in self.holds:
            hold = self.holds[request_id]
            hold.deadline = max(hold.deadline, self.world.now + LEASE)

    def given_back(self, request_id: str) -> None:
        charge = self.charges.get(request_id)
        must(charge is None or not charge.held, "4: a settled hold gave its money back", request_id)
        hold = self.holds.pop(request_id, None)
        over = hold is None or self._is_over(hold, request_id)
        must(over, "4: a hold was closed within its lease", request_id)

    def lost_redis(self) -> None:
        self.holds.clear()
        for charge in self.charges.values():
            charge.lose_redis()

    # --- what must hold ----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """After every step."""
        for scope in SCOPES:
            self._check_sums(scope)
        for each, balance in self.world.redis.balances.items():
            self._check_cap(each)
            self._check_balance(each, balance)

    def spend(self, of: Counter) -> int:
        spent = sum(charge.entry.amount for charge in self.charges.values() if of in charge.entry.counters)
        return spent + self._opening(of, self.charges.values())

    def _opening(self, of: Counter, charges: Iterable[Charge]) -> int:
        """What these charges leave to a window of those before it, one after the other."""
        if not self.world.rolls or of.window_start is None:
            return 0
        spent: dict[int | None, int] = defaultdict(int)
        for charge in charges:
            for each in charge.entry.counters:
                if each.scope == of.scope:
                    spent[each.window_start] += charge.entry.amount
        carried = 0
        for start in range(0, of.window_start, WINDOW):
            carried = max(0, carried + spent[start] - self._cap(start + WINDOW))
        return carried

    def _cap(self, end: int) -> int:
        """The key's when a window passed."""
        return next(cap for since, cap in reversed(self.caps) if since < end)

    def _later(self, entry: Entry) -> frozenset[Counter]:
        if not self.world.rolls:
            return frozenset()
        return frozenset(
            of
            for of in self.world.redis.balances
            for each in entry.counters
            if of.scope == each.scope and (of.window_start or 0) > (each.window_start or 0)
        )

    def _check_sums(self, scope: Scope) -> None:
        sql, now = self.world.sql, counter(scope, self.world.now)
        lifetime = sum(charge.entry.amount for charge in self.charges.values() if scope in charge.entry.scopes)
        must(sql.lifetime_spend(scope) == lifetime, "3: the lifetime spend is not the sum of the charges", scope)
        must(sql.current_spend(now) == self.spend(now), "3: the current spend is not the sum of the charges", now)

    def _check_cap(self, of: Counter) -> None:
        """The promise to the letter; what counters may let through (below) is the same, seen from Redis."""
        policies = self.world.sql.history
        cap = max(each.key.cap if of.scope == KEY else each.teams[of.scope].cap for each in policies)
        exempt = sum(charge.exempt.get(of, 0) for charge in self.charges.values())
        total = self.spend(of) + self._open(of)
        cap = max(cap, self._opening(of, self.charges.values()))
        must(total <= cap + exempt, "4: charges and open holds pass the cap", of, total, cap, exempt)

    def _check_balance(self, of: Counter, balance: Balance) -> None:
        holds = self.world.redis.holds
        held = sum(hold.estimate for hold in holds.values() if hold.state is State.OPEN and of in hold.counters)
        must(balance.held == held, "4: held is not the sum of the open holds", of, balance, held)
        charged = [self.charges[name].entry for name, hold in holds.items() if hold.state is State.CHARGED]
        applied = sum(max(entry.amount, 0) for entry in charged if of in entry.counters)
        must(balance.applied <= applied, "3: a charge was applied twice", of, balance, applied)
        if not balance.seeded:
            return
        taken = self._taken(of)
        must(
            balance.used + balance.held >= taken, "4: a counter lets more through than is left", of, balance, taken
        )
        if of == self.world.sql.stored(of.scope):
            unheard = {entry.request_id for entry in self._unheard(of)}
            waiting = {entry.request_id for entry in self.world.sql.unfolded_rows()}
            must(
                unheard <= waiting, "4: a row is folded that its counter was never told of", of, unheard - waiting
            )
        if balance.applied == balance.confirmed:
            spend = self.spend(of) - self._unheard_refunds(of)
            must(balance.used <= spend, "4: a counter is confirmed beyond what was spent", of, balance, spend)

    def _unheard_refunds(self, of: Counter) -> int:
        return sum(min(entry.amount, 0) for entry in self._unheard(of))

    def _unheard(self, of: Counter) -> list[Entry]:
        """What counts in it, and it has not been told of."""
        charges = self.charges.values()
        return [
            each.entry
            for each in charges
            if (of in each.entry.counters and of not in each.counted) or not each.has_told(of)
        ]

    def _taken(self, of: Counter) -> int:
        """The least that is taken of a cap: what nobody may give to somebody else."""
        told = [each for each in self.charges.values() if each.has_told(of) or each.entry.amount < 0]
        taken = self._open(of) + self._opening(of, told)
        for charge in self.charges.values():
            amount = charge.entry.amount if of in charge.entry.counters else 0
            if of in charge.counted or amount < 0:
                taken += amount
            elif amount:
                taken += charge.held.get(of, 0)
        return taken

    def _open(self, of: Counter) -> int:
        return sum(hold.estimate for hold in self.holds.values() if of in hold.counters)

    def _is_over(self, hold: Held, request_id: str) -> bool:
        """Its lease has ended, or its caller gave it up."""
        return hold.deadline < self.world.now or hold.given_up or request_id in self.releasing

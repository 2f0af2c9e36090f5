"""Calls on balances in a real Redis, each counting in what it is told to."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from app.domain.limits import Account, Budget, Plan, Rate, Slots
from app.domain.scopes import Scope, ScopeKind
from app.store.balances import Balances, Call, Closing
from app.store.connection import HotRedis
from app.store.outcomes import Held, Outcome
from tests.clocks import START

LEASE = timedelta(minutes=10)
LONGEST_LEASE = timedelta(hours=1)
KEY = Account(Scope(ScopeKind.KEY, "k"))
TEAM = Account(Scope(ScopeKind.TEAM, "t"))


def opened(redis: HotRedis, **options: float) -> Balances:
    return Balances(redis, longest_lease_seconds=LONGEST_LEASE.total_seconds(), **options)


def call(
    *budgets: Budget,
    request: str = "r",
    amount: int = 1,
    tokens: int = 0,
    rates: Sequence[Rate] = (),
    slots: Sequence[Slots] = (),
    now: datetime = START,
    deadline: datetime | None = None,
) -> Call:
    accounts = tuple(budget.account for budget in budgets)
    return Call(
        key_id="k",
        request_id=request,
        plan=Plan(accounts, budgets, tuple(rates), tuple(slots)),
        amount_nanos=amount,
        tokens=tokens,
        now=now,
        deadline=deadline or now + LEASE,
        reservation=f"reservation of {request}",
    )


def seed(balances: Balances, spends: dict[Account, int]) -> None:
    notes = balances.note(list(spends), create=True)
    balances.set([(note, spends[note.account]) for note in notes])


def held(balances: Balances, asked: Call) -> Held:
    """The hold of a call that must be allowed."""
    outcome = balances.hold(asked, None)
    assert isinstance(outcome, Held), outcome
    return outcome


def numbers(balances: Balances, *accounts: Account) -> list[tuple[int, int]]:
    """What is used and held of these accounts."""
    plan = Plan(accounts, tuple(Budget(account, 1) for account in accounts), (), ())
    found = balances.look(plan, START)
    return list(zip(found.used, found.held, strict=True))


def charge(balances: Balances, request: str, amount: int, *accounts: Account, tokens: int | None = None) -> str:
    """Close the hold of a call as the one does who has written its charge."""
    (state,) = balances.close([Closing("k", request, amount, tokens, accounts)])
    return state


def charge_again(balances: Balances, request: str, amount: int) -> str:
    """Close it as those do who have found the charge in the ledger."""
    (state,) = balances.close([Closing("k", request, amount)])
    return state


def release(balances: Balances, request: str) -> str:
    (state,) = balances.close([Closing("k", request)])
    return state


def outcomes(balances: Balances, asked: Call, requests: Sequence[str]) -> list[type[Outcome]]:
    return [type(balances.hold(replace(asked, request_id=request), None)) for request in requests]

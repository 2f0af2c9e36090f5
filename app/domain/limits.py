"""What a call counts in, and whether there is room for it.

A call is charged to every account of its key, capped or not: those of the key, its team, its owner, the membership
and the organization, and those that a budget for one model or for a further window opens. Where a cap or a rate
stands, it is checked as well. A key's own limit stands in the place of its tier's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.domain import money
from app.domain.increases import temporary_increase
from app.domain.scopes import Scope, ScopeKind
from app.domain.snapshots import Row, Snapshot
from app.domain.teams import member_id
from app.domain.windows import Calendar, Window


@dataclass(frozen=True, slots=True)
class Account:
    """A scope in one of its windows, or without one: what a charge counts in.

    `armed_at` is when it got its window, or lost it: what was counted before is another account. None: never.
    """

    scope: Scope
    window: Window | None = None
    armed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    account: Account
    cap_nanos: int


# No row is made for these before they are used; until one was armed later, they run since the key exists.
_OPENED_BY_USE = frozenset({ScopeKind.KEY_MODEL, ScopeKind.KEY_WINDOW})


class Unit(StrEnum):
    REQUESTS = "requests"
    TOKENS = "tokens"


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests or tokens in a calendar minute."""

    scope: Scope
    unit: Unit
    limit: int


@dataclass(frozen=True, slots=True)
class Slots:
    """So many calls at once."""

    scope: Scope
    limit: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that one call counts in, and every limit that it must keep, in the order of their checks."""

    accounts: tuple[Account, ...]
    budgets: tuple[Budget, ...]
    rates: tuple[Rate, ...]
    slots: tuple[Slots, ...]


@dataclass(frozen=True, slots=True)
class Numbers:
    """How full the limits of a plan are, in its order; a `confirmed` counter is as the ledger has it.

    `frees_at` is when the first of the calls in a plan's slots is over by time alone.
    """

    used: Sequence[int]
    held: Sequence[int]
    confirmed: Sequence[bool]
    rates: Sequence[int]
    slots: Sequence[int]
    frees_at: Sequence[datetime | None]


def admits(used: int, held: int, amount: int, cap: int) -> bool:
    """The one rule of budgets and rates: something is left, and the amount fits into it."""
    return used + held < cap and used + held + amount <= cap


def plan(
    snapshot: Snapshot, model: str | None, calendar: Calendar, now: datetime, *, user_budget_always: bool = True
) -> Plan:
    """What a call of `model` at `now` counts in.

    `user_budget_always` holds the owner's budget against the keys of teams too, and not only against its own.
    """
    entries = tuple(_entries(snapshot, model, calendar, now))
    ignored = ScopeKind.USER if snapshot.key["team_id"] is not None and not user_budget_always else None
    return Plan(
        accounts=tuple(account for account, _ in entries),
        budgets=tuple(
            Budget(account, cap) for account, cap in entries if cap is not None and account.scope.kind != ignored
        ),
        rates=tuple(_rates(snapshot, model)),
        slots=tuple(
            Slots(scope, limits["max_parallel_requests"])
            for scope, limits in _holders(snapshot)
            if limits["max_parallel_requests"] is not None
        ),
    )


def further_accounts(model_max_budget: Mapping[str, Any], budget_limits: Any) -> dict[tuple[ScopeKind, str], Any]:
    """The further accounts that a key's settings open, each with the spelling of its window, None without one."""
    subs: dict[tuple[ScopeKind, str], Any] = {
        (ScopeKind.KEY_MODEL, model): _period(budget) for model, budget in model_max_budget.items()
    }
    for limit in budget_limits or ():
        subs[ScopeKind.KEY_WINDOW, limit["budget_duration"]] = limit["budget_duration"]
    return subs


def tier_rates(own: Row, tier: Row | None) -> dict[str, Any]:
    """The rates of something linked to a tier: its own, else the tier's."""
    return {
        name: own[name] if own[name] is not None or tier is None else tier[name]
        for name in ("max_parallel_requests", "tpm_limit", "rpm_limit")
    }


# --- budgets -----------------------------------------------------------------------------------------------------


def _entries(
    snapshot: Snapshot, model: str | None, calendar: Calendar, now: datetime
) -> Iterator[tuple[Account, int | None]]:
    """Every account with its cap, the nearest to the key first."""

    def account(kind: ScopeKind, identity: str, spelling: str | None, sub: str = "") -> Account:
        scope = Scope(kind, identity, sub)
        armed_at = snapshot.armed_at.get((kind, sub))
        if armed_at is None and kind in _OPENED_BY_USE:
            armed_at = snapshot.key["created_at"]
        return Account(scope, calendar.running(spelling, armed_at, now), armed_at)

    key, tier = snapshot.key, snapshot.tier
    key_id = key["key_id"]
    yield account(ScopeKind.KEY, key_id, _own_or(key, tier, "budget_duration")), key_cap(snapshot, now)
    budgets = {**(tier["model_max_budget"] if tier else {}), **key["model_max_budget"]}
    name = _of_model(budgets, model)
    if name is not None:
        limit = _limit(budgets[name])
        yield account(ScopeKind.KEY_MODEL, key_id, _period(budgets[name]), name), limit
    for limit in key["budget_limits"] or ():
        spelling = limit["budget_duration"]
        cap = money.nanos(money.decimal(limit["max_budget"], "budget_limits"), "budget_limits")
        yield account(ScopeKind.KEY_WINDOW, key_id, spelling, spelling), cap
    if key["team_id"] is not None:
        team = snapshot.team or {}
        yield account(ScopeKind.TEAM, key["team_id"], team.get("budget_duration")), team.get("max_budget_nanos")
        if key["user_id"] is not None:
            shared = snapshot.member_tier
            member = member_id(key["team_id"], key["user_id"])
            yield account(ScopeKind.MEMBER, member, _spelling(shared)), tier_cap(shared, now)
    if snapshot.organization_id is not None:
        shared = snapshot.organization_tier
        whole = account(ScopeKind.ORGANIZATION, snapshot.organization_id, _spelling(shared))
        yield whole, tier_cap(shared, now)
    if key["user_id"] is not None:
        user = snapshot.user or {}
        yield account(ScopeKind.USER, key["user_id"], user.get("budget_duration")), user.get("max_budget_nanos")


def key_cap(snapshot: Snapshot, now: datetime) -> int | None:
    """The key's cap, its own or its tier's, raised by the temporary increases that run now."""
    return own_cap(snapshot.key, snapshot.tier, now)


def own_cap(key: Row, tier: Row | None, now: datetime) -> int | None:
    """As `key_cap`, of the rows of a key and of its tier."""
    cap: int | None = key["max_budget_nanos"]
    if cap is None:
        cap = tier_cap(tier, now)
    return None if cap is None else _raised(cap, temporary_increase(key["metadata"], now))


def tier_cap(tier: Row | None, now: datetime) -> int | None:
    """The cap of a tier, raised by its temporary increase while that runs."""
    if tier is None or tier["max_budget_nanos"] is None:
        return None
    ends_at = tier["temp_budget_expiry"]
    runs = ends_at is not None and ends_at > now
    return _raised(tier["max_budget_nanos"], (tier["temp_budget_increase_nanos"] or 0) if runs else 0)


def _raised(cap: int, increase: int) -> int:
    # The ceiling keeps every number that Redis compares exact.
    return min(cap + increase, money.MAXIMUM_NANOS)


def _spelling(tier: Row | None) -> str | None:
    return None if tier is None else tier["budget_duration"]


def _own_or(own: Row, tier: Row | None, name: str) -> Any:
    return own[name] if own[name] is not None or tier is None else tier[name]


def _of_model(entries: Mapping[str, Any], model: str | None) -> str | None:
    """The entry that names this model, with its provider or without."""
    if model is None:
        return None
    if model in entries:
        return model
    bare = model.rpartition("/")[2]
    return bare if bare in entries else None


def _limit(budget: Mapping[str, Any]) -> int | None:
    limit = budget.get("budget_limit", budget.get("max_budget"))
    return None if limit is None else money.nanos(money.decimal(limit, "model_max_budget"), "model_max_budget")


def _period(budget: Mapping[str, Any]) -> str | None:
    period: str | None = budget.get("time_period", budget.get("budget_duration"))
    return period


# --- rates -------------------------------------------------------------------------------------------------------


def _holders(snapshot: Snapshot) -> Iterator[tuple[Scope, Mapping[str, Any]]]:
    """Whoever has rates of its own, with these."""
    key = snapshot.key
    yield Scope(ScopeKind.KEY, key["key_id"]), tier_rates(key, snapshot.tier)
    if snapshot.user is not None:
        yield Scope(ScopeKind.USER, key["user_id"]), snapshot.user
    if snapshot.team is not None:
        yield Scope(ScopeKind.TEAM, key["team_id"]), snapshot.team
        if snapshot.member_tier is not None:
            yield Scope(ScopeKind.MEMBER, member_id(key["team_id"], key["user_id"])), snapshot.member_tier
    if snapshot.organization is not None and snapshot.organization_tier is not None:
        yield Scope(ScopeKind.ORGANIZATION, snapshot.organization["organization_id"]), snapshot.organization_tier


def _rates(snapshot: Snapshot, model: str | None) -> Iterator[Rate]:
    for scope, limits in _holders(snapshot):
        yield from _both(scope, limits["rpm_limit"], limits["tpm_limit"])
    if model is None:
        return
    key_id, tier = snapshot.key["key_id"], snapshot.tier
    budgets = {**(tier["model_max_budget"] if tier else {}), **snapshot.key["model_max_budget"]}
    for unit, folded, name in (
        (Unit.REQUESTS, "model_rpm_limit", "rpm_limit"),
        (Unit.TOKENS, "model_tpm_limit", "tpm_limit"),
    ):
        own = _per_model(snapshot.key["metadata"], folded)
        found = _of_model(own, model)
        if found is not None:
            yield Rate(Scope(ScopeKind.KEY_MODEL, key_id, found), unit, own[found])
        elif (entry := _of_model(budgets, model)) is not None and budgets[entry].get(name) is not None:
            yield Rate(Scope(ScopeKind.KEY_MODEL, key_id, entry), unit, budgets[entry][name])
        for kind, row, identity in (
            (ScopeKind.TEAM_MODEL, snapshot.team, "team_id"),
            (ScopeKind.ORGANIZATION_MODEL, snapshot.organization, "organization_id"),
        ):
            shared = {} if row is None else _per_model(row["metadata"], folded)
            found = _of_model(shared, model)
            if row is not None and found is not None:
                yield Rate(Scope(kind, row[identity], found), unit, shared[found])


def _per_model(metadata: Mapping[str, Any], name: str) -> dict[str, int]:
    """The rates per model in free-form metadata; what is no rate limits nothing."""
    found = metadata.get(name)
    if not isinstance(found, Mapping):
        return {}
    return {model: rate for model, rate in found.items() if isinstance(rate, int) and not isinstance(rate, bool)}


def _both(scope: Scope, requests: int | None, tokens: int | None) -> Iterator[Rate]:
    if requests is not None:
        yield Rate(scope, Unit.REQUESTS, requests)
    if tokens is not None:
        yield Rate(scope, Unit.TOKENS, tokens)

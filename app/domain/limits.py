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
from app.domain.further_budgets import counting, entry_of
from app.domain.increases import temporary_increase
from app.domain.rollover import Terms
from app.domain.scopes import Scope, ScopeKind
from app.domain.snapshots import Row, Snapshot
from app.domain.teams import member_id
from app.domain.windows import Calendar, Window


@dataclass(frozen=True, slots=True)
class Account:
    """A scope in one of its windows, or without one: what a charge counts in.

    `armed_at` is when it got its window, or lost it: what was counted before is another account. None: never.
    `terms` are those of one whose windows carry on what they spend beyond their cap.
    """

    scope: Scope
    window: Window | None = None
    armed_at: datetime | None = None
    terms: Terms | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    account: Account
    cap_nanos: int


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
    of_team = snapshot.key["team_id"] is not None
    ignored = {ScopeKind.USER, ScopeKind.USER_MODEL} if of_team and not user_budget_always else set()
    return Plan(
        accounts=tuple(account for account, _ in entries),
        budgets=tuple(
            Budget(account, cap)
            for account, cap in entries
            if cap is not None and account.scope.kind not in ignored
        ),
        rates=tuple(_rates(snapshot, model)),
        slots=tuple(
            Slots(scope, limits["max_parallel_requests"])
            for scope, limits in _holders(snapshot)
            if limits["max_parallel_requests"] is not None
        ),
    )


def tier_rates(own: Row, tier: Row | None) -> dict[str, Any]:
    """The rates of something linked to a tier: its own, else the tier's."""
    return {
        name: own[name] if own[name] is not None or tier is None else tier[name]
        for name in ("max_parallel_requests", "tpm_limit", "rpm_limit")
    }


# --- budgets -----------------------------------------------------------------------------------------------------


_Entry = tuple[Account, int | None]


def _entries(snapshot: Snapshot, model: str | None, calendar: Calendar, now: datetime) -> Iterator[_Entry]:
    """Every account with its cap, the nearest to the key first."""

    def account(scope: Scope, terms: Terms, since: datetime | None = None) -> Account:
        named = (scope.kind, scope.sub)
        armed_at = snapshot.armed_at.get(named) or since
        return account_at(scope, terms, armed_at, calendar, now, snapshot.windows.get(named))

    def further(holder: Scope, row: Row | None) -> Iterator[_Entry]:
        if row is not None:
            for budget in counting(holder, row, model):
                yield account(budget.scope, budget.terms, row["created_at"]), budget.terms.cap_nanos

    key, tier = snapshot.key, snapshot.tier
    whole = Scope(ScopeKind.KEY, key["key_id"])
    yield account(whole, own_terms(key, tier)), key_cap(snapshot, now)
    yield from further(whole, {**key, "model_max_budget": model_budgets(key, tier)})
    if key["team_id"] is not None:
        team, whole = snapshot.team or {}, Scope(ScopeKind.TEAM, key["team_id"])
        yield account(whole, terms_of(team)), team.get("max_budget_nanos")
        yield from further(whole, snapshot.team)
        if key["user_id"] is not None:
            shared = snapshot.member_tier
            whole = Scope(ScopeKind.MEMBER, member_id(key["team_id"], key["user_id"]))
            yield account(whole, terms_of(shared)), tier_cap(shared, now)
    if snapshot.organization_id is not None:
        shared = snapshot.organization_tier
        whole = Scope(ScopeKind.ORGANIZATION, snapshot.organization_id)
        yield account(whole, terms_of(shared)), tier_cap(shared, now)
    if key["user_id"] is not None:
        user, whole = snapshot.user or {}, Scope(ScopeKind.USER, key["user_id"])
        yield account(whole, terms_of(user)), user.get("max_budget_nanos")
        yield from further(whole, snapshot.user)


def account_at(
    scope: Scope,
    terms: Terms,
    armed_at: datetime | None,
    calendar: Calendar,
    now: datetime,
    stored: Window | None = None,
) -> Account:
    """The account in its window of `now`, after the one that is stored or was known before."""
    window = calendar.running(terms.spelling, armed_at, now, stored)
    # A window that can be computed has a spelling that can be read.
    return Account(scope, window, armed_at, terms if window is not None and terms.roll(calendar) else None)


def own_terms(key: Row, tier: Row | None) -> Terms:
    """By what a key runs, without what is added for a time: its own, else its tier's."""
    return Terms(_own_or(key, tier, "budget_duration"), _own_or(key, tier, "max_budget_nanos"))


def terms_of(row: Row | None) -> Terms:
    """By what a team, a user or whatever has only a tier runs, by its row or the tier's."""
    return Terms() if row is None else Terms(row.get("budget_duration"), row.get("max_budget_nanos"))


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


def _own_or(own: Row, tier: Row | None, name: str) -> Any:
    return own[name] if own[name] is not None or tier is None else tier[name]


def model_budgets(key: Row, tier: Row | None) -> dict[str, Any]:
    """The budgets for models that hold for a key: its own, and its tier's for other models."""
    return {**(tier["model_max_budget"] if tier else {}), **key["model_max_budget"]}


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
    for unit, folded, name in (
        (Unit.REQUESTS, "model_rpm_limit", "rpm_limit"),
        (Unit.TOKENS, "model_tpm_limit", "tpm_limit"),
    ):
        for kind, identity, metadata, budgets in _of_models(snapshot):
            own = _per_model(metadata, folded)
            found = entry_of(own, model)
            if found is not None:
                yield Rate(Scope(kind, identity, found), unit, own[found])
            elif (entry := entry_of(budgets, model)) is not None and budgets[entry].get(name) is not None:
                yield Rate(Scope(kind, identity, entry), unit, budgets[entry][name])


def _of_models(snapshot: Snapshot) -> Iterator[tuple[ScopeKind, str, Mapping[str, Any], Mapping[str, Any]]]:
    """Whoever may have rates for models: in its metadata and, for other models, in its budgets for models."""
    key, team, user, organization = snapshot.key, snapshot.team, snapshot.user, snapshot.organization
    yield ScopeKind.KEY_MODEL, key["key_id"], key["metadata"], model_budgets(key, snapshot.tier)
    if team is not None:
        yield ScopeKind.TEAM_MODEL, team["team_id"], team["metadata"], team["model_max_budget"]
    if organization is not None:
        identity = organization["organization_id"]
        yield ScopeKind.ORGANIZATION_MODEL, identity, organization["metadata"], {}
    if user is not None:
        yield ScopeKind.USER_MODEL, key["user_id"], {}, user["model_max_budget"]


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

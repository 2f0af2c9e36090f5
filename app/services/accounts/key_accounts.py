"""The accounts of keys that are changed: their windows, their further budgets, and what is set as spent."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from app.domain.further_budgets import further_accounts
from app.domain.rollover import Terms
from app.domain.scopes import Scope, ScopeKind
from app.domain.windows import Calendar
from app.services.accounts import account_rows, accounts, rollover
from app.services.audit.audit import Act
from app.services.keys.key_patches import AllowedPatch
from app.services.ledger import ledger

_Terms = dict[Scope, Terms]
# The spellings of the window before and after, and whether the spend so far is carried into it.
_Change = tuple[str | None, str | None, bool]


def follow(transaction: Connection, act: Act, allowed: Sequence[AllowedPatch], calendar: Calendar) -> None:
    """Arm the windows that change, follow those of further budgets, then set what is sent as spent.

    As many statements as there are different changes of a window, however many keys, and those of each spend.
    Accounts that are changed in several steps are held first.
    """
    moved = _moved_windows(allowed)
    before, after = _further(allowed)
    corrected = [each for each in allowed if each.spend_nanos is not None]
    held = {*before, *after, *(scope for scopes in moved.values() for scope in scopes)}
    held |= {each.before.account.scope for each in corrected}
    if len(held) > 1 and len(moved) + bool(before or after) + len(corrected) > 1:
        account_rows.lock(transaction, account_rows.among(transaction, held))
    for (running, spelling, carries), scopes in moved.items():
        which = account_rows.among(transaction, scopes)
        accounts.rearm(
            transaction,
            which,
            before=running,
            after=spelling,
            calendar=calendar,
            now=act.at,
            carry_spend=carries,
        )
    accounts.replace_further(transaction, before, after, calendar, act.at)
    for each in corrected:
        _correct(transaction, act, each, calendar)


def roll(transaction: Connection, act: Act, allowed: Sequence[AllowedPatch], calendar: Calendar) -> None:
    """Move what has passed by the caps that are about to change; no statement where nothing rolls over.

    Where anything moves, the accounts that are to `follow` are held with it.
    """
    rolling = [each.before.key_id for each in allowed if rollover.concerns(each.columns, each.running, calendar)]
    if rolling:
        rollover.move_passed(
            transaction,
            rollover.of_holders(ScopeKind.KEY, rolling),
            calendar,
            act.at,
            beside=account_rows.of_keys(each.before.key_id for each in allowed),
        )


def _moved_windows(allowed: Sequence[AllowedPatch]) -> dict[_Change, list[Scope]]:
    """The accounts whose window becomes another, by the change."""
    moved: dict[_Change, list[Scope]] = {}
    for each in allowed:
        if each.running != each.spelling:
            moved.setdefault((each.running, each.spelling, each.carries), []).append(each.before.account.scope)
        if {"budget_id", "model_max_budget"} & each.columns.keys():
            for scope, (before, after) in _of_tiers(each).items():
                moved.setdefault((before, after, False), []).append(scope)
    return moved


def _of_tiers(each: AllowedPatch) -> dict[Scope, tuple[str | None, str | None]]:
    """The accounts for models that run by a tier, before or after, by another spelling than before.

    As where the tier itself is changed, an entry of the key's own goes before the tier's. One that it gets opens
    an account anew, and is followed as such.
    """
    own_before, own_after = each.before.columns["model_max_budget"], each.after["model_max_budget"]
    tier_before, tier_after = _models_of(each.before.tier), _models_of(each.tier)
    earlier = _spellings(each, {**tier_before, **own_before})
    later = _spellings(each, {**tier_after, **own_after})
    of_tiers = _spellings(each, {**tier_before, **tier_after}).keys() - _spellings(each, own_after).keys()
    changes = {scope: (earlier.get(scope), later.get(scope)) for scope in of_tiers}
    return {scope: (running, spelling) for scope, (running, spelling) in changes.items() if running != spelling}


def _models_of(tier: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return {} if tier is None else tier["model_max_budget"]


def _spellings(each: AllowedPatch, models: Mapping[str, Any]) -> dict[Scope, str | None]:
    found = further_accounts(Scope(ScopeKind.KEY, each.before.key_id), {"model_max_budget": models})
    return {scope: terms.spelling for scope, terms in found.items()}


def _further(allowed: Sequence[AllowedPatch]) -> tuple[_Terms, _Terms]:
    """The budgets for models and for further windows, before and after, of the keys where these are sent."""
    before: _Terms = {}
    after: _Terms = {}
    for each in allowed:
        if {"model_max_budget", "budget_limits"} & each.columns.keys():
            before |= each.before.further_accounts
            after |= replace(each.before, columns=each.after).further_accounts
    return before, after


def _correct(transaction: Connection, act: Act, each: AllowedPatch, calendar: Calendar) -> None:
    """Set the spend, in the window that the key has after the change."""
    account = each.before.account
    if each.running != each.spelling:
        account = accounts.armed_account(account.scope, each.spelling, calendar, act.at)
    ledger.correct(transaction, act, account, each.spend_nanos or 0, {"key_id": each.before.key_id}, calendar)

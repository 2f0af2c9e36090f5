"""What a change of a key means for its accounts: it is capped by columns of its own, and else by its tier."""

from collections.abc import Mapping
from typing import Any

from app.domain.further_budgets import further_accounts
from app.domain.scopes import Scope, ScopeKind
from app.services.accounts.holder_accounts import HolderChange
from app.services.keys.key_patches import AllowedPatch


def change_of(allowed: AllowedPatch) -> HolderChange:
    """As what the accounts of the key follow the patch."""
    return HolderChange(
        allowed.before.account,
        {**allowed.before.columns, "budget_duration": allowed.running},
        {**allowed.after, "budget_duration": allowed.spelling},
        allowed.spend_nanos,
        allowed.carries,
        _of_tiers(allowed) if {"budget_id", "model_max_budget"} & allowed.columns.keys() else {},
    )


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

"""Budgets beside the one of their holder: for calls of one model, and in further windows.

Each counts in an account of its own. No row is made for that before it is used; until one is armed later, it runs
since its holder exists.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.domain import money
from app.domain.budgets import MODEL_LIMIT_NAMES, MODEL_PERIOD_NAMES
from app.domain.rollover import Terms
from app.domain.scopes import Scope, ScopeKind
from app.domain.snapshots import Row

# The kind of the accounts for models, and for further windows, by that of their holder.
OF_MODELS: Mapping[ScopeKind, ScopeKind] = {
    ScopeKind.KEY: ScopeKind.KEY_MODEL,
    ScopeKind.TEAM: ScopeKind.TEAM_MODEL,
    ScopeKind.USER: ScopeKind.USER_MODEL,
}
OF_WINDOWS: Mapping[ScopeKind, ScopeKind] = {
    ScopeKind.KEY: ScopeKind.KEY_WINDOW,
    ScopeKind.TEAM: ScopeKind.TEAM_WINDOW,
}


@dataclass(frozen=True, slots=True)
class FurtherBudget:
    """Its window's spelling and its cap: without that it is charged and holds nothing back."""

    scope: Scope
    terms: Terms


def counting(holder: Scope, settings: Row, model: str | None) -> Iterator[FurtherBudget]:
    """Those that a call of this model counts in; `settings` are the columns of the holder."""
    name = entry_of(settings["model_max_budget"], model)
    yield from _of_models(holder, settings, () if name is None else (name,))
    yield from _of_windows(holder, settings)


def further_accounts(holder: Scope, settings: Row) -> dict[Scope, Terms]:
    """The scopes of all of them, each with its terms; what `settings` lack is not set."""
    found = [*_of_models(holder, settings, settings.get("model_max_budget", ())), *_of_windows(holder, settings)]
    return {budget.scope: budget.terms for budget in found}


def entry_of(entries: Mapping[str, Any], model: str | None) -> str | None:
    """The entry that names this model, with its provider or without."""
    if model is None:
        return None
    if model in entries:
        return model
    bare = model.rpartition("/")[2]
    return bare if bare in entries else None


def _of_models(holder: Scope, settings: Row, models: Iterable[str]) -> Iterator[FurtherBudget]:
    for model in models:
        budget = settings["model_max_budget"][model]
        limit = _first(budget, MODEL_LIMIT_NAMES)
        cap = None if limit is None else money.nanos(money.decimal(limit, "model_max_budget"), "model_max_budget")
        yield FurtherBudget(
            Scope(OF_MODELS[holder.kind], holder.id, model),
            Terms(_first(budget, MODEL_PERIOD_NAMES), cap),
        )


def _first(budget: Mapping[str, Any], names: Iterable[str]) -> Any:
    """What a budget for a model says under the first of these names that is not null."""
    return next((budget[name] for name in names if budget.get(name) is not None), None)


def _of_windows(holder: Scope, settings: Row) -> Iterator[FurtherBudget]:
    for limit in settings.get("budget_limits") or ():
        spelling = limit["budget_duration"]
        cap = money.nanos(money.decimal(limit["max_budget"], "budget_limits"), "budget_limits")
        yield FurtherBudget(Scope(OF_WINDOWS[holder.kind], holder.id, spelling), Terms(spelling, cap))

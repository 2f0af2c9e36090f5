"""Budgets beside the one of their holder: for calls of one model, and in further windows.

Each counts in an account of its own. No row is made for that before it is used; until one is armed later, it runs
since its holder exists.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.domain import money
from app.domain.budgets import MODEL_LIMIT_NAMES, MODEL_PERIOD_NAMES, windows_among
from app.domain.rollover import Terms
from app.domain.scopes import Scope, ScopeKind
from app.domain.snapshots import Row
from app.domain.values import InvalidValue

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
    """The scopes of all of them, each with its terms; what `settings` lack is not set.

    One whose entry cannot be read has an account yet, and no terms.
    """
    found = readable(holder, settings)
    return {scope: _or_none(terms) for scope, terms in found.items()}


def _or_none(terms: Terms | InvalidValue) -> Terms:
    return Terms() if isinstance(terms, InvalidValue) else terms


def readable(holder: Scope, settings: Row) -> dict[Scope, Terms | InvalidValue]:
    """The same, with the reason for which an entry cannot be read; none of a window that says no length."""
    found: dict[Scope, Terms | InvalidValue] = {}
    entries = settings.get("model_max_budget")
    for model, entry in entries.items() if isinstance(entries, Mapping) else ():
        found[Scope(OF_MODELS[holder.kind], holder.id, model)] = _read(_terms_of_model, entry)
    for limit in windows_among(settings.get("budget_limits")):
        scope = Scope(OF_WINDOWS[holder.kind], holder.id, limit["budget_duration"])
        found[scope] = _read(_terms_of_window, limit)
    return found


def _read(terms: Callable[[Any], Terms], entry: Any) -> Terms | InvalidValue:
    try:
        return terms(entry)
    except InvalidValue as error:
        return error


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
        terms = _or_none(_read(_terms_of_model, settings["model_max_budget"][model]))
        yield FurtherBudget(Scope(OF_MODELS[holder.kind], holder.id, model), terms)


def _of_windows(holder: Scope, settings: Row) -> Iterator[FurtherBudget]:
    for limit in windows_among(settings.get("budget_limits")):
        terms = _or_none(_read(_terms_of_window, limit))
        yield FurtherBudget(Scope(OF_WINDOWS[holder.kind], holder.id, limit["budget_duration"]), terms)


def _terms_of_model(entry: Any) -> Terms:
    param = "model_max_budget"
    if not isinstance(entry, Mapping):
        raise InvalidValue(f"{param} must hold objects", param)
    limit = _first(entry, MODEL_LIMIT_NAMES)
    period = _first(entry, MODEL_PERIOD_NAMES)
    if period is not None and not isinstance(period, str):
        raise InvalidValue(f"{param} must hold periods that are texts", param)
    return Terms(period, None if limit is None else money.nanos(money.decimal(limit, param), param))


def _first(budget: Mapping[str, Any], names: Iterable[str]) -> Any:
    """What a budget for a model says under the first of these names that is not null."""
    return next((budget[name] for name in names if budget.get(name) is not None), None)


def _terms_of_window(limit: Mapping[str, Any]) -> Terms:
    param = "budget_limits"
    return Terms(limit["budget_duration"], money.nanos(money.decimal(limit.get("max_budget"), param), param))

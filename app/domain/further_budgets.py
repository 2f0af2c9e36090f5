"""Budgets beside the one of their holder: for calls of one model, and in further windows.

Each counts in an account of its own. No row is made for that before it is used; until one is armed later, it runs
since its holder exists.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain import money, spellings
from app.domain.durations import InvalidDuration
from app.domain.instants import iso
from app.domain.scopes import Scope, ScopeKind
from app.domain.snapshots import Row
from app.domain.windows import Calendar, Window

_OF_MODELS: Mapping[ScopeKind, ScopeKind] = {
    ScopeKind.KEY: ScopeKind.KEY_MODEL,
    ScopeKind.TEAM: ScopeKind.TEAM_MODEL,
    ScopeKind.USER: ScopeKind.USER_MODEL,
}
_OF_WINDOWS: Mapping[ScopeKind, ScopeKind] = {
    ScopeKind.KEY: ScopeKind.KEY_WINDOW,
    ScopeKind.TEAM: ScopeKind.TEAM_WINDOW,
}


@dataclass(frozen=True, slots=True)
class FurtherBudget:
    """`spelling` is that of its window, None without one; without a cap it is charged and holds nothing back."""

    scope: Scope
    spelling: str | None
    cap_nanos: int | None


def counting(holder: Scope, settings: Row, model: str | None) -> Iterator[FurtherBudget]:
    """Those that a call of this model counts in; `settings` are the columns of the holder."""
    name = entry_of(settings["model_max_budget"], model)
    yield from _of_models(holder, settings, () if name is None else (name,))
    yield from _of_windows(holder, settings)


def further_accounts(holder: Scope, settings: Row) -> dict[Scope, str | None]:
    """The scopes of all of them, each with the spelling of its window; what `settings` lack is not set."""
    found = [*_of_models(holder, settings, settings.get("model_max_budget", ())), *_of_windows(holder, settings)]
    return {budget.scope: budget.spelling for budget in found}


def present_windows(settings: Row, calendar: Calendar, now: datetime) -> dict[str, Any]:
    """These settings, each further window with the reset that is next at `now`; None where there is none.

    What is stored is an earlier reset of the same window, from which all others are counted.
    """
    limits = settings["budget_limits"]
    if not limits:
        return dict(settings)
    found = ({**limit, "reset_at": _reset_at(window_of(limit, calendar, now))} for limit in limits)
    return {**settings, "budget_limits": list(found)}


def window_of(limit: Mapping[str, Any], calendar: Calendar, now: datetime) -> Window | None:
    """The present window of an entry of budget_limits; None where its spelling cannot be computed."""
    boundary = limit.get("reset_at")
    if boundary is None:
        return None
    try:
        return calendar.continued(limit["budget_duration"], datetime.fromisoformat(boundary), now)
    except InvalidDuration:
        return None


def shown_windows(limits: Iterable[Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    """The entries of budget_limits as they were sent, each with its reset; what they do not say is left out."""
    if limits is None:
        return None
    return [{**limit, **_said(limit["budget_duration"])} for limit in limits]


def _said(spelling: str) -> dict[str, Any]:
    return {name: part for name, part in spellings.shown(spelling).items() if part is not None}


def _reset_at(window: Window | None) -> str | None:
    return None if window is None else iso(window.end)


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
        limit = budget.get("budget_limit", budget.get("max_budget"))
        yield FurtherBudget(
            Scope(_OF_MODELS[holder.kind], holder.id, model),
            budget.get("time_period", budget.get("budget_duration")),
            None if limit is None else money.nanos(money.decimal(limit, "model_max_budget"), "model_max_budget"),
        )


def _of_windows(holder: Scope, settings: Row) -> Iterator[FurtherBudget]:
    for limit in settings.get("budget_limits") or ():
        spelling = limit["budget_duration"]
        cap = money.nanos(money.decimal(limit["max_budget"], "budget_limits"), "budget_limits")
        yield FurtherBudget(Scope(_OF_WINDOWS[holder.kind], holder.id, spelling), spelling, cap)

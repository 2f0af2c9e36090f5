"""Another window for a tier is another window for everything that is linked to it.

Each account's window is computed by the clock from the moment that it was armed, so a new spelling has to arm them
all in the transaction that stores it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    Text,
    and_,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)

from app.domain.further_budgets import further_accounts
from app.domain.scopes import Scope, ScopeKind
from app.domain.windows import Calendar
from app.models import budget_state, keys, organizations, team_members
from app.services import accounts
from app.services.team_rows import MEMBER_ID


@dataclass(frozen=True, slots=True)
class Rearming:
    """Accounts that run by one spelling and are to run by another; None: without a window."""

    which: ColumnElement[bool]
    before: str | None
    after: str | None


def rearm(transaction: Connection, rearmings: Iterable[Rearming], calendar: Calendar, now: datetime) -> None:
    """Give all of these accounts their other windows, by the rules of `accounts.rearm`; no account is in two.

    Two statements for each that changes anything and one more for several, however many accounts.
    """
    changing = [each for each in rearmings if each.before != each.after]
    if len(changing) > 1:  # in one order for everybody, which the changes by themselves would not keep
        accounts.lock(transaction, or_(*(each.which for each in changing)))
    for each in changing:
        accounts.rearm(transaction, each.which, before=each.before, after=each.after, calendar=calendar, now=now)


def of_linked(budget_id: str, before: str | None, after: str | None) -> Rearming:
    """Of every key without a window of its own, member and organization linked to a tier.

    The caller holds the tier, so that nothing is linked to it meanwhile.
    """
    return Rearming(_linked(budget_id), before, after)


def of_models(
    transaction: Connection, linked: ColumnElement[bool], before: Mapping[str, Any], after: Mapping[str, Any]
) -> list[Rearming]:
    """Of a tier's budgets for models, for all linked keys that have none of their own for them."""
    anybody = Scope(ScopeKind.KEY, "")
    earlier, later = (further_accounts(anybody, {"model_max_budget": budgets}) for budgets in (before, after))
    changed: dict[tuple[str | None, str | None], list[ColumnElement[bool]]] = {}
    for scope in sorted(earlier.keys() | later.keys(), key=attrgetter("sub")):
        change = (earlier.get(scope), later.get(scope))
        changed.setdefault(change, []).append(_of_model(transaction, linked, scope.sub))
    return [Rearming(or_(*which), *change) for change, which in changed.items()]


def of_keys(chosen: ColumnElement[bool]) -> ColumnElement[bool]:
    """The accounts of these keys whose window is the tier's."""
    without_own = select(keys.c.key_id).where(chosen, keys.c.budget_duration.is_(None))
    return _of(ScopeKind.KEY, without_own)


def of_members(budget_id: str) -> ColumnElement[bool]:
    """The accounts of the team members that are linked to a tier."""
    return _of(ScopeKind.MEMBER, select(MEMBER_ID).where(team_members.c.budget_id == budget_id))


def _of(kind: ScopeKind, ids: Select[str]) -> ColumnElement[bool]:
    return and_(budget_state.c.scope == kind.value, budget_state.c.sub == "", budget_state.c.scope_id.in_(ids))


def _of_model(transaction: Connection, linked: ColumnElement[bool], model: str) -> ColumnElement[bool]:
    """The accounts for a model of the keys whose budget for it is the tier's."""
    if transaction.dialect.name == "sqlite":
        entry = func.json_each(keys.c.model_max_budget).table_valued("key")
        has_own: ColumnElement[bool] = select(entry.c.key).where(entry.c.key == model).exists()
    else:
        has_own = keys.c.model_max_budget.op("?", is_comparison=True)(literal(model, Text))
    of_tier = select(keys.c.key_id).where(linked, ~has_own)
    state = budget_state.c
    return and_(state.scope == ScopeKind.KEY_MODEL.value, state.sub == model, state.scope_id.in_(of_tier))


def _linked(budget_id: str) -> ColumnElement[bool]:
    """The accounts whose window is the tier's."""
    named = tuple_(budget_state.c.scope, budget_state.c.scope_id)
    return and_(budget_state.c.sub == "", named.in_(_scopes(budget_id)))


def _scopes(budget_id: str) -> CompoundSelect[Any]:
    """Kind and id of everything whose window is the tier's."""
    return union_all(
        select(literal(ScopeKind.KEY.value), keys.c.key_id).where(
            keys.c.budget_id == budget_id, keys.c.budget_duration.is_(None)
        ),
        select(literal(ScopeKind.MEMBER.value), MEMBER_ID).where(team_members.c.budget_id == budget_id),
        select(literal(ScopeKind.ORGANIZATION.value), organizations.c.organization_id).where(
            organizations.c.budget_id == budget_id
        ),
    )

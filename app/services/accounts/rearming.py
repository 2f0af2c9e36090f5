"""Another window for a tier is another window for everything that is linked to it.

Each account's window is computed by the clock from the moment that it was armed, so a new spelling has to arm them
all in the transaction that stores it: which accounts these are, and how. In what order is for `tier_accounts`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    exists,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)

from app.domain.further_budgets import further_accounts
from app.domain.rollover import Terms
from app.domain.scopes import Scope, ScopeKind
from app.domain.spellings import ROLLS
from app.domain.windows import Calendar
from app.models import budget_state, budgets, keys, organizations, team_members
from app.services.accounts import account_rows, accounts
from app.services.rows.rows import among
from app.services.teams.team_rows import MEMBER_ID

# What `rolls_beside` is called in the row of a tier.
BESIDE = "rolls_beside"
_ROLLS = keys.c.budget_duration.contains(ROLLS, autoescape=True)


def rolls_beside() -> ColumnElement[Any]:
    """Whether keys with a window of their own that rolls over are linked to a tier; read with it."""
    return exists().where(keys.c.budget_id == budgets.c.budget_id, _ROLLS).correlate(budgets).label(BESIDE)


@dataclass(frozen=True, slots=True)
class Rearming:
    """Accounts that run by one spelling and are to run by another; None: without a window.

    They are held with the others of their `family`, where they have one, which all of it have in common.
    """

    which: ColumnElement[bool]
    before: str | None
    after: str | None
    family: ColumnElement[bool] | None = None


def rearm(transaction: Connection, rearmings: Iterable[Rearming], calendar: Calendar, now: datetime) -> None:
    """Give all of these accounts their other windows, by the rules of `accounts.rearm`; no account is in two.

    Two statements for each that changes anything and one more for several, however many accounts.
    """
    changing = [each for each in rearmings if each.before != each.after]
    if len(changing) > 1:  # in one order for everybody, which the changes by themselves would not keep
        held = dict.fromkeys(each.which if each.family is None else each.family for each in changing)
        account_rows.lock(transaction, or_(*held))
    for each in changing:
        accounts.rearm(transaction, each.which, before=each.before, after=each.after, calendar=calendar, now=now)


def of_models(
    transaction: Connection, linked: ColumnElement[bool], before: Mapping[str, Any], after: Mapping[str, Any]
) -> list[Rearming]:
    """Of a tier's budgets for models, for all linked keys that have none of their own for them."""
    anybody = Scope(ScopeKind.KEY, "")
    earlier, later = (further_accounts(anybody, {"model_max_budget": budgets}) for budgets in (before, after))
    changed: dict[tuple[str | None, str | None], list[str]] = defaultdict(list)
    for scope in sorted(earlier.keys() | later.keys(), key=attrgetter("sub")):
        change = (earlier.get(scope, Terms()).spelling, later.get(scope, Terms()).spelling)
        if change[0] != change[1]:
            changed[change].append(scope.sub)
    family = _of_models(transaction, linked, [model for models in changed.values() for model in models])
    return [
        Rearming(_of_models(transaction, linked, models), *change, family) for change, models in changed.items()
    ]


def of_keys(chosen: ColumnElement[bool]) -> ColumnElement[bool]:
    """The accounts of these keys whose window is the tier's."""
    without_own = select(keys.c.key_id).where(chosen, keys.c.budget_duration.is_(None))
    return _of(ScopeKind.KEY, without_own)


def of_all_keys(chosen: ColumnElement[bool]) -> ColumnElement[bool]:
    """The accounts of these keys, whose caps may be the tier's where their windows are not."""
    return _of(ScopeKind.KEY, select(keys.c.key_id).where(chosen))


def of_rolling_keys(chosen: ColumnElement[bool]) -> ColumnElement[bool]:
    """The accounts of those of these keys that have a window of their own that rolls over."""
    return _of(ScopeKind.KEY, select(keys.c.key_id).where(chosen, _ROLLS))


def of_models_of(chosen: ColumnElement[bool]) -> ColumnElement[bool]:
    """The accounts for models of these keys, whosever budgets they are."""
    ids = select(keys.c.key_id).where(chosen)
    return and_(budget_state.c.scope == ScopeKind.KEY_MODEL.value, budget_state.c.scope_id.in_(ids))


def of_others(budget_id: str) -> ColumnElement[bool]:
    """The accounts of the members and organizations that are linked to a tier."""
    named = tuple_(budget_state.c.scope, budget_state.c.scope_id)
    others = union_all(
        select(literal(ScopeKind.MEMBER.value), MEMBER_ID).where(team_members.c.budget_id == budget_id),
        select(literal(ScopeKind.ORGANIZATION.value), organizations.c.organization_id).where(
            organizations.c.budget_id == budget_id
        ),
    )
    return and_(budget_state.c.sub == "", named.in_(others))


def _of(kind: ScopeKind, ids: Select[str]) -> ColumnElement[bool]:
    return and_(budget_state.c.scope == kind.value, budget_state.c.sub == "", budget_state.c.scope_id.in_(ids))


def _of_models(transaction: Connection, linked: ColumnElement[bool], models: Sequence[str]) -> ColumnElement[bool]:
    """The accounts for some models of the keys whose budget for it is the tier's."""
    state = budget_state.c
    if transaction.dialect.name == "sqlite":
        entry = func.json_each(keys.c.model_max_budget).table_valued("key", joins_implicitly=True)
        own: ColumnElement[bool] = entry.c.key == state.sub
    else:
        own = keys.c.model_max_budget.op("?", is_comparison=True)(state.sub)
    has_own = select(keys.c.key_id).where(keys.c.key_id == state.scope_id, own).correlate(budget_state).exists()
    return and_(
        state.scope == ScopeKind.KEY_MODEL.value,
        state.sub.in_(among(transaction, models)),
        state.scope_id.in_(select(keys.c.key_id).where(linked)),
        ~has_own,
    )

"""Another window for a tier: that of everything linked to it, in as many statements for a million as for one.

What `app.services.ledger.rearm` does to one scope, by the same rules. Each scope's window is computed by the clock
from the moment that it was armed, so a new spelling has to arm them all in the transaction that stores it.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection as Transaction
from sqlalchemy import Select, and_, case, func, literal, select, tuple_, union_all, update

from app.domain.windows import Calendar
from app.models import budget_state, keys, organizations, team_members
from app.services.team_rows import MEMBER_ID


def rearm_linked(
    transaction: Transaction,
    budget_id: str,
    *,
    before: str | None,
    after: str | None,
    calendar: Calendar,
    now: datetime,
) -> int:
    """Give every key without a window of its own, member and organization linked to a tier the window `after`.

    A window armed where there was none starts at zero; one that replaces another takes what was spent in it along,
    nothing of one that has passed; without a window the spend so far stays. The same spelling again changes
    nothing. Answers how many accounts were armed anew. The caller holds the tier, so nothing is linked meanwhile.
    """
    if before == after:
        return 0
    chosen = and_(
        budget_state.c.sub == "", tuple_(budget_state.c.scope, budget_state.c.scope_id).in_(_linked(budget_id))
    )
    held = (
        select(budget_state.c.scope)
        .where(chosen)
        .order_by(budget_state.c.scope, budget_state.c.scope_id)
        .with_for_update()
    )
    count: int = transaction.execute(select(func.count()).select_from(held.subquery())).scalar_one()
    if count:
        transaction.execute(update(budget_state).where(chosen).values(_armed(before, after, calendar, now)))
    return count


def _linked(budget_id: str) -> Any:
    """The scopes whose window is the tier's, as pairs of kind and id."""
    members = select(literal("member"), MEMBER_ID).where(team_members.c.budget_id == budget_id)
    return union_all(
        _ids("key", keys.c.key_id, and_(keys.c.budget_id == budget_id, keys.c.budget_duration.is_(None))),
        members,
        _ids("organization", organizations.c.organization_id, organizations.c.budget_id == budget_id),
    )


def _ids(scope: str, column: Any, where: Any) -> Select[Any]:
    return select(literal(scope), column).where(where)


def _armed(before: str | None, after: str | None, calendar: Calendar, now: datetime) -> dict[str, Any]:
    passed = and_(budget_state.c.reset_at.is_not(None), budget_state.c.reset_at <= now)
    spent = 0 if before is None else case((passed, 0), else_=budget_state.c.window_spend_nanos)
    window = None if after is None else calendar.window(after, now, now)
    return {
        "window_spend_nanos": spent,
        "armed_at": None if window is None else now,
        "window_start": None if window is None else window.start,
        "reset_at": None if window is None else window.end,
        "parked_at": None,
    }

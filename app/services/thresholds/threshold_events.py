"""The events of thresholds that were crossed: one for each, in the transaction that found it."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import Connection

from app.domain import payloads
from app.domain.limits import Account
from app.domain.scopes import Scope
from app.domain.thresholds import Crossing, crossings
from app.services.accounts.capped import Capped
from app.services.events import delivery
from app.services.events.delivery import Event


def tell_standing(
    transaction: Connection,
    caps: Mapping[Scope, Capped],
    spent: Iterable[tuple[Account, int | None]],
    now: datetime,
) -> None:
    """Tell what stands crossed of accounts that have spent so much; those without caps are passed over."""
    crossed = (
        (caps[account.scope], crossing)
        for account, spend in spent
        # Without one a later window runs already, of whose charges those who fold them tell.
        if spend is not None and account.scope in caps
        for crossing in crossings(
            account.scope,
            caps[account.scope].caps,
            account.window,
            before=None,
            after=spend,
            now=now,
            since=caps[account.scope].since,
        )
    )
    enqueue(transaction, crossed, now)


def enqueue(transaction: Connection, found: Iterable[tuple[Capped, Crossing]], now: datetime) -> None:
    """Leave an event for each crossing in one statement; what was told before is not told again.

    In one order for everybody: two that find the same facts wait for each other and never in a circle.
    """
    events = [
        Event(
            crossing.threshold.kind.value,
            crossing.scope.kind.value,
            crossing.scope.id,
            payloads.of_crossing(crossing, capped.whose, capped.caps),
            crossing.fact,
        )
        for capped, crossing in found
    ]
    delivery.enqueue(transaction, sorted(events, key=lambda event: event.fact or ""), now)

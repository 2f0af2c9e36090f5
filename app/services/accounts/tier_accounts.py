"""The accounts of everything that is linked to a tier, where its caps or its windows change.

All of it is one transaction with the write of the tier, however long that takes: until it ends everybody decides
and shows by the tier and the accounts of before, and killed anywhere it leaves them so. Sent again, the change is
made as a whole. So no reader has to tell accounts that have followed already from those that have not, and of the
batches none but the mark of the change needs to know: they keep each statement within the time that one may take.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, false, func, select, true

from app.domain.windows import Calendar
from app.models import keys
from app.services.accounts import rearming, rollover
from app.services.accounts.rearming import Rearming
from app.services.thresholds import watched

# So many linked keys at a time: a statement over all of them could take longer than one may.
LINKED_BATCH = 5_000
_CAPS = frozenset({"max_budget_nanos", "budget_duration", "model_max_budget"})


def follow(
    transaction: Connection,
    tier: Mapping[str, Any],
    changes: Mapping[str, Any],
    *,
    calendar: Calendar,
    now: datetime,
    renew: Callable[[], None],
    batch: int = LINKED_BATCH,
) -> None:
    """Move what has passed by the terms of a locked tier, then give its accounts the windows of its `changes`.

    The caller writes the tier after it, and calls `renew` its mark: that happens after each batch of keys. No
    statement where neither a cap nor a window changes; else a few for each batch, and two for all members and
    organizations. Accounts are held in the order of everybody: of the keys, of their models, of the others.
    """
    changed = {name for name in _CAPS & changes.keys() if changes[name] != tier[name]}
    if not changed:
        return
    before, after = tier["budget_duration"], changes.get("budget_duration", tier["budget_duration"])
    rolling = calendar.rollover or calendar.rolls(before)
    capped = not changed.isdisjoint({"max_budget_nanos", "budget_duration"})
    moving = capped and (rolling or bool("max_budget_nanos" in changed and tier.get(rearming.BESIDE)))
    of_windows = linked_keys(transaction, tier["budget_id"], batch) if moving or before != after else ()
    for chosen in of_windows:
        of_keys = rearming.of_keys(chosen)
        if moving:
            passing = rearming.of_all_keys(chosen) if rolling else rearming.of_rolling_keys(chosen)
            beside = false() if before == after else of_keys
            rollover.move_passed(transaction, passing, calendar, now, beside=beside)
        rearming.rearm(transaction, [Rearming(of_keys, before, after)], calendar, now)
        renew()
    of_entries = linked_keys(transaction, tier["budget_id"], batch) if "model_max_budget" in changed else ()
    for chosen in of_entries:
        if rolling:
            rollover.move_passed(transaction, rearming.of_models_of(chosen), calendar, now)
        models = changes["model_max_budget"]
        of_models = rearming.of_models(transaction, chosen, tier["model_max_budget"], models)
        rearming.rearm(transaction, of_models, calendar, now)
        renew()
    others = rearming.of_others(tier["budget_id"])
    if capped and rolling:
        rollover.move_passed(transaction, others, calendar, now)
    rearming.rearm(transaction, [Rearming(others, before, after)], calendar, now)


def watch(
    transaction: Connection,
    tier: Mapping[str, Any],
    changes: Mapping[str, Any],
    renew: Callable[[], None],
    batch: int = LINKED_BATCH,
) -> None:
    """Have what is linked looked at where these changes may leave a threshold crossed."""
    if watched.bears(tier, changes):
        for chosen in linked_keys(transaction, tier["budget_id"], batch):
            watched.watch_keys(transaction, chosen)
            renew()
        watched.watch_others(transaction, tier["budget_id"])


def linked_keys(
    transaction: Connection, budget_id: str, batch: int = LINKED_BATCH
) -> Iterator[ColumnElement[bool]]:
    """The keys that are linked to a locked tier, in batches and in the order of their ids; one statement."""
    linked = keys.c.budget_id == budget_id
    number = func.row_number().over(order_by=keys.c.key_id).label("number")
    numbered = select(keys.c.key_id, number).where(linked).subquery()
    first = select(numbered.c.key_id).where((numbered.c.number - 1) % batch == 0).order_by(numbered.c.key_id)
    bounds = [*transaction.execute(first).scalars(), None]
    for start, end in pairwise(bounds):
        yield and_(linked, keys.c.key_id >= start, true() if end is None else keys.c.key_id < end)

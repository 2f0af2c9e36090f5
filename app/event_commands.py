"""What `keyledger events` does, line by line of what it prints."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing

from app.config import Settings
from app.container import build
from app.errors import NotFound
from app.services.audit import SYSTEM, Act
from app.services.event_reads import EventQuery

# Between two batches others get their turn at the store's one writing place.
PAUSE_SECONDS = 0.05


def listed(settings: Settings, *, state: str | None, kind: str | None, limit: int) -> Iterator[str]:
    """The newest events; raises StoreUnavailable."""
    with closing(build(settings)) as services:
        query = EventQuery(state=state, kind=kind, size=limit)
        found = services.event_reads.list(Act(SYSTEM, services.clock.now()), query)
    for event in (view.fields() for view in found.events):
        named = f"{event['entity']}:{event['entity_id']}"
        yield f"{event['event_id']}  {event['created_at']}  {event['kind']}  {named}  {event['state']}"


def replayed(settings: Settings, event_ids: Sequence[str]) -> Iterator[str]:
    """Replay events one by one; raises NotFound, after those before it, and StoreUnavailable."""
    with closing(build(settings)) as services:
        act = Act(SYSTEM, services.clock.now())
        for event_id in event_ids:
            try:
                event = services.event_replay.replay(act, event_id)
            except NotFound as error:
                raise NotFound(f"There is no event {event_id}; those before it were replayed.") from error
            yield f"{event_id}: {event.state}"


def replayed_parked(settings: Settings, target: str | None) -> Iterator[str]:
    """Replay all that was given up, batch by batch; raises StoreUnavailable, then what was done stays done."""
    done = 0
    with closing(build(settings)) as services:
        act = Act(SYSTEM, services.clock.now())
        while count := services.event_replay.replay_parked(act, target):
            done += count
            time.sleep(PAUSE_SECONDS)
    yield f"{done} deliveries wait again."

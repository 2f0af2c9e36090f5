"""Events for tests, as they are stored."""

from datetime import UTC, datetime
from typing import Any

from app.domain.deliveries import Claimed, StoredEvent, Subject

NOW = datetime(2026, 11, 18, 13, 47, 33, 123456, tzinfo=UTC)
EVENT_ID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
KEY = {
    "token": "ab" * 32,
    "key_name": "sk-...cdef",
    "key_alias": "ci",
    "user_id": "bob",
    "team_id": "search",
    "organization_id": None,
    "spend": 8.6,
    "max_budget": 10.0,
    "soft_budget": 8.0,
}


def event(
    kind: str = "budget_crossed", entity: str = "key", event_id: str = EVENT_ID, **changed: Any
) -> StoredEvent:
    """An event of a key; of another entity it has no fields but those given."""
    payload = {**(KEY if entity == "key" else {}), **changed}
    return StoredEvent(event_id, kind, entity, f"id-of-{entity}", payload, NOW)


def claimed(*events: StoredEvent | None, recipient: str = "", sealed: str | None = None) -> list[Claimed]:
    """Deliveries of these events, numbered from 1; None is an event that is gone."""
    return [
        Claimed(number, Subject.EVENT, each.event_id if each else "gone", recipient, sealed, NOW, each)
        for number, each in enumerate(events, 1)
    ]

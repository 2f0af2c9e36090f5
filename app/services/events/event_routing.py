"""Writing the deliveries of events, once for each: to all channels and, by mail, to those whom they concern."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, select, true, update

from app.db import Database
from app.domain.deliveries import Route, StoredEvent
from app.domain.event_routing import Addresses, Channels, alerted_team_of, owner_of, routes_of
from app.models import events, teams, users
from app.services.events import delivery

ROUTE_BATCH = 500

# What an event is told by; its fact and its secrets are nobody's business.
TOLD = tuple(events.c[name] for name in ("event_id", "kind", "entity", "entity_id", "payload", "created_at"))


class EventRouting:
    def __init__(self, database: Database, channels: Channels) -> None:
        self._database = database
        self._channels = channels

    def route_due(self, now: datetime) -> int:
        """Route up to ROUTE_BATCH events, oldest first, and say how many; of two at once each has its own.

        One transaction of six statements at the most. What was sealed moves on into the mails.
        """
        due = (
            select(*TOLD, events.c.sealed)
            .where(events.c.routed_at.is_(None))
            .order_by(events.c.created_at, events.c.event_id)
            .limit(ROUTE_BATCH)
            .with_for_update(skip_locked=True)
        )
        with self._database.transaction() as transaction:
            found = [(told(row), row.sealed) for row in transaction.execute(due)]
            if not found:
                return 0
            addresses = self._addresses(transaction, [event for event, _ in found])
            routes = [
                route for event, sealed in found for route in routes_of(event, sealed, self._channels, addresses)
            ]
            delivery.address(transaction, routes, now)
            transaction.execute(
                update(events)
                .where(events.c.event_id.in_([event.event_id for event, _ in found]))
                .values(routed_at=now, sealed=None, addressed=_addressed(routes))
            )
        return len(found)

    def _addresses(self, transaction: Connection, happened: Sequence[StoredEvent]) -> Addresses:
        mailed = [event for event in happened if self._channels.mails(event)]
        owners = {owner_of(event) for event in mailed} - {None}
        alerted = {alerted_team_of(event) for event in mailed} - {None}
        emails: dict[str, str] = {}
        metadata: dict[str, Any] = {}
        if owners:
            of_owners = users.c.user_id.in_(owners), users.c.user_email.is_not(None)
            found = transaction.execute(select(users.c.user_id, users.c.user_email).where(*of_owners))
            emails = {row.user_id: row.user_email for row in found}
        if alerted:
            found = transaction.execute(
                select(teams.c.team_id, teams.c.metadata).where(teams.c.team_id.in_(alerted))
            )
            metadata = {row.team_id: row.metadata for row in found}
        return Addresses(emails, metadata)


def _addressed(routes: Sequence[Route]) -> ColumnElement[Any]:
    went_out = {route.subject_id for route in routes}
    return case((events.c.event_id.in_(went_out), true()), else_=events.c.addressed)


def told(row: Any) -> StoredEvent:
    """The event of a row that holds TOLD."""
    return StoredEvent(**{column.name: getattr(row, column.name) for column in TOLD})

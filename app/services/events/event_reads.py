"""Reading events and what has become of them: one, or a page of those that match; and every target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, literal_column, or_, select

from app.clock import iso
from app.db import Database
from app.domain import access
from app.domain.deliveries import Subject
from app.errors import NotFound
from app.models import deliveries, events, targets
from app.services.access.refusals import enforce
from app.services.audit.audit import Act
from app.services.events.claiming import WAITING
from app.services.rows.pages import Listing, Order, Page, Wanted, page_of


class State(StrEnum):
    """Of an event: something is still to be sent, something was given up, all arrived, it goes to nobody."""

    WAITING = "waiting"
    PARKED = "parked"
    DELIVERED = "delivered"
    UNADDRESSED = "unaddressed"


PARKED = and_(deliveries.c.delivered_at.is_(None), deliveries.c.parked_at.is_not(None))
# The state of a delivery; an event has the first of these that one of its deliveries has.
_STATE = case((WAITING, State.WAITING), (PARKED, State.PARKED), else_=State.DELIVERED)
_EXACT = ("kind", "entity", "entity_id")
_SHOWN = ("event_id", "kind", "entity", "entity_id", "fact", "payload")
_INSTANTS = ("created_at", "routed_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery(Wanted):
    """Which events a request asks for; None and "" leave a filter out."""

    kind: str | None = None
    entity: str | None = None
    entity_id: str | None = None
    state: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    descending: bool = True


@dataclass(frozen=True, slots=True)
class EventView:
    """An event and how many of its deliveries are in which state."""

    columns: Mapping[str, Any]
    counts: Mapping[str, int]

    @property
    def state(self) -> State:
        if self.columns["routed_at"] is None:
            return State.WAITING
        return next((state for state in State if self.counts.get(state)), State.UNADDRESSED)

    def fields(self) -> dict[str, Any]:
        return {
            **{name: self.columns[name] for name in _SHOWN},
            **{name: iso(self.columns[name]) for name in _INSTANTS},
            "state": self.state,
            "counts": {state.value: self.counts.get(state, 0) for state in State if state != State.UNADDRESSED},
        }


@dataclass(frozen=True, slots=True)
class EventPage:
    page: Page
    events: Sequence[EventView]


@dataclass(frozen=True, slots=True)
class TargetView:
    """A target and how much waits for it; `next_attempt_at` None: nothing does."""

    target: str
    next_attempt_at: datetime | None
    failures: int
    last_error: str | None
    last_delivered_at: datetime | None
    waiting: int
    parked: int


@dataclass(frozen=True, slots=True)
class TargetPage:
    page: Page
    targets: Sequence[TargetView]


class EventReads:
    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, act: Act, query: EventQuery) -> EventPage:
        """A page of the events that match; four statements, or three behind a cursor.

        Raises RoleRefused for whoever does not see all, InvalidRequest for a cursor of another list.
        """
        enforce(access.may_read_events(act.caller))
        with self._database.read() as connection:
            page = page_of(connection, _listing(query), query)
            found = load(connection, page.ids)
        return EventPage(page, [found[event_id] for event_id in page.ids if event_id in found])

    def entry(self, act: Act, event_id: str) -> tuple[EventView, Sequence[Mapping[str, Any]]]:
        """One event and its deliveries, three statements; raises NotFound, and RoleRefused as `list` does."""
        enforce(access.may_read_events(act.caller))
        with self._database.read() as connection:
            found = load(connection, [event_id])
            if event_id not in found:
                raise NotFound("Event not found.", "id")
            sent = connection.execute(
                select(deliveries, _STATE.label("state"))
                .where(deliveries.c.subject == Subject.EVENT, deliveries.c.subject_id == event_id)
                .order_by(deliveries.c.delivery_id)
            )
            return found[event_id], [_delivery(row) for row in sent.mappings()]

    def targets(self, act: Act, wanted: Wanted) -> TargetPage:
        """A page of the targets that something was ever sent to, by name; four statements, or three with a cursor.

        Raises as `list` does.
        """
        enforce(access.may_read_events(act.caller))
        order = Order(targets.c.target, targets.c.target, descending=False)
        with self._database.read() as connection:
            page = page_of(connection, Listing(targets, (), order), wanted)
            counted = connection.execute(
                select(deliveries.c.target, _STATE.label("state"), func.count().label("number"))
                .where(deliveries.c.target.in_(page.ids), or_(WAITING, PARKED))
                .group_by(deliveries.c.target, _STATE)
            )
            counts = {(row.target, row.state): row.number for row in counted}
            rows = connection.execute(select(targets).where(targets.c.target.in_(page.ids))).mappings()
            found = {row["target"]: row for row in rows}
        return TargetPage(
            page,
            [
                TargetView(
                    **found[target],
                    waiting=counts.get((target, State.WAITING), 0),
                    parked=counts.get((target, State.PARKED), 0),
                )
                for target in page.ids
            ],
        )


def load(connection: Connection, event_ids: Sequence[str]) -> dict[str, EventView]:
    """Those of the events that there are, with the counts of their deliveries; two statements."""
    wanted = deliveries.c.subject == Subject.EVENT, deliveries.c.subject_id.in_(event_ids)
    counted = select(deliveries.c.subject_id, _STATE.label("state"), func.count().label("number")).where(*wanted)
    counts: dict[str, dict[str, int]] = {}
    for row in connection.execute(counted.group_by(deliveries.c.subject_id, _STATE)):
        counts.setdefault(row.subject_id, {})[row.state] = row.number
    rows = connection.execute(select(events).where(events.c.event_id.in_(event_ids))).mappings()
    return {row["event_id"]: EventView(dict(row), counts.get(row["event_id"], {})) for row in rows}


def _listing(query: EventQuery) -> Listing:
    """What is to be done is found from the deliveries it is to be done to, what is done from the events."""
    match query.state:
        case State.WAITING:
            return _to_be_done(query, WAITING, also=[_of_events(query, _UNROUTED)])
        case State.PARKED:
            # Of an event that waits as well it is not yet said.
            return _to_be_done(query, PARKED, ~_each(deliveries.c.subject_id, _waiting))
        case State.DELIVERED:
            return _of_events(query, _each(events.c.event_id), ~_each(events.c.event_id, _undelivered))
        case State.UNADDRESSED:
            maybe = events.c.addressed.is_(None)
            return _of_events(query, ~_UNROUTED, maybe, ~_each(events.c.event_id))
    return _of_events(query, countable=len(_exact(query)) <= 1)


def _of_events(query: EventQuery, *conditions: ColumnElement[bool], countable: bool = False) -> Listing:
    order = Order(events.c.created_at, events.c.event_id, descending=query.descending)
    wanted = (*_exact(query), *_between(query, order.column), *conditions)
    return Listing(events, wanted, order, countable=countable)


def _to_be_done(query: EventQuery, *conditions: ColumnElement[bool], also: Sequence[Listing] = ()) -> Listing:
    """The events of such deliveries, along an index of no others, which names their subject in so many words."""
    order = Order(deliveries.c.happened_at, deliveries.c.subject_id, descending=query.descending, gaps=True)
    exact = _exact(query)
    source = deliveries.join(events, events.c.event_id == deliveries.c.subject_id) if exact else deliveries
    of_events = deliveries.c.subject == literal_column(f"'{Subject.EVENT.value}'")
    wanted = (of_events, *exact, *_between(query, order.column), *conditions)
    return Listing(source, wanted, order, countable=False, also=also, repeats=True)


def _exact(query: EventQuery) -> list[ColumnElement[bool]]:
    return [events.c[name] == getattr(query, name) for name in _EXACT if getattr(query, name)]


def _between(query: EventQuery, instant: ColumnElement[Any]) -> list[ColumnElement[bool]]:
    bounds = []
    if query.start is not None:
        bounds.append(instant >= query.start)
    if query.end is not None:
        bounds.append(instant <= query.end)
    return bounds


_UNROUTED = events.c.routed_at.is_(None)
_other = deliveries.alias("other")
_waiting = and_(_other.c.delivered_at.is_(None), _other.c.parked_at.is_(None))
_undelivered = _other.c.delivered_at.is_(None)


def _each(event_id: ColumnElement[str], *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether there is such a delivery of an event, looked up event by event."""
    return exists().where(_other.c.subject == Subject.EVENT, _other.c.subject_id == event_id, *conditions)


def _delivery(row: Mapping[Any, Any]) -> dict[str, Any]:
    shown = {name: row[name] for name in ("target", "recipient", "attempts", "last_error", "state")}
    instants = {name: iso(row[name]) for name in ("created_at", "delivered_at", "parked_at")}
    return {"delivery_id": row["delivery_id"], **shown, **instants}

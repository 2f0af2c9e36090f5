"""The `/events` endpoints: from HTTP to one use case each, and back."""

from dataclasses import asdict
from typing import Any

from flask import Response

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer, answer_page
from app.api.schemas.events import (
    EventDeliveriesSchema,
    EventListSchema,
    EventQuerySchema,
    EventSchema,
    TargetListSchema,
    TargetQuerySchema,
)
from app.clock import iso
from app.errors import Conflict, InvalidRequest, NotFound
from app.services.events.event_reads import EventQuery, TargetView
from app.services.rows.pages import Wanted

events = Blueprint("events")


@events.operation(
    "/events", "GET", "list_events_events_get", EventListSchema(), summary="List Events", raises=(InvalidRequest,)
)
@events.takes(EventQuerySchema(), "query")
def list_events(query: dict[str, Any]) -> Response:
    asked = EventQuery(
        size=query.pop("page_size"),
        start=query.pop("start_date", None),
        end=query.pop("end_date", None),
        descending=query.pop("sort_order") == "desc",
        **query,
    )
    found = services().event_reads.list(act(), asked)
    return answer_page(
        {
            "events": [event.fields() for event in found.events],
            "total": found.page.total,
            "page": asked.page,
            "page_size": asked.size,
            "total_pages": asked.pages_of(found.page.total),
        },
        found.page,
    )


@events.operation(
    "/events/targets",
    "GET",
    "list_targets_events_targets_get",
    TargetListSchema(),
    summary="List Targets",
    raises=(InvalidRequest,),
)
@events.takes(TargetQuerySchema(), "query")
def list_targets(query: dict[str, Any]) -> Response:
    asked = Wanted(size=query.pop("page_size"), **query)
    found = services().event_reads.targets(act(), asked)
    return answer_page(
        {
            "targets": [_target(target) for target in found.targets],
            "total": found.page.total,
            "page": asked.page,
            "page_size": asked.size,
            "total_pages": asked.pages_of(found.page.total),
        },
        found.page,
    )


def _target(view: TargetView) -> dict[str, Any]:
    instants = {"next_attempt_at": iso(view.next_attempt_at), "last_delivered_at": iso(view.last_delivered_at)}
    return {**asdict(view), **instants}


@events.operation(
    "/events/{id}",
    "GET",
    "get_event_by_id_events__id__get",
    EventDeliveriesSchema(),
    summary="Get Event By Id",
    raises=(NotFound,),
)
def entry(id: str) -> Response:  # noqa: A002 - as in the path
    event, deliveries = services().event_reads.entry(act(), id)
    return answer({**event.fields(), "deliveries": deliveries})


@events.operation(
    "/events/{id}/replay",
    "POST",
    "replay_event_events__id__replay_post",
    EventSchema(),
    summary="Replay Event",
    raises=(NotFound, Conflict),
    changes=True,
    body_optional=True,
)
def replay(id: str) -> Response:  # noqa: A002 - as in the path
    return answer(services().event_replay.replay(act(), id).fields())

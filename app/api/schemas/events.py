"""What the event endpoints take and answer."""

from marshmallow import fields as f

from app.api.fields import Choice, Name, Whole
from app.api.instant_fields import Instant, LastInstant
from app.api.schemas.key_answers import Answer
from app.api.schemas.pages import PageQuerySchema

_STATES = ("waiting", "parked", "delivered", "unaddressed")


class EventQuerySchema(PageQuerySchema):
    page_size = Whole(low=1, high=100, nullable=False, load_default=10)
    kind = Name(metadata={"description": "key_created, budget_crossed …"})
    entity = Name(metadata={"description": "key, team, user, member, organization, budget …"})
    entity_id = Name()
    state = Choice(*_STATES)
    start_date = Instant(metadata={"description": "The first instant, included"})
    end_date = LastInstant(metadata={"description": "The last instant, included; a date is its whole day"})
    sort_order = Choice("asc", "desc", nullable=False, load_default="desc")


class DeliveryCountsSchema(Answer):
    """How many deliveries of an event are in which state."""

    waiting = f.Integer(required=True)
    parked = f.Integer(required=True)
    delivered = f.Integer(required=True)


class EventSchema(Answer):
    event_id = f.String(required=True, metadata={"description": "The same at every attempt and at every receiver"})
    kind = f.String(required=True)
    entity = f.String(required=True)
    entity_id = f.String(required=True)
    fact = f.String(required=True, allow_none=True, metadata={"description": "What is told only once"})
    payload = f.Dict(required=True)
    created_at = f.String(required=True)
    routed_at = f.String(required=True, allow_none=True, metadata={"description": "null: not routed yet"})
    state = f.String(
        required=True,
        metadata={
            "description": "waiting (something is still to be sent), parked (something was given up), delivered "
            "or unaddressed (it goes to nobody)"
        },
    )
    counts = f.Nested(DeliveryCountsSchema(), required=True)


class DeliverySchema(Answer):
    """One event on its way to one receiver."""

    delivery_id = f.Integer(required=True)
    target = f.String(required=True, metadata={"description": "slack:0, webhook:0, mail …"})
    recipient = f.String(required=True, metadata={"description": "The address of a mail; empty elsewhere"})
    state = f.String(required=True, metadata={"description": "waiting, parked or delivered"})
    attempts = f.Integer(required=True)
    created_at = f.String(required=True, metadata={"description": "Since when it waits, or has waited"})
    delivered_at = f.String(required=True, allow_none=True)
    parked_at = f.String(required=True, allow_none=True)
    last_error = f.String(required=True, allow_none=True)


class EventDeliveriesSchema(EventSchema):
    deliveries = f.List(f.Nested(DeliverySchema()), required=True)


class EventListSchema(Answer):
    events = f.List(f.Nested(EventSchema()), required=True)
    total = f.Integer(required=True)
    page = f.Integer(required=True)
    page_size = f.Integer(required=True)
    total_pages = f.Integer(required=True)


class TargetSchema(Answer):
    """One outside system with one state of health."""

    target = f.String(required=True)
    waiting = f.Integer(required=True)
    parked = f.Integer(required=True)
    failures = f.Integer(required=True, metadata={"description": "In a row, since the last success"})
    next_attempt_at = f.String(required=True, allow_none=True, metadata={"description": "null: nothing waits"})
    last_delivered_at = f.String(required=True, allow_none=True)
    last_error = f.String(required=True, allow_none=True)


class TargetQuerySchema(PageQuerySchema):
    page_size = Whole(low=1, high=1000, nullable=False, load_default=100)


class TargetListSchema(Answer):
    targets = f.List(f.Nested(TargetSchema()), required=True)
    total = f.Integer(required=True)
    page = f.Integer(required=True)
    page_size = f.Integer(required=True)
    total_pages = f.Integer(required=True)

"""What is told to the outside: the events, whom each is sent to, and the state of every receiver.

An event is written in the transaction that made it true, its deliveries when it is routed; a target is one outside
system with one state of health. Nothing here references a live entity, because it outlives every one.
"""

from sqlalchemy import Boolean, Column, Index, Integer, Table, Text, UniqueConstraint, text

from app.db import JsonObject, UtcDateTime, metadata
from app.models.columns import RowNumber

_UNROUTED = text("routed_at IS NULL")
_UNADDRESSED = text("routed_at IS NOT NULL AND addressed IS NULL")
_SEALED = text("sealed IS NOT NULL")
_WAITING = text("delivered_at IS NULL AND parked_at IS NULL")
_PARKED = text("parked_at IS NOT NULL")
_EVENT_WAITING = text("subject = 'event' AND delivered_at IS NULL AND parked_at IS NULL")
_EVENT_PARKED = text("subject = 'event' AND delivered_at IS NULL AND parked_at IS NOT NULL")
_DUE = text("next_attempt_at IS NOT NULL")

events = Table(
    "events",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("entity_id", Text, nullable=False),
    # One fact, one event: a threshold of one window of one budget, for instance. NULL never clashes.
    Column("fact", Text),
    Column("payload", JsonObject, nullable=False),
    # A plaintext that is to be mailed, sealed; it moves on into the delivery.
    Column("sealed", Text),
    Column("created_at", UtcDateTime, nullable=False),
    # When its deliveries were written; NULL waits for that.
    Column("routed_at", UtcDateTime),
    # True: it went to somebody. NULL: to nobody, as far as the row knows; to be sure is to look for deliveries.
    Column("addressed", Boolean),
    Index("uq_events_fact", "fact", unique=True),
    Index("ix_events_unrouted", "created_at", "event_id", sqlite_where=_UNROUTED, postgresql_where=_UNROUTED),
    Index("ix_events_sealed", "created_at", sqlite_where=_SEALED, postgresql_where=_SEALED),
    Index(
        "ix_events_unaddressed",
        "created_at",
        "event_id",
        sqlite_where=_UNADDRESSED,
        postgresql_where=_UNADDRESSED,
    ),
    # Read newest first, whole or by one of these.
    Index("ix_events_created_at", "created_at", "event_id"),
    *(
        Index(f"ix_events_by_{column}", column, "created_at", "event_id")
        for column in ("kind", "entity", "entity_id")
    ),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("delivery_id", RowNumber, primary_key=True, autoincrement=True),
    Column("target", Text, nullable=False),
    Column("subject", Text, nullable=False),  # event, log
    Column("subject_id", Text, nullable=False),
    Column("recipient", Text, nullable=False, server_default=text("''")),  # a mail address
    Column("sealed", Text),
    # When its event did; NULL of a log. Lists of events in a state are in this order, and found by it.
    Column("happened_at", UtcDateTime),
    # Since when it waits: a replay sets it anew.
    Column("created_at", UtcDateTime, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("delivered_at", UtcDateTime),
    Column("parked_at", UtcDateTime),
    Column("last_error", Text),
    UniqueConstraint("subject", "subject_id", "target", "recipient"),
    # What was tried less goes first, so that one that always fails does not hold up those behind it.
    Index(
        "ix_deliveries_waiting",
        "target",
        "attempts",
        "delivery_id",
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    ),
    Index("ix_deliveries_waiting_since", "created_at", sqlite_where=_WAITING, postgresql_where=_WAITING),
    Index("ix_deliveries_parked", "target", "delivery_id", sqlite_where=_PARKED, postgresql_where=_PARKED),
    # Events in a state are listed in their own order.
    *(
        Index(f"ix_deliveries_of_{name}_events", "happened_at", "subject_id", sqlite_where=of, postgresql_where=of)
        for name, of in (("waiting", _EVENT_WAITING), ("parked", _EVENT_PARKED))
    ),
    Index("ix_deliveries_sealed", "delivery_id", sqlite_where=_SEALED, postgresql_where=_SEALED),
    Index("ix_deliveries_sealed_since", "happened_at", sqlite_where=_SEALED, postgresql_where=_SEALED),
)

targets = Table(
    "targets",
    metadata,
    Column("target", Text, primary_key=True),
    # NULL: nothing waits. While somebody sends it is the end of the lease, by which that one is known.
    Column("next_attempt_at", UtcDateTime),
    Column("failures", Integer, nullable=False, server_default=text("0")),  # since the last success
    Column("last_error", Text),
    Column("last_delivered_at", UtcDateTime),
    Index("ix_targets_due", "next_attempt_at", sqlite_where=_DUE, postgresql_where=_DUE),
)

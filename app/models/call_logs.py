"""Logs of finished calls, on their way to the logging callbacks of their keys and teams."""

from sqlalchemy import Column, Index, Table, Text, text

from app.db import Json, UtcDateTime, metadata
from app.models.columns import json_list

call_logs = Table(
    "call_logs",
    metadata,
    # Made of the key's id and the request id: a call told twice is one row, and one identity wherever it goes.
    Column("log_id", Text, primary_key=True),
    Column("key_id", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    json_list("targets"),
    # NULL once it was taken everywhere: the row stays a while, so that the same call told again is known.
    Column("payload", Json),
    Column("created_at", UtcDateTime, nullable=False),
    Column("routed_at", UtcDateTime),
    Index(
        "ix_call_logs_unrouted",
        "created_at",
        "log_id",
        sqlite_where=text("routed_at IS NULL"),
        postgresql_where=text("routed_at IS NULL"),
    ),
    # They go by their age.
    Index("ix_call_logs_created_at", "created_at"),
)

"""What outlives its subject: the audit trail, which references no live entity."""

from sqlalchemy import Column, Index, Table, Text, text

from app.db import Json, UtcDateTime, metadata
from app.models.columns import RowNumber

audit = Table(
    "audit",
    metadata,
    Column("audit_id", RowNumber, primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False),
    Column("actor_key_id", Text),
    Column("actor_user_id", Text),
    Column("actor_role", Text, nullable=False),
    Column("changed_by", Text),  # the `litellm-changed-by` header: a claim, recorded beside the real caller
    Column("request_id", Text),
    Column("address", Text),
    Column("action", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("entity_id", Text, nullable=False),
    Column("before", Json),
    Column("after", Json),
    # The trail is read newest first, whole or by one of these.
    Index("ix_audit_at", "at", "audit_id"),
    Index("ix_audit_by_entity", "entity", "at", "audit_id"),
    Index("ix_audit_by_entity_id", "entity_id", "at", "audit_id"),
    Index("ix_audit_by_action", "action", "at", "audit_id"),
    Index("ix_audit_by_actor_user_id", "actor_user_id", "at", "audit_id"),
    Index("ix_audit_by_actor_key_id", "actor_key_id", "at", "audit_id"),
    Index("ix_audit_by_request_id", "request_id", "at", "audit_id"),
    # Whom a row shows as LiteLLM does: the claim, else the caller's user.
    Index(
        "ix_audit_by_changed_by",
        "changed_by",
        "at",
        "audit_id",
        sqlite_where=text("changed_by IS NOT NULL"),
        postgresql_where=text("changed_by IS NOT NULL"),
    ),
    Index(
        "ix_audit_unclaimed",
        "actor_user_id",
        "at",
        "audit_id",
        sqlite_where=text("changed_by IS NULL"),
        postgresql_where=text("changed_by IS NULL"),
    ),
)

"""The ledger: every charge and correction, appended once, never changed.

Rows name the scopes they count in; a scope that is NULL is not charged. They reference no live entity, because
they outlive every one. `ledger_unfolded` holds the rows that `budget_state` does not contain yet.
"""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Table, Text, UniqueConstraint

from app.db import Json, UtcDateTime, metadata
from app.models.columns import RowNumber

ledger = Table(
    "ledger",
    metadata,
    Column("ledger_id", RowNumber, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),  # charge, correction
    Column("request_id", Text, nullable=False),
    Column("key_id", Text),
    Column("team_id", Text),
    Column("user_id", Text),
    Column("organization_id", Text),
    Column("model", Text),
    Column("amount_nanos", BigInteger, nullable=False),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("tags", Json),
    Column("end_user", Text),
    Column("reason", Text),
    Column("actor", Text),
    Column("occurred_at", UtcDateTime, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    UniqueConstraint("key_id", "request_id", name="uq_ledger_key_id_request_id"),
    Index("ix_ledger_key_id_occurred_at", "key_id", "occurred_at"),
)

ledger_unfolded = Table(
    "ledger_unfolded",
    metadata,
    Column("ledger_id", RowNumber, ForeignKey("ledger.ledger_id"), primary_key=True, autoincrement=False),
    Column("scope", Text, primary_key=True),
    Column("scope_id", Text, primary_key=True),
    Column("sub", Text, primary_key=True),
    Column("amount_nanos", BigInteger, nullable=False),
    Column("occurred_at", UtcDateTime, nullable=False),
    Index("ix_ledger_unfolded_scope", "scope", "scope_id", "sub", "occurred_at"),
)

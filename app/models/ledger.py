"""The ledger: every charge and correction, appended once, never changed; and the sums that reports are drawn from.

A row names the scopes it counts in. Nothing here references a live entity, because it outlives every one.
`ledger_unfolded` holds, per scope, what `budget_state` does not contain yet; each charge has one row of scope
`key` there, whoever folds that one folds the charge.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Table, Text, UniqueConstraint, text

from app.db import Json, UtcDateTime, metadata
from app.models.columns import RowNumber

ledger = Table(
    "ledger",
    metadata,
    Column("ledger_id", RowNumber, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),  # charge, correction, checkpoint
    Column("request_id", Text, nullable=False),
    Column("key_id", Text),
    Column("team_id", Text),
    Column("user_id", Text),
    Column("organization_id", Text),
    Column("model", Text),
    Column("amount_nanos", BigInteger, nullable=False),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("scopes", Json, nullable=False, server_default=text("'[]'")),  # [[scope, scope_id, sub], ...]
    Column("tags", Json),
    Column("end_user", Text),
    Column("reason", Text),
    Column("actor", Text),
    Column("occurred_at", UtcDateTime, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    UniqueConstraint("key_id", "request_id", name="uq_ledger_key_id_request_id"),
    Index("ix_ledger_occurred_at", "occurred_at", "ledger_id"),
    Index("ix_ledger_key_id_occurred_at", "key_id", "occurred_at"),
    *(
        Index(
            f"ix_ledger_{column}_occurred_at",
            column,
            "occurred_at",
            sqlite_where=text(f"{column} IS NOT NULL"),
            postgresql_where=text(f"{column} IS NOT NULL"),
        )
        for column in ("user_id", "team_id")
    ),
    Index(
        "ix_ledger_checkpoints",
        "scopes",
        sqlite_where=text("kind = 'checkpoint'"),
        postgresql_where=text("kind = 'checkpoint'"),
    ),
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


def _sums() -> list[Column[Any]]:
    """What is added up of the charges of a day."""
    return [
        Column(name, BigInteger, nullable=False, server_default=text("0"))
        for name in ("spend_nanos", "input_tokens", "output_tokens", "requests")
    ]


# Days are UTC, as YYYY-MM-DD; an id that a charge does not have is the empty text, so that it can be a key.
daily_spend = Table(
    "daily_spend",
    metadata,
    Column("day", Text, primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("team_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("organization_id", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    *_sums(),
    Index("ix_daily_spend_team_id", "team_id", "day"),
    Index("ix_daily_spend_user_id", "user_id", "day"),
    Index("ix_daily_spend_key_id", "key_id", "day"),
)

# The same by what a charge was labelled with: its tags, of which it may have several, and its end user.
daily_label_spend = Table(
    "daily_label_spend",
    metadata,
    Column("day", Text, primary_key=True),
    Column("label", Text, primary_key=True),  # tag, end_user
    Column("name", Text, primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    *_sums(),
    Index("ix_daily_label_spend_name", "label", "name", "day"),
    Index("ix_daily_label_spend_key_id", "key_id", "day"),
)

"""Logs of finished calls, on their way to logging callbacks.

Safe with the previous release because: it only adds a table that this release alone writes.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0009"
down_revision: str | Sequence[str] | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

Json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)
UNROUTED = sa.text("routed_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "call_logs",
        sa.Column("log_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("targets", Json, nullable=False, server_default=sa.text("'[]'")),
        sa.Column("payload", Json),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("routed_at", Instant),
        sa.PrimaryKeyConstraint("log_id", name="pk_call_logs"),
    )
    op.create_index(
        "ix_call_logs_unrouted",
        "call_logs",
        ["created_at", "log_id"],
        sqlite_where=UNROUTED,
        postgresql_where=UNROUTED,
    )
    op.create_index("ix_call_logs_created_at", "call_logs", ["created_at"])


def downgrade() -> None:
    op.drop_table("call_logs")

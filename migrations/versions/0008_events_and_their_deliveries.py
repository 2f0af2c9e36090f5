"""The outbox becomes `events`, with the deliveries of each event and the state of every target.

What was written before there was any way out has been told to nobody, and is not told now.

Safe with the previous release because: none has been released yet that would write under the old name.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | Sequence[str] | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

Instant = sa.DateTime(timezone=True)
UNROUTED = "routed_at IS NULL"
SEALED = "sealed IS NOT NULL"
WAITING = "delivered_at IS NULL AND parked_at IS NULL"
OF_EACH_ATTEMPT = ("attempts", "next_attempt_at", "delivered_at", "parked_at", "last_error")


def upgrade() -> None:
    op.drop_index("ix_outbox_due", table_name="outbox")
    op.drop_index("uq_outbox_fact", table_name="outbox")
    op.rename_table("outbox", "events")
    _rename_primary_key("events", "pk_outbox", "pk_events")
    for column in (*OF_EACH_ATTEMPT, "sealed"):  # nothing ever wrote a sealed one
        op.drop_column("events", column)
    op.add_column("events", sa.Column("sealed", sa.Text()))
    op.add_column("events", sa.Column("routed_at", Instant))
    op.execute("UPDATE events SET routed_at = created_at")
    op.create_index("uq_events_fact", "events", ["fact"], unique=True)
    _partial_index("ix_events_unrouted", "events", ["created_at", "event_id"], UNROUTED)
    _partial_index("ix_events_sealed", "events", ["created_at"], SEALED)
    op.create_index("ix_events_created_at", "events", ["created_at", "event_id"])
    for column in ("kind", "entity", "entity_id"):
        op.create_index(f"ix_events_by_{column}", "events", [column, "created_at", "event_id"])
    _create_deliveries()
    op.create_table(
        "targets",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("next_attempt_at", Instant),
        sa.Column("failures", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("last_error", sa.Text()),
        sa.Column("last_delivered_at", Instant),
        sa.PrimaryKeyConstraint("target", name="pk_targets"),
    )
    _partial_index("ix_targets_due", "targets", ["next_attempt_at"], "next_attempt_at IS NOT NULL")


def _create_deliveries() -> None:
    row_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "deliveries",
        sa.Column("delivery_id", row_number, nullable=False, autoincrement=True),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("sealed", sa.Text()),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("delivered_at", Instant),
        sa.Column("parked_at", Instant),
        sa.Column("last_error", sa.Text()),
        sa.PrimaryKeyConstraint("delivery_id", name="pk_deliveries"),
        sa.UniqueConstraint(
            "subject",
            "subject_id",
            "target",
            "recipient",
            name="uq_deliveries_subject_subject_id_target_recipient",
        ),
    )
    _partial_index("ix_deliveries_waiting", "deliveries", ["target", "attempts", "delivery_id"], WAITING)
    _partial_index("ix_deliveries_waiting_since", "deliveries", ["created_at"], WAITING)
    _partial_index("ix_deliveries_parked", "deliveries", ["target", "delivery_id"], "parked_at IS NOT NULL")
    _partial_index("ix_deliveries_sealed", "deliveries", ["delivery_id"], SEALED)


def downgrade() -> None:
    op.drop_table("targets")
    op.drop_table("deliveries")
    for index in ("entity_id", "entity", "kind"):
        op.drop_index(f"ix_events_by_{index}", table_name="events")
    for index in ("ix_events_created_at", "ix_events_sealed", "ix_events_unrouted", "uq_events_fact"):
        op.drop_index(index, table_name="events")
    op.drop_column("events", "routed_at")
    op.drop_column("events", "sealed")
    op.rename_table("events", "outbox")
    _rename_primary_key("outbox", "pk_events", "pk_outbox")
    op.add_column("outbox", sa.Column("sealed", sa.LargeBinary()))
    op.add_column("outbox", sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("0")))
    for name in ("next_attempt_at", "delivered_at", "parked_at"):
        op.add_column("outbox", sa.Column(name, Instant))
    op.add_column("outbox", sa.Column("last_error", sa.Text()))
    op.create_index("uq_outbox_fact", "outbox", ["fact"], unique=True)
    _partial_index("ix_outbox_due", "outbox", ["next_attempt_at"], WAITING)


def _rename_primary_key(table: str, name: str, new: str) -> None:
    """SQLite knows a key by its columns alone."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {name} TO {new}")


def _partial_index(name: str, table: str, columns: Sequence[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)

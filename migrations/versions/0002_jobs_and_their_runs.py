"""What the jobs look for and what they record: ends of increases, parked windows, the last run of each job.

Safe with the previous release because: it only adds columns that may be NULL, an index and a table, none of
which that release reads or writes.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | Sequence[str] | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

Instant = sa.DateTime(timezone=True)
HAS_INCREASE = sa.text("increase_ends_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("keys", sa.Column("increase_ends_at", Instant))
    op.create_index(
        "ix_keys_increase_ends_at",
        "keys",
        ["increase_ends_at"],
        sqlite_where=HAS_INCREASE,
        postgresql_where=HAS_INCREASE,
    )
    op.add_column("budget_state", sa.Column("parked_at", Instant))
    op.create_table(
        "job_runs",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("last_started_at", Instant),
        sa.Column("last_finished_at", Instant),
        sa.Column("last_rows", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("parked_rows", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("failures", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("last_error", sa.Text()),
        sa.PrimaryKeyConstraint("name", name="pk_job_runs"),
    )


def downgrade() -> None:
    op.drop_table("job_runs")
    op.drop_column("budget_state", "parked_at")
    op.drop_index("ix_keys_increase_ends_at", table_name="keys")
    op.drop_column("keys", "increase_ends_at")

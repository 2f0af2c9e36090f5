"""Passed windows of budgets that carry on what was spent beyond their cap.

Safe with the previous release because: the new column may be empty, and that release reads neither it nor the
table. Where it moves a window it carries nothing on.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.db import UtcDateTime

revision: str = "0013"
down_revision: str | Sequence[str] | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("budget_state", sa.Column("rolled_by", sa.Text(), nullable=True))
    op.create_table(
        "rolled_windows",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("scope_id", sa.Text(), nullable=False),
        sa.Column("sub", sa.Text(), nullable=False),
        sa.Column("window_start", UtcDateTime(), nullable=False),
        sa.Column("used_nanos", sa.BigInteger(), nullable=False),
        sa.Column("cap_nanos", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "scope_id", "sub", "window_start", name=op.f("pk_rolled_windows")),
        sa.ForeignKeyConstraint(
            ["scope", "scope_id", "sub"],
            ["budget_state.scope", "budget_state.scope_id", "budget_state.sub"],
            name="fk_rolled_windows_account",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    op.drop_table("rolled_windows")
    op.drop_column("budget_state", "rolled_by")

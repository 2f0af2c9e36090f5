"""Why a window is set aside, and which accounts have none: what is due is found without reading the others.

A window that was set aside without a reason is looked at again, which finds the reason.

Safe with the previous release because: new columns have a default or may be empty, and that release reads none of
them. An account that it takes the window off is found due once, and is known from then on.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | Sequence[str] | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("budget_state", sa.Column("parked_reason", sa.Text(), nullable=True))
    op.add_column("budget_state", sa.Column("windowless", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute("UPDATE budget_state SET parked_at = NULL WHERE parked_at IS NOT NULL")
    op.drop_index("ix_budget_state_due", table_name="budget_state")
    op.create_index(
        "ix_budget_state_due",
        "budget_state",
        ["reset_at"],
        sqlite_where=sa.text("armed_at IS NOT NULL AND parked_at IS NULL AND windowless = 0"),
        postgresql_where=sa.text("armed_at IS NOT NULL AND parked_at IS NULL AND NOT windowless"),
    )
    op.create_index(
        "ix_budget_state_parked",
        "budget_state",
        ["parked_at", "scope", "scope_id", "sub"],
        sqlite_where=sa.text("parked_at IS NOT NULL"),
        postgresql_where=sa.text("parked_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_budget_state_parked", table_name="budget_state")
    op.drop_index("ix_budget_state_due", table_name="budget_state")
    op.create_index(
        "ix_budget_state_due",
        "budget_state",
        ["reset_at"],
        sqlite_where=sa.text("armed_at IS NOT NULL"),
        postgresql_where=sa.text("armed_at IS NOT NULL"),
    )
    op.drop_column("budget_state", "windowless")
    op.drop_column("budget_state", "parked_reason")

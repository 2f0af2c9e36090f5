"""What thresholds are found by: the window before the present one, accounts to be looked at, keys about to expire.

Safe with the previous release because: new columns have a default or may be empty, and that release reads none of
them. Where it moves a window, the one before stays the one that was kept last; where it changes the end of a key,
notices come at the instants of the end before.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | Sequence[str] | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("budget_state", sa.Column("previous_start", sa.DateTime(timezone=True), nullable=True))
    op.add_column("budget_state", sa.Column("previous_end", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "budget_state",
        sa.Column("previous_spend_nanos", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
    )
    op.create_table(
        "watched",
        sa.Column(
            "watched_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            autoincrement=True,
        ),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("scope_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("watched_id", name="pk_watched"),
    )
    op.create_index(
        "ix_budgets_temp_budget_expiry",
        "budgets",
        ["temp_budget_expiry"],
        sqlite_where=sa.text("temp_budget_expiry IS NOT NULL"),
        postgresql_where=sa.text("temp_budget_expiry IS NOT NULL"),
    )
    op.add_column("keys", sa.Column("notice_at", sa.DateTime(timezone=True), nullable=True))
    # Keys that end already: the job finds out from when on somebody is to be told, and tells what is due by now.
    op.execute(
        "UPDATE keys SET notice_at = updated_at WHERE expires_at IS NOT NULL AND expiry_recorded_at IS NULL"
    )
    op.create_index(
        "ix_keys_notice_at",
        "keys",
        ["notice_at"],
        sqlite_where=sa.text("notice_at IS NOT NULL"),
        postgresql_where=sa.text("notice_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_keys_notice_at", table_name="keys")
    op.drop_column("keys", "notice_at")
    op.drop_index("ix_budgets_temp_budget_expiry", table_name="budgets")
    op.drop_table("watched")
    op.drop_column("budget_state", "previous_spend_nanos")
    op.drop_column("budget_state", "previous_end")
    op.drop_column("budget_state", "previous_start")

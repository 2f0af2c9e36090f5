"""What reports of the ledger and its retention look rows up by.

Safe with the previous release because: it only adds indexes.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | Sequence[str] | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CHECKPOINTS = sa.text("kind = 'checkpoint'")


def upgrade() -> None:
    for column in ("user_id", "team_id"):
        named = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_ledger_{column}_occurred_at",
            "ledger",
            [column, "occurred_at"],
            sqlite_where=named,
            postgresql_where=named,
        )
    op.create_index("ix_daily_label_spend_key_id", "daily_label_spend", ["key_id", "day"])
    op.create_index(
        "ix_ledger_checkpoints", "ledger", ["scopes"], sqlite_where=CHECKPOINTS, postgresql_where=CHECKPOINTS
    )


def downgrade() -> None:
    op.drop_index("ix_daily_label_spend_key_id", table_name="daily_label_spend")
    for name in ("ix_ledger_checkpoints", "ix_ledger_team_id_occurred_at", "ix_ledger_user_id_occurred_at"):
        op.drop_index(name, table_name="ledger")

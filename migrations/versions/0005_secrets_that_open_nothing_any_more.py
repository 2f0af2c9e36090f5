"""By what a change that is sent again is known: the secrets it has retired, the aliases of deleted keys.

Safe with the previous release because: it only adds a table and an index, neither of which that release needs.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | Sequence[str] | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "retired_secrets",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=True),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_retired_secrets"),
    )
    op.create_index("ix_retired_secrets_token", "retired_secrets", ["token", "retired_at"])
    op.create_index("ix_deleted_keys_key_alias", "deleted_keys", ["key_alias", "deleted_at"])


def downgrade() -> None:
    op.drop_index("ix_deleted_keys_key_alias", table_name="deleted_keys")
    op.drop_table("retired_secrets")

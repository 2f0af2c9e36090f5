"""By when they were deleted: archived keys and retired secrets, so that those can be found that are to go.

Safe with the previous release because: it only adds indexes.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0012"
down_revision: str | Sequence[str] | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_index("ix_deleted_keys_deleted_at", "deleted_keys", ["deleted_at", "id"])
    op.create_index("ix_retired_secrets_retired_at", "retired_secrets", ["retired_at", "id"])


def downgrade() -> None:
    op.drop_index("ix_retired_secrets_retired_at", table_name="retired_secrets")
    op.drop_index("ix_deleted_keys_deleted_at", table_name="deleted_keys")

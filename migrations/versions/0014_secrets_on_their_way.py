"""Scheduled rotation: which secrets are on their way to whoever holds the key, and which keys are due for one.

Safe with the previous release because: it reads a secret on its way as one in grace whose end is far away, makes
none, and leaves the column that it does not know of NULL.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | Sequence[str] | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_ON_ITS_WAY = sa.text("event_id IS NOT NULL")
_DUE = sa.text("key_rotation_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("key_secrets", sa.Column("event_id", sa.Text))
    op.create_index(
        "uq_key_secrets_on_its_way",
        "key_secrets",
        ["key_id", "revoke_at"],
        unique=True,
        sqlite_where=_ON_ITS_WAY,
        postgresql_where=_ON_ITS_WAY,
    )
    op.create_index(
        "ix_key_secrets_event_id",
        "key_secrets",
        ["event_id"],
        sqlite_where=_ON_ITS_WAY,
        postgresql_where=_ON_ITS_WAY,
    )
    op.create_index(
        "ix_keys_key_rotation_at",
        "keys",
        ["key_rotation_at", "key_id"],
        sqlite_where=_DUE,
        postgresql_where=_DUE,
    )


def downgrade() -> None:
    op.drop_index("ix_keys_key_rotation_at", table_name="keys")
    op.drop_index("ix_key_secrets_event_id", table_name="key_secrets")
    op.drop_index("uq_key_secrets_on_its_way", table_name="key_secrets")
    # Nobody can be told any more what becomes of them; the current secrets stay.
    op.execute("DELETE FROM key_secrets WHERE event_id IS NOT NULL")
    op.drop_column("key_secrets", "event_id")

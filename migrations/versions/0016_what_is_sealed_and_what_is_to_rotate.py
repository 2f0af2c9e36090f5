"""What is sealed, by its day, and which keys are to rotate, without those that are shut.

Safe with the previous release because: it changes indexes, and fills in the time of an event where that was left
out. That release finds what is to rotate without an index meanwhile.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | Sequence[str] | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute(
        "UPDATE deliveries SET happened_at = "
        "(SELECT created_at FROM events WHERE event_id = deliveries.subject_id) "
        "WHERE subject = 'event' AND sealed IS NOT NULL AND happened_at IS NULL"
    )
    sealed = sa.text("sealed IS NOT NULL")
    op.create_index(
        "ix_deliveries_sealed_since", "deliveries", ["happened_at"], sqlite_where=sealed, postgresql_where=sealed
    )
    op.drop_index("ix_keys_key_rotation_at", table_name="keys")
    op.create_index(
        "ix_keys_rotation_due",
        "keys",
        ["key_rotation_at", "key_id"],
        sqlite_where=sa.text("key_rotation_at IS NOT NULL AND expiry_recorded_at IS NULL AND blocked IS NOT 1"),
        postgresql_where=sa.text(
            "key_rotation_at IS NOT NULL AND expiry_recorded_at IS NULL AND blocked IS NOT TRUE"
        ),
    )


def downgrade() -> None:
    op.drop_index("ix_keys_rotation_due", table_name="keys")
    to_rotate = sa.text("key_rotation_at IS NOT NULL")
    op.create_index(
        "ix_keys_key_rotation_at",
        "keys",
        ["key_rotation_at", "key_id"],
        sqlite_where=to_rotate,
        postgresql_where=to_rotate,
    )
    op.drop_index("ix_deliveries_sealed_since", table_name="deliveries")

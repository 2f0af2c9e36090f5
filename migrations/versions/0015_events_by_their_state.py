"""Events by their state: when an event happened in its deliveries, and whether it went to anybody in the event.

Safe with the previous release because: it adds columns that may stay empty, and indexes. What that release writes
meanwhile is listed all the same: deliveries without the time of their event come last.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | Sequence[str] | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

UNADDRESSED = "routed_at IS NOT NULL AND addressed IS NULL"
WAITING = "subject = 'event' AND delivered_at IS NULL AND parked_at IS NULL"
PARKED = "subject = 'event' AND delivered_at IS NULL AND parked_at IS NOT NULL"


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("happened_at", sa.DateTime(timezone=True)))
    op.add_column("events", sa.Column("addressed", sa.Boolean()))
    op.execute(
        "UPDATE deliveries SET happened_at = "
        "(SELECT created_at FROM events WHERE event_id = deliveries.subject_id) WHERE subject = 'event'"
    )
    op.execute(
        "UPDATE events SET addressed = true WHERE EXISTS (SELECT 1 FROM deliveries "
        "WHERE deliveries.subject = 'event' AND deliveries.subject_id = events.event_id)"
    )
    _partial_index("ix_events_unaddressed", "events", ["created_at", "event_id"], UNADDRESSED)
    _partial_index("ix_deliveries_of_waiting_events", "deliveries", ["happened_at", "subject_id"], WAITING)
    _partial_index("ix_deliveries_of_parked_events", "deliveries", ["happened_at", "subject_id"], PARKED)


def downgrade() -> None:
    op.drop_index("ix_deliveries_of_parked_events", table_name="deliveries")
    op.drop_index("ix_deliveries_of_waiting_events", table_name="deliveries")
    op.drop_index("ix_events_unaddressed", table_name="events")
    op.drop_column("events", "addressed")
    op.drop_column("deliveries", "happened_at")


def _partial_index(name: str, table: str, columns: Sequence[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)

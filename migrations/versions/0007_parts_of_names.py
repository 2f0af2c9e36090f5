"""Trigram indexes for searches by a part of a name, where the database has them.

Where PostgreSQL lacks the extension pg_trgm, or forbids it to us, a search reads its table, as it does on SQLite.

Safe with the previous release because: it only adds indexes.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0007"
down_revision: str | Sequence[str] | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SEARCHED = (
    ("keys", "key_alias"),
    ("keys", "user_id"),
    ("teams", "team_alias"),
    ("teams", "team_id"),
    ("users", "user_id"),
    ("users", "user_email"),
    ("organizations", "organization_alias"),
)
# A store that has the extension installed elsewhere than on the search path has no indexes of it.
_WHERE_POSSIBLE = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm') THEN
        BEGIN
            CREATE EXTENSION IF NOT EXISTS pg_trgm;
            {indexes}
        EXCEPTION WHEN insufficient_privilege OR undefined_object THEN
            RAISE NOTICE 'no trigram indexes: %', SQLERRM;
        END;
    END IF;
END
$$
"""


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        indexes = " ".join(
            f"CREATE INDEX ix_{table}_part_of_{column} ON {table} USING gin ({column} gin_trgm_ops);"
            for table, column in SEARCHED
        )
        op.execute(_WHERE_POSSIBLE.format(indexes=indexes))


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        for table, column in reversed(SEARCHED):
            op.execute(f"DROP INDEX IF EXISTS ix_{table}_part_of_{column}")

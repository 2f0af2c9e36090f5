"""An index for every order and filter of every list.

Safe with the previous release because: it only adds indexes.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | Sequence[str] | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Each list is walked along a column and, among equals, along an id.
KEYS = ("updated_at", "key_alias", "max_budget_nanos", "expires_at", "last_active", "tpm_limit", "rpm_limit")
# Few keys have one of these.
SELDOM = ("project_id", "agent_id")

# What a tier caps.
CAPPED = (
    ("teams", "member_budget_id"),
    ("team_members", "budget_id"),
    ("organizations", "budget_id"),
    ("organization_members", "budget_id"),
)
USERS = ("user_email", "user_alias", "user_role", "max_budget_nanos", "updated_at", "sso_user_id")


def upgrade() -> None:
    for column in KEYS:
        op.create_index(f"ix_keys_by_{column}", "keys", [column, "key_id"])
    op.create_index("ix_keys_by_user_id", "keys", ["user_id", "key_id"])
    op.create_index("ix_keys_created_by", "keys", ["created_by", "created_at", "key_id"])
    for column in SELDOM:
        present = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_keys_{column}",
            "keys",
            [column, "created_at", "key_id"],
            sqlite_where=present,
            postgresql_where=present,
        )
    op.create_index(
        "ix_budget_state_lifetime_spend", "budget_state", ["scope", "lifetime_spend_nanos", "scope_id"]
    )
    op.create_index("ix_budget_state_reset_at", "budget_state", ["scope", "reset_at", "scope_id"])
    # Users.
    for column in USERS:
        op.create_index(f"ix_users_by_{column}", "users", [column, "user_id"])
    op.create_index("ix_users_user_role", "users", ["user_role", "created_at", "user_id"])
    # Tiers.
    for table, column in CAPPED:
        op.create_index(f"ix_{table}_{column}", table, [column])


def downgrade() -> None:
    # Tiers.
    for table, column in reversed(CAPPED):
        op.drop_index(f"ix_{table}_{column}", table_name=table)
    # Users.
    for name in ("ix_users_user_role", *(f"ix_users_by_{column}" for column in reversed(USERS))):
        op.drop_index(name, table_name="users")
    for name in ("ix_budget_state_reset_at", "ix_budget_state_lifetime_spend"):
        op.drop_index(name, table_name="budget_state")
    for name in (
        *(f"ix_keys_{column}" for column in reversed(SELDOM)),
        "ix_keys_created_by",
        "ix_keys_by_user_id",
        *(f"ix_keys_by_{column}" for column in reversed(KEYS)),
    ):
        op.drop_index(name, table_name="keys")

"""An index for every order and filter of every list.

Safe with the previous release because: it adds indexes, and drops one that no statement of it uses.
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

AUDIT = ("entity", "entity_id", "action", "actor_user_id", "actor_key_id", "request_id")


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

    for column in AUDIT:
        op.create_index(f"ix_audit_by_{column}", "audit", [column, "at", "audit_id"])
    claimed = sa.text("changed_by IS NOT NULL")
    op.create_index(
        "ix_audit_by_changed_by",
        "audit",
        ["changed_by", "at", "audit_id"],
        sqlite_where=claimed,
        postgresql_where=claimed,
    )
    op.drop_index("ix_audit_entity", table_name="audit")
    op.create_index(
        "ix_organization_members_created_at", "organization_members", ["organization_id", "created_at", "user_id"]
    )


def downgrade() -> None:
    op.drop_index("ix_organization_members_created_at", table_name="organization_members")
    op.create_index("ix_audit_entity", "audit", ["entity", "entity_id", "audit_id"])
    for column in ("changed_by", *reversed(AUDIT)):
        op.drop_index(f"ix_audit_by_{column}", table_name="audit")

    for name in ("ix_budget_state_reset_at", "ix_budget_state_lifetime_spend"):
        op.drop_index(name, table_name="budget_state")
    for name in (
        *(f"ix_keys_{column}" for column in reversed(SELDOM)),
        "ix_keys_created_by",
        "ix_keys_by_user_id",
        *(f"ix_keys_by_{column}" for column in reversed(KEYS)),
    ):
        op.drop_index(name, table_name="keys")

"""An index for every order and filter of every list, and archives of what is deleted.

Safe with the previous release because: it only adds tables and indexes, widens indexes of the same name, takes out
of a unique one what is not unique, and drops one that no statement uses.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0006"
down_revision: str | Sequence[str] | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

Instant = sa.DateTime(timezone=True)
Json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

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
    _upgrade_teams()
    _upgrade_organizations()
    _upgrade_audit()
    _upgrade_users()
    # Tiers.
    for table, column in CAPPED:
        op.create_index(f"ix_{table}_{column}", table, [column])


def downgrade() -> None:
    # Tiers.
    for table, column in reversed(CAPPED):
        op.drop_index(f"ix_{table}_{column}", table_name=table)
    _downgrade_users()
    _downgrade_audit()
    _downgrade_organizations()
    _downgrade_teams()
    for name in ("ix_budget_state_reset_at", "ix_budget_state_lifetime_spend"):
        op.drop_index(name, table_name="budget_state")
    for name in (
        *(f"ix_keys_{column}" for column in reversed(SELDOM)),
        "ix_keys_created_by",
        "ix_keys_by_user_id",
        *(f"ix_keys_by_{column}" for column in reversed(KEYS)),
    ):
        op.drop_index(name, table_name="keys")


# --- teams -------------------------------------------------------------------------------------------------

TEAMS = ("team_alias", "updated_at", "max_budget_nanos")
DELETED_TEAMS = (
    "team_id",
    "team_alias",
    "max_budget_nanos",
    "spend_nanos",
    "total_spend_nanos",
    "created_at",
    "updated_at",
    "deleted_at",
)


def _upgrade_teams() -> None:
    op.drop_index("ix_teams_organization_id", table_name="teams")
    op.create_index("ix_teams_organization_id", "teams", ["organization_id", "created_at", "team_id"])
    op.create_index("ix_teams_organization_alias", "teams", ["organization_id", "team_alias", "team_id"])
    for column in TEAMS:
        op.create_index(f"ix_teams_by_{column}", "teams", [column, "team_id"])
    op.create_index("ix_team_members_team_id", "team_members", ["team_id", "created_at", "user_id"])
    op.create_table(
        "deleted_teams",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("team_id", sa.Text(), nullable=False),
        sa.Column("team_alias", sa.Text()),
        sa.Column("organization_id", sa.Text()),
        sa.Column("members", Json, server_default=sa.text("'[]'"), nullable=False),
        sa.Column("max_budget_nanos", sa.BigInteger()),
        sa.Column("spend_nanos", sa.BigInteger(), nullable=False),
        sa.Column("total_spend_nanos", sa.BigInteger(), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.Column("deleted_at", Instant, nullable=False),
        sa.Column("deleted_by", sa.Text()),
        sa.Column("deleted_by_key_id", sa.Text()),
        sa.Column("changed_by", sa.Text()),
        sa.Column("fields", Json, nullable=False),
        sa.Column("team_memberships", Json, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deleted_teams"),
    )
    op.create_index("ix_deleted_teams_organization_id", "deleted_teams", ["organization_id", "created_at", "id"])
    for column in DELETED_TEAMS:
        op.create_index(f"ix_deleted_teams_by_{column}", "deleted_teams", [column, "id"])


def _downgrade_teams() -> None:
    op.drop_table("deleted_teams")
    op.drop_index("ix_team_members_team_id", table_name="team_members")
    for column in reversed(TEAMS):
        op.drop_index(f"ix_teams_by_{column}", table_name="teams")
    op.drop_index("ix_teams_organization_alias", table_name="teams")
    op.drop_index("ix_teams_organization_id", table_name="teams")
    op.create_index("ix_teams_organization_id", "teams", ["organization_id"])


# --- organizations -----------------------------------------------------------------------------------------


def _upgrade_organizations() -> None:
    op.create_index(
        "ix_organization_members_created_at", "organization_members", ["organization_id", "created_at", "user_id"]
    )


def _downgrade_organizations() -> None:
    op.drop_index("ix_organization_members_created_at", table_name="organization_members")


# --- the audit ---------------------------------------------------------------------------------------------

AUDIT = ("entity", "entity_id", "action", "actor_user_id", "actor_key_id", "request_id")
# Whom a row shows: the claim, else the caller's user.
AUDIT_CHANGED_BY = {
    "ix_audit_by_changed_by": ("changed_by", "changed_by IS NOT NULL"),
    "ix_audit_unclaimed": ("actor_user_id", "changed_by IS NULL"),
}


def _upgrade_audit() -> None:
    op.drop_index("ix_audit_entity", table_name="audit")
    for column in AUDIT:
        op.create_index(f"ix_audit_by_{column}", "audit", [column, "at", "audit_id"])
    for name, (column, those) in AUDIT_CHANGED_BY.items():
        op.create_index(
            name,
            "audit",
            [column, "at", "audit_id"],
            sqlite_where=sa.text(those),
            postgresql_where=sa.text(those),
        )


def _downgrade_audit() -> None:
    for name in (*reversed(AUDIT_CHANGED_BY), *(f"ix_audit_by_{column}" for column in reversed(AUDIT))):
        op.drop_index(name, table_name="audit")
    op.create_index("ix_audit_entity", "audit", ["entity", "entity_id", "audit_id"])


# --- users -------------------------------------------------------------------------------------------------

USERS = ("user_email", "user_alias", "user_role", "max_budget_nanos", "updated_at", "sso_user_id")


def _upgrade_users() -> None:
    for column in USERS:
        op.create_index(f"ix_users_by_{column}", "users", [column, "user_id"])
    op.create_index("ix_users_user_role", "users", ["user_role", "created_at", "user_id"])
    # Without the users that have none.
    present = sa.text("sso_user_id IS NOT NULL")
    op.drop_index("uq_users_sso_user_id", table_name="users")
    op.create_index(
        "uq_users_sso_user_id",
        "users",
        ["sso_user_id"],
        unique=True,
        sqlite_where=present,
        postgresql_where=present,
    )


def _downgrade_users() -> None:
    op.drop_index("uq_users_sso_user_id", table_name="users")
    op.create_index("uq_users_sso_user_id", "users", ["sso_user_id"], unique=True)
    for name in ("ix_users_user_role", *(f"ix_users_by_{column}" for column in reversed(USERS))):
        op.drop_index(name, table_name="users")

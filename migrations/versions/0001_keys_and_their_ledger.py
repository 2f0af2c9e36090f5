"""Keys, their secrets, budgets and spend, who owns them, the ledger, the audit trail and the outbox.

Safe with the previous release because: it is the first.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0001"
down_revision: str | Sequence[str] | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

Text = sa.Text()
Flag = sa.Boolean()
Count = sa.Integer()
Big = sa.BigInteger()
Nanos = sa.BigInteger()
Instant = sa.DateTime(timezone=True)
Json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
# SQLite numbers rows by itself only for a column typed INTEGER.
RowNumber = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# In the order of their references; dropped the other way round.
TABLES = (
    "budgets",
    "object_permissions",
    "organizations",
    "organization_members",
    "users",
    "teams",
    "team_members",
    "keys",
    "key_secrets",
    "deleted_keys",
    "budget_state",
    "ledger",
    "ledger_unfolded",
    "audit",
    "outbox",
)


def upgrade() -> None:
    _budgets()
    _object_permissions()
    _organizations()
    _users()
    _teams()
    _keys()
    _deleted_keys()
    _ledger()
    _records()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _budgets() -> None:
    op.create_table(
        "budgets",
        _required("budget_id", Text),
        _optional("budget_reset_at", Instant),
        _list("allowed_models"),
        _optional("temp_budget_increase_nanos", Nanos),
        _optional("temp_budget_expiry", Instant),
        *_spending_limits(),
        *_rate_limits(),
        *_authorship(),
        sa.PrimaryKeyConstraint("budget_id", name="pk_budgets"),
    )
    op.create_index("ix_budgets_created_at", "budgets", ["created_at", "budget_id"])
    op.create_table(
        "budget_state",
        _required("scope", Text),
        _required("scope_id", Text),
        _required("sub", Text, "''"),
        _optional("window_start", Instant),
        _optional("reset_at", Instant),
        _optional("armed_at", Instant),
        _required("window_spend_nanos", Nanos, "0"),
        _required("lifetime_spend_nanos", Nanos, "0"),
        sa.PrimaryKeyConstraint("scope", "scope_id", "sub", name="pk_budget_state"),
    )
    _partial_index("ix_budget_state_due", "budget_state", "reset_at", "armed_at IS NOT NULL")
    op.create_index("ix_budget_state_spend", "budget_state", ["scope", "window_spend_nanos", "scope_id"])


def _object_permissions() -> None:
    op.create_table(
        "object_permissions",
        _required("object_permission_id", Text),
        _list("mcp_servers"),
        _list("mcp_access_groups"),
        _list("mcp_toolsets"),
        _list("vector_stores"),
        _list("agents"),
        _list("agent_access_groups"),
        _list("models"),
        _list("blocked_tools"),
        _list("search_tools"),
        _list("skills"),
        _optional("mcp_tool_permissions", Json),
        _optional("mcp_tool_search_enabled", Flag),
        sa.PrimaryKeyConstraint("object_permission_id", name="pk_object_permissions"),
    )


def _organizations() -> None:
    op.create_table(
        "organizations",
        _required("organization_id", Text),
        _required("organization_alias", Text),
        _required("budget_id", Text),
        _optional("object_permission_id", Text),
        _list("models"),
        _object("metadata"),
        *_authorship(),
        sa.PrimaryKeyConstraint("organization_id", name="pk_organizations"),
        _reference("organizations", "budget_id", "budgets.budget_id"),
        _reference("organizations", "object_permission_id", "object_permissions.object_permission_id"),
    )
    op.create_index("ix_organizations_created_at", "organizations", ["created_at", "organization_id"])
    op.create_table(
        "organization_members",
        _required("organization_id", Text),
        _required("user_id", Text),
        _optional("user_role", Text),
        _optional("budget_id", Text),
        _required("created_at", Instant),
        _required("updated_at", Instant),
        sa.PrimaryKeyConstraint("organization_id", "user_id", name="pk_organization_members"),
        _reference("organization_members", "organization_id", "organizations.organization_id", "CASCADE"),
        _reference("organization_members", "budget_id", "budgets.budget_id"),
    )
    op.create_index("ix_organization_members_user_id", "organization_members", ["user_id"])


def _users() -> None:
    op.create_table(
        "users",
        _required("user_id", Text),
        _optional("user_email", Text),
        _optional("user_alias", Text),
        _optional("user_role", Text),
        _optional("sso_user_id", Text),
        _optional("object_permission_id", Text),
        _list("models"),
        _list("policies"),
        _list("allowed_cache_controls"),
        _object("metadata"),
        *_spending_limits(),
        *_rate_limits(),
        _required("created_at", Instant),
        _required("updated_at", Instant),
        _optional("email_folded", Text),
        sa.PrimaryKeyConstraint("user_id", name="pk_users"),
        _reference("users", "object_permission_id", "object_permissions.object_permission_id"),
    )
    op.create_index("uq_users_email_folded", "users", ["email_folded"], unique=True)
    op.create_index("uq_users_sso_user_id", "users", ["sso_user_id"], unique=True)
    op.create_index("ix_users_created_at", "users", ["created_at", "user_id"])


def _teams() -> None:
    op.create_table(
        "teams",
        _required("team_id", Text),
        _optional("team_alias", Text),
        _optional("organization_id", Text),
        _optional("object_permission_id", Text),
        _optional("member_budget_id", Text),
        *(_list(name) for name in ("models", "access_group_ids", "policies", "default_team_member_models")),
        _optional("team_member_permissions", Json),
        _object("metadata"),
        _object("model_aliases"),
        _optional("router_settings", Json),
        _optional("budget_limits", Json),
        _required("allow_team_guardrail_config", Flag, "false"),
        _optional("blocked", Flag),
        *_spending_limits(),
        *_rate_limits(),
        _required("created_at", Instant),
        _required("updated_at", Instant),
        sa.PrimaryKeyConstraint("team_id", name="pk_teams"),
        _reference("teams", "organization_id", "organizations.organization_id"),
        _reference("teams", "object_permission_id", "object_permissions.object_permission_id"),
        _reference("teams", "member_budget_id", "budgets.budget_id"),
    )
    op.create_index("ix_teams_created_at", "teams", ["created_at", "team_id"])
    op.create_index("ix_teams_organization_id", "teams", ["organization_id"])
    op.create_table(
        "team_members",
        _required("team_id", Text),
        _required("user_id", Text),
        _required("role", Text),
        _optional("user_email", Text),
        _optional("budget_id", Text),
        _required("created_at", Instant),
        sa.PrimaryKeyConstraint("team_id", "user_id", name="pk_team_members"),
        _reference("team_members", "team_id", "teams.team_id", "CASCADE"),
        _reference("team_members", "budget_id", "budgets.budget_id"),
    )
    op.create_index("ix_team_members_user_id", "team_members", ["user_id"])


def _keys() -> None:
    op.create_table(
        "keys",
        _required("key_id", Text),
        _optional("organization_id", Text),
        _optional("budget_id", Text),
        _optional("object_permission_id", Text),
        _optional("expiry_recorded_at", Instant),
        *_key_settings(),
        sa.PrimaryKeyConstraint("key_id", name="pk_keys"),
        _reference("keys", "organization_id", "organizations.organization_id"),
        _reference("keys", "budget_id", "budgets.budget_id"),
        _reference("keys", "object_permission_id", "object_permissions.object_permission_id"),
    )
    op.create_index("uq_keys_key_alias", "keys", ["key_alias"], unique=True)
    op.create_index("ix_keys_created_at", "keys", ["created_at", "key_id"])
    for scope in ("user_id", "team_id", "organization_id"):
        op.create_index(f"ix_keys_{scope}", "keys", [scope, "created_at", "key_id"])
    for reference in ("budget_id", "object_permission_id"):
        op.create_index(f"ix_keys_{reference}", "keys", [reference])
    due = "expires_at IS NOT NULL AND expiry_recorded_at IS NULL"
    _partial_index("ix_keys_expiry_due", "keys", "expires_at", due)
    op.create_table(
        "key_secrets",
        _required("token", Text),
        _required("key_id", Text),
        _required("key_name", Text),
        _required("created_at", Instant),
        _optional("revoke_at", Instant),
        sa.PrimaryKeyConstraint("token", name="pk_key_secrets"),
        _reference("key_secrets", "key_id", "keys.key_id", "CASCADE"),
    )
    _partial_index("uq_key_secrets_current", "key_secrets", "key_id", "revoke_at IS NULL", unique=True)
    op.create_index("ix_key_secrets_key_id", "key_secrets", ["key_id"])
    _partial_index("ix_key_secrets_revoke_at", "key_secrets", "revoke_at", "revoke_at IS NOT NULL")


def _deleted_keys() -> None:
    op.create_table(
        "deleted_keys",
        _numbered("id"),
        _required("key_id", Text),
        _required("token", Text),
        _required("key_name", Text),
        _optional("organization_id", Text),
        _optional("budget_id", Text),
        _optional("object_permission", Json),
        _optional("litellm_budget_table", Json),
        _required("spend_nanos", Nanos),
        _required("total_spend_nanos", Nanos),
        _optional("window_start", Instant),
        _optional("budget_reset_at", Instant),
        _required("deleted_at", Instant),
        _optional("deleted_by", Text),
        _optional("deleted_by_key_id", Text),
        _optional("changed_by", Text),
        *_key_settings(),
        sa.PrimaryKeyConstraint("id", name="pk_deleted_keys"),
    )
    op.create_index("ix_deleted_keys_created_at", "deleted_keys", ["created_at", "id"])
    op.create_index("ix_deleted_keys_user_id", "deleted_keys", ["user_id", "created_at", "id"])
    op.create_index("ix_deleted_keys_team_id", "deleted_keys", ["team_id", "created_at", "id"])
    op.create_index("ix_deleted_keys_key_id", "deleted_keys", ["key_id"])
    op.create_index("ix_deleted_keys_token", "deleted_keys", ["token"])


def _ledger() -> None:
    op.create_table(
        "ledger",
        _numbered("ledger_id"),
        _required("kind", Text),
        _required("request_id", Text),
        *(_optional(name, Text) for name in ("key_id", "team_id", "user_id", "organization_id", "model")),
        _required("amount_nanos", Nanos),
        _optional("input_tokens", Big),
        _optional("output_tokens", Big),
        _optional("tags", Json),
        _optional("end_user", Text),
        _optional("reason", Text),
        _optional("actor", Text),
        _required("occurred_at", Instant),
        _required("recorded_at", Instant),
        sa.PrimaryKeyConstraint("ledger_id", name="pk_ledger"),
        sa.UniqueConstraint("key_id", "request_id", name="uq_ledger_key_id_request_id"),
    )
    op.create_index("ix_ledger_key_id_occurred_at", "ledger", ["key_id", "occurred_at"])
    op.create_table(
        "ledger_unfolded",
        sa.Column("ledger_id", RowNumber, nullable=False, autoincrement=False),
        _required("scope", Text),
        _required("scope_id", Text),
        _required("sub", Text),
        _required("amount_nanos", Nanos),
        _required("occurred_at", Instant),
        sa.PrimaryKeyConstraint("ledger_id", "scope", "scope_id", "sub", name="pk_ledger_unfolded"),
        _reference("ledger_unfolded", "ledger_id", "ledger.ledger_id"),
    )
    scope = ["scope", "scope_id", "sub", "occurred_at"]
    op.create_index("ix_ledger_unfolded_scope", "ledger_unfolded", scope)


def _records() -> None:
    op.create_table(
        "audit",
        _numbered("audit_id"),
        _required("at", Instant),
        _optional("actor_key_id", Text),
        _optional("actor_user_id", Text),
        _required("actor_role", Text),
        _optional("changed_by", Text),
        _optional("request_id", Text),
        _optional("address", Text),
        _required("action", Text),
        _required("entity", Text),
        _required("entity_id", Text),
        _optional("before", Json),
        _optional("after", Json),
        sa.PrimaryKeyConstraint("audit_id", name="pk_audit"),
    )
    op.create_index("ix_audit_at", "audit", ["at", "audit_id"])
    op.create_index("ix_audit_entity", "audit", ["entity", "entity_id", "audit_id"])
    op.create_table(
        "outbox",
        _required("event_id", Text),
        _required("kind", Text),
        _required("entity", Text),
        _required("entity_id", Text),
        _optional("fact", Text),
        _required("payload", Json),
        _optional("sealed", sa.LargeBinary()),
        _required("created_at", Instant),
        _required("attempts", Count, "0"),
        _optional("next_attempt_at", Instant),
        _optional("delivered_at", Instant),
        _optional("parked_at", Instant),
        _optional("last_error", Text),
        sa.PrimaryKeyConstraint("event_id", name="pk_outbox"),
    )
    op.create_index("uq_outbox_fact", "outbox", ["fact"], unique=True)
    _partial_index("ix_outbox_due", "outbox", "next_attempt_at", "delivered_at IS NULL AND parked_at IS NULL")


def _key_settings() -> list[sa.Column[Any]]:
    """What the live table and the archive have in common."""
    return [
        *(_optional(name, Text) for name in ("key_alias", "user_id", "team_id", "agent_id", "project_id")),
        _optional("expires_at", Instant),
        _optional("blocked", Flag),
        _list("models"),
        *(_object(name) for name in ("aliases", "config", "permissions", "metadata")),
        *(_list(name) for name in ("allowed_cache_controls", "allowed_routes", "access_group_ids")),
        _object("budget_fallbacks"),
        _optional("budget_limits", Json),
        _optional("router_settings", Json),
        _optional("key_type", Text),
        _required("auto_rotate", Flag, "false"),
        _optional("rotation_interval", Text),
        _required("rotation_count", Count, "0"),
        *(_optional(f"{name}_at", Instant) for name in ("last_rotation", "key_rotation")),
        _optional("last_active", Instant),
        _optional("settings_updated_at", Instant),
        *_spending_limits(),
        *_rate_limits(),
        *_authorship(),
    ]


def _spending_limits() -> list[sa.Column[Any]]:
    return [
        _optional("max_budget_nanos", Nanos),
        _optional("soft_budget_nanos", Nanos),
        _optional("budget_duration", Text),
        _object("model_max_budget"),
    ]


def _rate_limits() -> list[sa.Column[Any]]:
    return [
        _optional("max_parallel_requests", Count),
        _optional("tpm_limit", Big),
        _optional("rpm_limit", Big),
        _optional("tpd_limit", Big),
    ]


def _authorship() -> list[sa.Column[Any]]:
    return [
        _required("created_at", Instant),
        _optional("created_by", Text),
        _required("updated_at", Instant),
        _optional("updated_by", Text),
    ]


def _required(name: str, type_: sa.types.TypeEngine[Any], default: str | None = None) -> sa.Column[Any]:
    server_default = None if default is None else sa.text(default)
    return sa.Column(name, type_, nullable=False, server_default=server_default)


def _optional(name: str, type_: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, type_, nullable=True)


def _numbered(name: str) -> sa.Column[Any]:
    return sa.Column(name, RowNumber, nullable=False, autoincrement=True)


def _list(name: str) -> sa.Column[Any]:
    return _required(name, Json, "'[]'")


def _object(name: str) -> sa.Column[Any]:
    return _required(name, Json, "'{}'")


def _reference(table: str, column: str, target: str, on_delete: str | None = None) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}", ondelete=on_delete)


def _partial_index(name: str, table: str, column: str, where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, [column], unique=unique, sqlite_where=condition, postgresql_where=condition)

"""Keys, the secrets that open them, what they may reach, and the archive of deleted ones.

A key is its stable `key_id`: spend, audit and history hang on that. Secrets are rows under it, the current one
(`revoke_at` NULL, exactly one), those still in grace, and one at the most that is on its way to whoever holds the
key and will be the next (`event_id`). All of them open it, so a rotation moves nothing that hangs on the key.
"""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, Table, Text, text

from app.db import Json, UtcDateTime, metadata
from app.models.columns import (
    RowNumber,
    authorship,
    blocked,
    json_list,
    json_object,
    rate_limits,
    spending_limits,
)


def _settings() -> list[Column[Any]]:
    """What a key is set to: the same columns in the live table and in the archive."""
    return [
        Column("key_alias", Text),
        Column("user_id", Text),
        Column("team_id", Text),
        Column("agent_id", Text),
        Column("project_id", Text),
        Column("expires_at", UtcDateTime),
        blocked(),
        json_list("models"),
        json_object("aliases"),
        json_object("config"),
        json_object("permissions"),
        json_object("metadata"),
        json_list("allowed_cache_controls"),
        json_list("allowed_routes"),
        json_list("access_group_ids"),
        json_object("budget_fallbacks"),
        Column("budget_limits", Json),
        Column("router_settings", Json),
        Column("key_type", Text),
        Column("auto_rotate", Boolean, nullable=False, server_default=text("false")),
        Column("rotation_interval", Text),
        Column("rotation_count", Integer, nullable=False, server_default=text("0")),
        Column("last_rotation_at", UtcDateTime),
        Column("key_rotation_at", UtcDateTime),
        Column("last_active", UtcDateTime),
        Column("settings_updated_at", UtcDateTime),
        *spending_limits(),
        *rate_limits(),
        *authorship(),
    ]


object_permissions = Table(
    "object_permissions",
    metadata,
    Column("object_permission_id", Text, primary_key=True),
    *(
        json_list(name)
        for name in (
            "mcp_servers",
            "mcp_access_groups",
            "mcp_toolsets",
            "vector_stores",
            "agents",
            "agent_access_groups",
            "models",
            "blocked_tools",
            "search_tools",
            "skills",
        )
    ),
    Column("mcp_tool_permissions", Json),
    Column("mcp_tool_search_enabled", Boolean),
)

keys = Table(
    "keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("organization_id", Text, ForeignKey("organizations.organization_id")),
    Column("budget_id", Text, ForeignKey("budgets.budget_id")),
    Column("object_permission_id", Text, ForeignKey("object_permissions.object_permission_id")),
    # When the expiry was recorded and told; the clock alone decides whether a key is expired.
    Column("expiry_recorded_at", UtcDateTime),
    # The end of a temporary increase, taken from `metadata` so that it can be found.
    Column("increase_ends_at", UtcDateTime),
    # When its end is to be told of next, before it comes.
    Column("notice_at", UtcDateTime),
    *_settings(),
    Index("uq_keys_key_alias", "key_alias", unique=True),
    Index("ix_keys_created_at", "created_at", "key_id"),
    Index("ix_keys_user_id", "user_id", "created_at", "key_id"),
    Index("ix_keys_team_id", "team_id", "created_at", "key_id"),
    Index("ix_keys_organization_id", "organization_id", "created_at", "key_id"),
    Index("ix_keys_created_by", "created_by", "created_at", "key_id"),
    Index("ix_keys_budget_id", "budget_id"),
    Index("ix_keys_object_permission_id", "object_permission_id"),
    Index(
        "ix_keys_increase_ends_at",
        "increase_ends_at",
        sqlite_where=text("increase_ends_at IS NOT NULL"),
        postgresql_where=text("increase_ends_at IS NOT NULL"),
    ),
    Index(
        "ix_keys_expiry_due",
        "expires_at",
        sqlite_where=text("expires_at IS NOT NULL AND expiry_recorded_at IS NULL"),
        postgresql_where=text("expires_at IS NOT NULL AND expiry_recorded_at IS NULL"),
    ),
    Index(
        "ix_keys_notice_at",
        "notice_at",
        sqlite_where=text("notice_at IS NOT NULL"),
        postgresql_where=text("notice_at IS NOT NULL"),
    ),
    Index(
        "ix_keys_rotation_due",
        "key_rotation_at",
        "key_id",
        sqlite_where=text("key_rotation_at IS NOT NULL AND expiry_recorded_at IS NULL AND blocked IS NOT 1"),
        postgresql_where=text(
            "key_rotation_at IS NOT NULL AND expiry_recorded_at IS NULL AND blocked IS NOT TRUE"
        ),
    ),
    # One for every order of the list.
    *(
        Index(f"ix_keys_by_{column}", column, "key_id")
        for column in (
            "updated_at",
            "key_alias",
            "max_budget_nanos",
            "expires_at",
            "last_active",
            "tpm_limit",
            "rpm_limit",
            "user_id",
        )
    ),
    *(
        Index(
            f"ix_keys_{column}",
            column,
            "created_at",
            "key_id",
            sqlite_where=text(f"{column} IS NOT NULL"),
            postgresql_where=text(f"{column} IS NOT NULL"),
        )
        for column in ("project_id", "agent_id")
    ),
)

key_secrets = Table(
    "key_secrets",
    metadata,
    Column("token", Text, primary_key=True),  # SHA-256 hex; a plaintext is never stored
    Column("key_id", Text, ForeignKey("keys.key_id", ondelete="CASCADE"), nullable=False),
    Column("key_name", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # Of one on its way beyond every clock: it opens the key until its delivery is decided, however late that is.
    Column("revoke_at", UtcDateTime),
    # The event by which a secret is on its way, NULL for every other.
    Column("event_id", Text),
    Index(
        "uq_key_secrets_current",
        "key_id",
        unique=True,
        sqlite_where=text("revoke_at IS NULL"),
        postgresql_where=text("revoke_at IS NULL"),
    ),
    Index("ix_key_secrets_key_id", "key_id"),
    Index(
        "ix_key_secrets_revoke_at",
        "revoke_at",
        sqlite_where=text("revoke_at IS NOT NULL"),
        postgresql_where=text("revoke_at IS NOT NULL"),
    ),
    Index(
        "uq_key_secrets_on_its_way",
        # All of them end at the same instant: one for a key.
        "key_id",
        "revoke_at",
        unique=True,
        sqlite_where=text("event_id IS NOT NULL"),
        postgresql_where=text("event_id IS NOT NULL"),
    ),
    Index(
        "ix_key_secrets_event_id",
        "event_id",
        sqlite_where=text("event_id IS NOT NULL"),
        postgresql_where=text("event_id IS NOT NULL"),
    ),
)

# Secrets that open nothing since a change of their key, not by the clock: by these a change that is sent again is
# known for what it is. They outlive their key.
retired_secrets = Table(
    "retired_secrets",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=True),
    Column("token", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("retired_at", UtcDateTime, nullable=False),
    Index("ix_retired_secrets_token", "token", "retired_at"),
    Index("ix_retired_secrets_retired_at", "retired_at", "id"),
)

deleted_keys = Table(
    "deleted_keys",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=True),
    Column("key_id", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("key_name", Text, nullable=False),
    # The ids as they were; what they named may be gone, so nothing is referenced.
    Column("organization_id", Text),
    Column("budget_id", Text),
    Column("object_permission", Json),
    Column("litellm_budget_table", Json),
    Column("spend_nanos", BigInteger, nullable=False),
    Column("total_spend_nanos", BigInteger, nullable=False),
    Column("window_start", UtcDateTime),
    Column("budget_reset_at", UtcDateTime),
    Column("deleted_at", UtcDateTime, nullable=False),
    Column("deleted_by", Text),
    Column("deleted_by_key_id", Text),
    Column("changed_by", Text),
    *_settings(),
    Index("ix_deleted_keys_created_at", "created_at", "id"),
    Index("ix_deleted_keys_user_id", "user_id", "created_at", "id"),
    Index("ix_deleted_keys_team_id", "team_id", "created_at", "id"),
    Index("ix_deleted_keys_key_id", "key_id"),
    Index("ix_deleted_keys_token", "token"),
    Index("ix_deleted_keys_key_alias", "key_alias", "deleted_at"),
    Index("ix_deleted_keys_deleted_at", "deleted_at", "id"),
)

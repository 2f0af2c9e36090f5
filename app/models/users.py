"""People and service identities that own keys."""

from sqlalchemy import Column, ForeignKey, Index, Table, Text, text

from app.db import UtcDateTime, metadata
from app.models.columns import json_list, json_object, rate_limits, spending_limits

users = Table(
    "users",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("user_email", Text),
    Column("user_alias", Text),
    Column("user_role", Text),
    Column("sso_user_id", Text),
    Column("object_permission_id", Text, ForeignKey("object_permissions.object_permission_id")),
    json_list("models"),
    json_list("policies"),
    json_list("allowed_cache_controls"),
    json_object("metadata"),
    *spending_limits(),
    *rate_limits(),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    # The address as it is compared: two spellings of one mailbox are one user.
    Column("email_folded", Text),
    Index("uq_users_email_folded", "email_folded", unique=True),
    # Not over those without one: a planner would take every id to be as common as none.
    Index(
        "uq_users_sso_user_id",
        "sso_user_id",
        unique=True,
        sqlite_where=text("sso_user_id IS NOT NULL"),
        postgresql_where=text("sso_user_id IS NOT NULL"),
    ),
    Index("ix_users_created_at", "created_at", "user_id"),
    Index("ix_users_user_role", "user_role", "created_at", "user_id"),
    # One for every order of the list.
    *(
        Index(f"ix_users_by_{column}", column, "user_id")
        for column in ("user_email", "user_alias", "user_role", "max_budget_nanos", "updated_at", "sso_user_id")
    ),
)

"""Organizations, the outermost scope of a budget, and their members with a role each."""

from sqlalchemy import Column, ForeignKey, Index, Table, Text

from app.db import UtcDateTime, metadata
from app.models.columns import authorship, json_list, json_object

organizations = Table(
    "organizations",
    metadata,
    Column("organization_id", Text, primary_key=True),
    Column("organization_alias", Text, nullable=False),
    Column("budget_id", Text, ForeignKey("budgets.budget_id"), nullable=False),
    Column("object_permission_id", Text, ForeignKey("object_permissions.object_permission_id")),
    json_list("models"),
    json_object("metadata"),
    *authorship(),
    Index("ix_organizations_created_at", "created_at", "organization_id"),
    Index("ix_organizations_budget_id", "budget_id"),
)

organization_members = Table(
    "organization_members",
    metadata,
    Column(
        "organization_id",
        Text,
        ForeignKey("organizations.organization_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("user_id", Text, primary_key=True),
    Column("user_role", Text),
    Column("budget_id", Text, ForeignKey("budgets.budget_id")),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index("ix_organization_members_user_id", "user_id"),
    Index("ix_organization_members_budget_id", "budget_id"),
    Index("ix_organization_members_created_at", "organization_id", "created_at", "user_id"),
)

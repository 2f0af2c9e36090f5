"""Teams and who belongs to them; membership is rows, the wire's lists are drawn from them."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Table, Text, text

from app.db import Json, UtcDateTime, metadata
from app.models.columns import blocked, json_list, json_object, rate_limits, spending_limits

teams = Table(
    "teams",
    metadata,
    Column("team_id", Text, primary_key=True),
    Column("team_alias", Text),
    Column("organization_id", Text, ForeignKey("organizations.organization_id")),
    Column("object_permission_id", Text, ForeignKey("object_permissions.object_permission_id")),
    # The budget row that new members share.
    Column("member_budget_id", Text, ForeignKey("budgets.budget_id")),
    json_list("models"),
    json_list("access_group_ids"),
    json_list("policies"),
    json_list("default_team_member_models"),
    Column("team_member_permissions", Json),  # NULL grants the baseline only
    json_object("metadata"),
    json_object("model_aliases"),
    Column("router_settings", Json),
    Column("budget_limits", Json),
    Column("allow_team_guardrail_config", Boolean, nullable=False, server_default=text("false")),
    blocked(),
    *spending_limits(),
    *rate_limits(),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index("ix_teams_created_at", "created_at", "team_id"),
    Index("ix_teams_member_budget_id", "member_budget_id"),
    Index("ix_teams_organization_id", "organization_id"),
)

team_members = Table(
    "team_members",
    metadata,
    Column("team_id", Text, ForeignKey("teams.team_id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("role", Text, nullable=False),  # admin, user
    Column("user_email", Text),
    Column("budget_id", Text, ForeignKey("budgets.budget_id")),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_team_members_user_id", "user_id"),
    # What is linked to a tier is looked for when that is deleted.
    Index("ix_team_members_budget_id", "budget_id"),
)

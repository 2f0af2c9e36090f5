"""Teams and who belongs to them; membership is rows, the wire's lists are drawn from them."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Table, Text, text

from app.db import Json, UtcDateTime, metadata
from app.models.columns import RowNumber, blocked, json_list, json_object, rate_limits, spending_limits

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
    Index("ix_teams_organization_id", "organization_id", "created_at", "team_id"),
    Index("ix_teams_organization_alias", "organization_id", "team_alias", "team_id"),
    # One for every order of the list.
    *(
        Index(f"ix_teams_by_{column}", column, "team_id")
        for column in ("team_alias", "updated_at", "max_budget_nanos")
    ),
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
    # In the order of joining.
    Index("ix_team_members_team_id", "team_id", "created_at", "user_id"),
)

# A team as it was shown when it was deleted, and beside that what the list of these is found and sorted by.
deleted_teams = Table(
    "deleted_teams",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=True),
    Column("team_id", Text, nullable=False),
    Column("team_alias", Text),
    Column("organization_id", Text),
    json_list("members"),
    Column("max_budget_nanos", BigInteger),
    Column("spend_nanos", BigInteger, nullable=False),
    Column("total_spend_nanos", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("deleted_at", UtcDateTime, nullable=False),
    Column("deleted_by", Text),
    Column("deleted_by_key_id", Text),
    Column("changed_by", Text),
    Column("fields", Json, nullable=False),
    Column("team_memberships", Json, nullable=False),
    Index("ix_deleted_teams_organization_id", "organization_id", "created_at", "id"),
    *(
        Index(f"ix_deleted_teams_by_{column}", column, "id")
        for column in (
            "team_id",
            "team_alias",
            "max_budget_nanos",
            "spend_nanos",
            "total_spend_nanos",
            "created_at",
            "updated_at",
            "deleted_at",
        )
    ),
)

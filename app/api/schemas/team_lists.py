"""What the lists of teams take and answer."""

from marshmallow import fields as f

from app.api.fields import Name, Text, Whole
from app.api.schemas.key_answers import Answer, LiteLLM_VerificationTokenSchema
from app.api.schemas.pages import PageQuerySchema
from app.api.schemas.teams import LiteLLM_TeamTableSchema, TeamMembershipSchema

MOST_KEYS_OF_EACH = 50


class TeamListQuerySchema(PageQuerySchema):
    size = Whole(low=1, high=100, nullable=False, load_default=100, data_key="page_size")
    user_id = Name(metadata={"description": "Only teams that this user is a member of"})
    organization_id = Name(
        metadata={"description": "Only teams of this organization; `default_organization`: of none"}
    )


class TeamInfoListQuerySchema(TeamListQuerySchema):
    key_limit = Whole(high=MOST_KEYS_OF_EACH, nullable=False, load_default=10)


class TeamListV2QuerySchema(TeamListQuerySchema):
    size = Whole(low=1, high=100, nullable=False, load_default=10, data_key="page_size")
    team_id = Name()
    team_alias = Name(metadata={"description": "Part of an alias, in any case"})
    search = Name(metadata={"description": "Part of an alias or of an id, in any case"})
    sort_by = Text(metadata={"description": "Column to sort by; newest first when left out"})
    sort_order = Text(load_default="asc", nullable=False, metadata={"description": "'asc' or 'desc'"})
    status = Text(metadata={"description": "deleted: what teams were when they were deleted"})


class TeamListResponseObjectSchema(LiteLLM_TeamTableSchema):
    """A team with those who joined it first, their budgets, and its newest keys."""

    members_count = f.Integer(required=True)
    team_memberships = f.List(f.Nested(TeamMembershipSchema()), required=True)
    keys = f.List(f.Nested(LiteLLM_VerificationTokenSchema()), required=True)


class TeamListItemSchema(LiteLLM_TeamTableSchema):
    """A team with those who joined it first."""

    members_count = f.Integer(required=True)
    # Of a deleted team only.
    id = f.String()
    deleted_at = f.String()
    deleted_by = f.String(allow_none=True)
    deleted_by_api_key = f.String(allow_none=True)
    litellm_changed_by = f.String(allow_none=True)


class TeamListResponseSchema(Answer):
    teams = f.List(f.Nested(TeamListItemSchema()), required=True)
    total = f.Integer(required=True)
    page = f.Integer(required=True)
    page_size = f.Integer(required=True)
    total_pages = f.Integer(required=True)


class AvailableTeamSchema(Answer):
    """As much of a team as is told to those who may join it; its lists of members are empty."""

    team_id = f.String(required=True)
    team_alias = f.String(required=True, allow_none=True)
    organization_id = f.String(required=True, allow_none=True)
    models = f.List(f.String(), required=True)
    max_budget = f.Float(required=True, allow_none=True)
    budget_duration = f.String(required=True, allow_none=True)
    budget_start_time = f.String(required=True, allow_none=True)
    budget_timezone = f.String(required=True, allow_none=True)
    budget_rollover = f.Boolean(required=True, allow_none=True)
    tpm_limit = f.Integer(required=True, allow_none=True)
    rpm_limit = f.Integer(required=True, allow_none=True)
    blocked = f.Boolean(required=True)
    created_at = f.String(required=True)
    admins = f.List(f.String(), required=True)
    members = f.List(f.String(), required=True)
    members_with_roles = f.List(f.Dict(), required=True)

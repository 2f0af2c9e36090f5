"""What the team endpoints take and answer."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema
from marshmallow import fields as f

from app.api.fields import Choice, Fault, Flag, Line, Money, Name, Object, Rates, Text, TextList, Whole, refuse
from app.api.schemas.budgets import LimitsAnswerSchema, LimitsSchema
from app.api.schemas.key_answers import Answer, LiteLLM_VerificationTokenSchema, UsageFields
from app.api.schemas.keys import (
    BudgetLimits,
    LiteLLM_ObjectPermissionBaseSchema,
)
from app.api.schemas.requests import Request
from app.domain.teams import MOST_MEMBERS, ROLES

MOST_KEYS = 1_000
MOST_TEAMS = 1_000


def at_most(longest: int) -> Any:
    """A list that is not longer than this."""

    def check(value: list[Any]) -> None:
        if len(value) > longest:
            raise refuse("too_long", f"List should have at most {longest} items")

    return check


def need_somebody(data: dict[str, Any]) -> None:
    """Refuse a request that names a user neither by id nor by address."""
    if not data.get("user_id") and not (data.get("user_email") or "").strip():
        raise ValidationError([Fault("value_error", "Either user_id or user_email must be provided")])


class MemberSchema(Request):
    """Somebody and the role to have; an unknown e-mail becomes a user."""

    user_id = Name()
    user_email = Line()
    role = Choice(*ROLES, required=True, nullable=False)

    @validates_schema
    def _names_somebody(self, data: dict[str, Any], **_: Any) -> None:
        need_somebody(data)


class TeamSettingsSchema(LimitsSchema):
    """The settings that making and changing a team have in common."""

    team_alias = Name()
    organization_id = Name()
    models = TextList()
    model_aliases = Object()
    metadata = Object()
    blocked = Flag()
    budget_limits = BudgetLimits()
    team_member_permissions = TextList()
    team_member_budget = Money()
    team_member_budget_duration = Text(max_length=64)
    team_member_tpm_limit = Whole()
    team_member_rpm_limit = Whole()
    team_member_key_duration = Text(max_length=64)
    default_team_member_models = TextList()
    object_permission = fields.Nested(LiteLLM_ObjectPermissionBaseSchema(), allow_none=True)
    access_group_ids = TextList()
    router_settings = Object()
    secret_manager_settings = Object()
    tags = TextList()
    guardrails = TextList()
    policies = TextList()
    prompts = TextList()
    disable_global_guardrails = Flag()
    allowed_passthrough_routes = TextList()
    denied_passthrough_routes = TextList()
    model_rpm_limit = Rates()
    model_tpm_limit = Rates()


class NewTeamRequestSchema(TeamSettingsSchema):
    team_id = Name()
    members_with_roles = fields.List(
        fields.Nested(MemberSchema()), allow_none=True, validate=at_most(MOST_MEMBERS)
    )


class UpdateTeamRequestSchema(TeamSettingsSchema):
    """A merge patch: what is not sent stays, null means the default."""

    team_id = Name(required=True, nullable=False)


class BlockTeamRequestSchema(Request):
    team_id = Name(required=True, nullable=False)


class DeleteTeamRequestSchema(Request):
    team_ids = fields.List(Name(nullable=False), required=True, validate=at_most(MOST_TEAMS))


class TeamInfoQuerySchema(Request):
    team_id = Name(required=True)
    key_limit = Whole(high=MOST_KEYS, nullable=False, load_default=100)


class MemberAnswerSchema(Answer):
    user_id = f.String(required=True)
    user_email = f.String(required=True, allow_none=True)
    role = f.String(required=True)


class TeamMembershipSchema(MemberAnswerSchema):
    """A member with its own spend and the tier that caps it."""

    team_id = f.String(required=True)
    spend = f.Float(required=True)
    total_spend = f.Float(required=True)
    budget_id = f.String(required=True, allow_none=True)
    budget_reset_at = f.String(required=True, allow_none=True)
    budget_source = f.String(
        required=True, allow_none=True, metadata={"description": "`member` for a tier of its own, else `team`"}
    )
    litellm_budget_table = f.Dict(required=True, allow_none=True)


class LiteLLM_TeamTableSchema(LimitsAnswerSchema):  # noqa: N801 - the wire's component name
    """The row of a team; its lists of members are drawn from the memberships."""

    team_id = f.String(required=True)
    team_alias = f.String(required=True, allow_none=True)
    organization_id = f.String(required=True, allow_none=True)
    admins = f.List(f.String(), required=True)
    members = f.List(f.String(), required=True)
    members_with_roles = f.List(f.Nested(MemberAnswerSchema()), required=True)
    models = f.List(f.String(), required=True)
    metadata = f.Dict(required=True)
    blocked = f.Boolean(required=True)
    spend = f.Float(required=True)
    total_spend = f.Float(required=True)
    budget_limits = f.List(f.Dict(), allow_none=True)
    team_member_permissions = f.List(f.String(), allow_none=True)
    team_member_budget_table = f.Dict(allow_none=True)
    object_permission = f.Dict(allow_none=True)
    litellm_model_table = f.Dict(allow_none=True)


class UpdateTeamResponseSchema(Answer):
    team_id = f.String(required=True)
    data = f.Nested(LiteLLM_TeamTableSchema(), required=True)


class TeamInfoRowSchema(LiteLLM_TeamTableSchema, UsageFields):
    """What info tells of a team."""


class TeamInfoResponseObjectSchema(Answer):
    team_id = f.String(required=True)
    team_info = f.Nested(TeamInfoRowSchema(), required=True)
    keys = f.List(f.Nested(LiteLLM_VerificationTokenSchema()), required=True)
    team_memberships = f.List(f.Nested(TeamMembershipSchema()), required=True)


class DeletedTeamsSchema(Answer):
    deleted_teams = f.List(f.String(), required=True)

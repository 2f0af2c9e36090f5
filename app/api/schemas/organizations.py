"""What the organization endpoints take and answer."""

from typing import Any

from marshmallow import fields, post_load
from marshmallow import fields as f

from app.api.fields import Instant, Name, Object, Rates, TextList
from app.api.schemas.budgets import LimitsSchema, LiteLLM_BudgetTableSchema
from app.api.schemas.key_answers import Answer
from app.api.schemas.keys import LiteLLM_ObjectPermissionBaseSchema, TemporaryIncreaseSchema
from app.api.schemas.requests import Request
from app.api.schemas.teams import LiteLLM_TeamTableSchema


class OrganizationBudgetSchema(LimitsSchema, TemporaryIncreaseSchema):
    """The limits of an organization's tier."""

    budget_reset_at = Instant()
    allowed_models = TextList()


class OrganizationSettingsSchema(OrganizationBudgetSchema):
    """The settings that making and changing an organization have in common."""

    budget_id = Name()
    models = TextList()
    metadata = Object()
    model_rpm_limit = Rates()
    model_tpm_limit = Rates()
    object_permission = fields.Nested(LiteLLM_ObjectPermissionBaseSchema(), allow_none=True)


class NewOrganizationRequestSchema(OrganizationSettingsSchema):
    """An organization over the tier that `budget_id` names, or over one of its own with these limits."""

    organization_alias = Name(required=True, nullable=False)
    organization_id = Name()


class LiteLLM_OrganizationTableUpdateSchema(OrganizationSettingsSchema):  # noqa: N801 - the wire's component name
    """A merge patch; limits of the tier stand beside the rest, or in `litellm_budget_table`."""

    organization_id = Name()
    organization_alias = Name()
    litellm_budget_table = fields.Nested(OrganizationBudgetSchema(), allow_none=True)

    @post_load
    def _flatten(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """What stands beside the nested limits is said with more emphasis."""
        return {**(data.pop("litellm_budget_table", None) or {}), **data}


class OrganizationInfoQuerySchema(Request):
    organization_id = Name(required=True)


class NewOrganizationResponseSchema(Answer):
    """The row of an organization, with its tier."""

    organization_id = f.String(required=True)
    organization_alias = f.String(required=True)
    budget_id = f.String(required=True)
    models = f.List(f.String(), required=True)
    metadata = f.Dict(required=True)
    spend = f.Float(required=True)
    total_spend = f.Float(required=True)
    budget_reset_at = f.String(required=True, allow_none=True)
    created_at = f.String(required=True)
    created_by = f.String(required=True, allow_none=True)
    updated_at = f.String(required=True)
    updated_by = f.String(required=True, allow_none=True)
    litellm_budget_table = f.Nested(LiteLLM_BudgetTableSchema(), required=True)
    object_permission = f.Dict(allow_none=True)


class LiteLLM_OrganizationMembershipTableSchema(Answer):  # noqa: N801 - the wire's component name
    """A member of an organization; the user's own fields stand in `user` for those who may see it."""

    organization_id = f.String(required=True)
    user_id = f.String(required=True)
    user_role = f.String(required=True, allow_none=True)
    budget_id = f.String(required=True, allow_none=True)
    created_at = f.String(required=True)
    updated_at = f.String(required=True)
    user = f.Dict(required=True, allow_none=True)


class LiteLLM_OrganizationTableWithMembersSchema(NewOrganizationResponseSchema):  # noqa: N801 - as above
    members = f.List(f.Nested(LiteLLM_OrganizationMembershipTableSchema()), required=True)
    teams = f.List(f.Nested(LiteLLM_TeamTableSchema()), required=True)

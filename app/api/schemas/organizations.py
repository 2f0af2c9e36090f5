"""What the organization endpoints take and answer."""

from typing import Any

from marshmallow import fields, post_load, validates_schema
from marshmallow import fields as f

from app.api.fields import Choice, Line, Money, Name, Object, Rates, TextList, Whole
from app.api.instant_fields import Instant
from app.api.schemas.budgets import LimitsSchema, LiteLLM_BudgetTableSchema
from app.api.schemas.key_answers import Answer
from app.api.schemas.keys import LiteLLM_ObjectPermissionBaseSchema, TemporaryIncreaseSchema
from app.api.schemas.pages import PageQuerySchema
from app.api.schemas.requests import Request
from app.api.schemas.team_members import Members
from app.api.schemas.teams import LiteLLM_TeamTableSchema, at_most, need_somebody
from app.domain.organizations import ROLES

# What a team of a list leaves out.
ROSTER = frozenset({"admins", "members", "members_with_roles"})
# One transaction deletes them all.
MOST_ORGANIZATIONS = 100


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


class OrganizationQuerySchema(PageQuerySchema):
    """Which organizations to list; of all filters, those that are sent must fit."""

    org_id = Name()
    org_alias = Name(metadata={"description": "Part of the alias, in whatever case"})
    page_size = Whole(low=1, high=100, nullable=False, load_default=100)


class DeleteOrganizationRequestSchema(Request):
    organization_ids = fields.List(Name(nullable=False), required=True, validate=at_most(MOST_ORGANIZATIONS))


class _NamesMemberSchema(Request):
    """A user by its id, or else by its address."""

    user_id = Name()
    user_email = Line()

    @validates_schema
    def _names_somebody(self, data: dict[str, Any], **_: Any) -> None:
        need_somebody(data)


class OrgMemberSchema(_NamesMemberSchema):
    """Somebody and the role to have in the organization; an unknown e-mail becomes a user."""

    role = Choice(*ROLES, required=True, nullable=False)


class OrganizationMemberAddRequestSchema(Request):
    organization_id = Name(required=True, nullable=False)
    member = Members(OrgMemberSchema(), required=True)
    max_budget_in_organization = Money()


class OrganizationMemberUpdateRequestSchema(_NamesMemberSchema):
    """A merge patch of a membership."""

    organization_id = Name(required=True, nullable=False)
    role = Choice(*ROLES)
    max_budget_in_organization = Money()


class OrganizationMemberDeleteRequestSchema(_NamesMemberSchema):
    organization_id = Name(required=True, nullable=False)


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
    max_budget_in_organization = f.Float(required=True, allow_none=True)
    litellm_budget_table = f.Dict(required=True, allow_none=True)
    user = f.Dict(required=True, allow_none=True)


class LiteLLM_OrganizationTableWithMembersSchema(NewOrganizationResponseSchema):  # noqa: N801 - as above
    members = f.List(f.Nested(LiteLLM_OrganizationMembershipTableSchema()), required=True)
    teams = f.List(f.Nested(LiteLLM_TeamTableSchema()), required=True)


class OrganizationListItemSchema(LiteLLM_OrganizationTableWithMembersSchema):
    """An organization of a list: with its first members and teams, and whether there are more."""

    teams = f.List(f.Dict(), required=True, metadata={"description": "Their members are told by /team/info"})
    more_members = f.Boolean(required=True)
    more_teams = f.Boolean(required=True)


class OrganizationAddMemberResponseSchema(Answer):
    organization_id = f.String(required=True)
    updated_users = f.List(f.Dict(), required=True)
    updated_organization_memberships = f.List(f.Nested(LiteLLM_OrganizationMembershipTableSchema()), required=True)

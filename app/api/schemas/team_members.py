"""What the endpoints of teams' members take and answer."""

from typing import Any

from marshmallow import Schema, fields, validates_schema
from marshmallow import fields as f

from app.api.fields import Choice, Flag, Line, Money, Name, Text, TextList, Whole
from app.api.schemas.key_answers import Answer
from app.api.schemas.keys import ModelBudgets, TemporaryIncreaseSchema
from app.api.schemas.requests import Request
from app.api.schemas.teams import (
    LiteLLM_TeamTableSchema,
    MemberAnswerSchema,
    MemberSchema,
    TeamMembershipSchema,
    at_most,
    need_somebody,
)
from app.domain.teams import MOST_MEMBERS, ROLES


class Members(fields.Field[Any]):
    """One member, or a list of them; the document must know the schema by its name."""

    def __init__(self, schema: Schema, **kwargs: Any) -> None:
        member = {"$ref": f"#/components/schemas/{type(schema).__name__.removesuffix('Schema')}"}
        super().__init__(metadata={"oneOf": [member, {"type": "array", "items": member}]}, **kwargs)
        self._one = fields.Nested(schema)
        self._several = fields.List(fields.Nested(schema), validate=at_most(MOST_MEMBERS))

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        return (self._several if isinstance(value, list) else self._one).deserialize(value)


class TeamMemberAddRequestSchema(Request):
    team_id = Name(required=True, nullable=False)
    member = Members(MemberSchema(), required=True)
    max_budget_in_team = Money()
    budget_duration = Text(max_length=64)
    budget_start_time = Text(max_length=8)
    budget_timezone = Text(max_length=64)
    budget_rollover = Flag()
    allowed_models = TextList()


class TeamMemberUpdateRequestSchema(TemporaryIncreaseSchema):
    """A merge patch of a membership: its role, and the limits of the member's own tier."""

    team_id = Name(required=True, nullable=False)
    user_id = Name()
    user_email = Line()
    role = Choice(*ROLES)
    max_budget_in_team = Money()
    budget_duration = Text(max_length=64)
    budget_start_time = Text(max_length=8)
    budget_timezone = Text(max_length=64)
    budget_rollover = Flag()
    allowed_models = TextList()
    tpm_limit = Whole()
    rpm_limit = Whole()
    model_max_budget = ModelBudgets()

    @validates_schema
    def _names_somebody(self, data: dict[str, Any], **_: Any) -> None:
        need_somebody(data)


class TeamMemberDeleteRequestSchema(Request):
    """A member by its id, or else by its address."""

    team_id = Name(required=True, nullable=False)
    user_id = Name()
    user_email = Line()

    @validates_schema
    def _names_somebody(self, data: dict[str, Any], **_: Any) -> None:
        need_somebody(data)


class BulkTeamMemberAddRequestSchema(Request):
    """Some users, or all that are not in the team; how many at the most is for the use case to say."""

    team_id = Name(required=True, nullable=False)
    members = fields.List(fields.Nested(MemberSchema()), allow_none=True)
    all_users = Flag()
    max_budget_in_team = Money()


class TeamAddMemberResponseSchema(LiteLLM_TeamTableSchema):
    updated_users = f.List(f.Dict(), required=True)
    updated_team_memberships = f.List(f.Nested(TeamMembershipSchema()), required=True)


class TeamMemberUpdateResponseSchema(MemberAnswerSchema):
    """The membership as it is now, under the names of the request."""

    team_id = f.String(required=True)
    max_budget_in_team = f.Float(required=True, allow_none=True)
    budget_duration = f.String(required=True, allow_none=True)
    budget_start_time = f.String(required=True, allow_none=True)
    budget_timezone = f.String(required=True, allow_none=True)
    budget_rollover = f.Boolean(required=True, allow_none=True)
    allowed_models = f.List(f.String(), required=True)
    tpm_limit = f.Integer(required=True, allow_none=True)
    rpm_limit = f.Integer(required=True, allow_none=True)
    model_max_budget = f.Dict(required=True)
    temp_budget_increase = f.Float(required=True, allow_none=True)
    temp_budget_expiry = f.String(required=True, allow_none=True)


class TeamMemberAddResultSchema(Answer):
    user_id = f.String(required=True, allow_none=True)
    user_email = f.String(required=True, allow_none=True)
    success = f.Boolean(required=True)
    error = f.String(required=True, allow_none=True)
    updated_user = f.Dict(
        required=True,
        allow_none=True,
        metadata={"description": "As far as the caller may see it; null where nothing changed"},
    )
    updated_team_membership = f.Nested(TeamMembershipSchema(), required=True, allow_none=True)


class BulkTeamMemberAddResponseSchema(Answer):
    team_id = f.String(required=True)
    results = f.List(f.Nested(TeamMemberAddResultSchema()), required=True)
    total_requested = f.Integer(required=True)
    successful_additions = f.Integer(required=True)
    failed_additions = f.Integer(required=True)
    updated_team = f.Nested(LiteLLM_TeamTableSchema(), required=True)

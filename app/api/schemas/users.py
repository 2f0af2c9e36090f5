"""What the user endpoints take and answer."""

from typing import Any

from marshmallow import fields, validates_schema
from marshmallow import fields as f

from app.api.fields import (
    Anything,
    Choice,
    Flag,
    Line,
    Money,
    Name,
    Names,
    Object,
    Text,
    TextList,
    Whole,
    refuse,
)
from app.api.schemas.budgets import LimitsAnswerSchema, LimitsSchema
from app.api.schemas.key_answers import Answer, LiteLLM_VerificationTokenSchema
from app.api.schemas.keys import LiteLLM_ObjectPermissionBaseSchema
from app.api.schemas.pages import PageQuerySchema
from app.api.schemas.requests import Request
from app.api.schemas.teams import LiteLLM_TeamTableSchema, at_most, need_somebody
from app.domain.access import Role
from app.domain.teams import ROLES

# One transaction joins them all.
MOST_TEAMS = 500
# One transaction deletes them all.
MOST_DELETED = 1_000
MOST_NAMED = 500


class NewUserRequestTeamSchema(Request):
    """A team to join, with the role and the budget to have there."""

    team_id = Name(required=True, nullable=False)
    user_role = Choice(*ROLES, load_default="user")
    max_budget_in_team = Money()


_TEAM = {"$ref": "#/components/schemas/NewUserRequestTeam"}


class Team(fields.Field[Any]):
    """The id of a team, or an object with its `team_id`."""

    def __init__(self) -> None:
        super().__init__(metadata={"oneOf": [{"type": "string"}, _TEAM]})
        self._object = fields.Nested(NewUserRequestTeamSchema())

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        entry = self._object.deserialize({"team_id": value} if isinstance(value, str) else value)
        return {**entry, "user_role": entry["user_role"] or "user"}


class Refused(Anything):
    """What this service never takes: nobody may believe that it was stored."""

    def _deserialize(self, *_: Any, **__: Any) -> Any:
        raise refuse("value_error", "Passwords are not accepted here: users have keys, not passwords")


class UserSettingsSchema(LimitsSchema):
    """The settings that making and changing a user have in common."""

    user_id = Name()
    user_email = Line()
    user_alias = Name()
    user_role = Choice(*(role.value for role in Role))
    sso_user_id = Name()
    models = TextList()
    metadata = Object()
    object_permission = fields.Nested(LiteLLM_ObjectPermissionBaseSchema(), allow_none=True)
    policies = TextList()
    allowed_cache_controls = TextList()
    password = Refused()


class NewUserRequestSchema(UserSettingsSchema):
    teams = fields.List(Team(), allow_none=True, validate=at_most(MOST_TEAMS))
    organizations = TextList(longest=MOST_TEAMS)
    auto_create_key = Flag(metadata={"description": "false makes the user only"})
    key_alias = Name()
    duration = Text(max_length=64)
    aliases = Object()
    config = Object()
    permissions = Object()
    send_invite_email = Flag()


class UpdateUserRequestSchema(UserSettingsSchema):
    """A merge patch: what is not sent stays, null means the default. `user_email` finds the user without an id."""

    spend = Money(metadata={"description": "What has been spent in the present window, from now on"})

    @validates_schema
    def _names_somebody(self, data: dict[str, Any], **_: Any) -> None:
        need_somebody(data)


class UserInfoQuerySchema(Request):
    user_id = Name(metadata={"description": "The caller itself when left out"})


class DeleteUserRequestSchema(Request):
    user_ids = TextList(required=True, longest=MOST_DELETED)


class UserListQuerySchema(PageQuerySchema):
    size = Whole(low=1, high=100, nullable=False, load_default=25, data_key="page_size")
    role = Name()
    user_ids = Names(
        most=MOST_NAMED,
        metadata={"description": "Separated by commas; a single one finds every id that contains it"},
    )
    sso_user_ids = Names(most=MOST_NAMED, metadata={"description": "Separated by commas"})
    user_email = Name(metadata={"description": "Part of an address"})
    search = Name(metadata={"description": "Part of an id or an address"})
    team = Name(metadata={"description": "Only members of this team"})
    organization_ids = Names(
        most=MOST_NAMED, metadata={"description": "Only members of these organizations, separated by commas"}
    )
    sort_by = Text(metadata={"description": "Column to sort by; newest first when left out"})
    sort_order = Text(load_default="asc", metadata={"description": "'asc' or 'desc'"})


class LiteLLM_UserTableSchema(LimitsAnswerSchema):  # noqa: N801 - the wire's component name
    """The row of a user."""

    user_id = f.String(required=True)
    user_email = f.String(required=True, allow_none=True)
    user_alias = f.String(required=True, allow_none=True)
    user_role = f.String(required=True, allow_none=True)
    teams = f.List(f.String(), required=True)
    models = f.List(f.String(), required=True)
    metadata = f.Dict(required=True)
    spend = f.Float(required=True)
    total_spend = f.Float(required=True)
    object_permission = f.Dict(allow_none=True)


class UserInfoV2ResponseSchema(LiteLLM_UserTableSchema):
    """The user alone: of its teams the ids, of its keys nothing."""

    sso_user_id = f.String(required=True, allow_none=True)


class LiteLLM_UserTableWithKeyCountSchema(LiteLLM_UserTableSchema):  # noqa: N801 - as above
    key_count = f.Integer(required=True)


class UserListResponseSchema(Answer):
    users = f.List(f.Nested(LiteLLM_UserTableWithKeyCountSchema()), required=True)
    total = f.Integer(required=True)
    page = f.Integer(required=True)
    page_size = f.Integer(required=True)
    total_pages = f.Integer(required=True)


class RoleSchema(Answer):
    description = f.String(required=True)
    ui_label = f.String(required=True)


class AvailableRolesSchema(Answer):
    proxy_admin = f.Nested(RoleSchema(), required=True)
    proxy_admin_viewer = f.Nested(RoleSchema(), required=True)
    internal_user = f.Nested(RoleSchema(), required=True)
    internal_user_viewer = f.Nested(RoleSchema(), required=True)


class NewUserResponseSchema(LiteLLM_UserTableSchema):
    """The user, with the plaintext of its first key."""

    key = f.String(required=True, metadata={"description": "The plaintext: this answer alone shows it"})
    expires = f.String(required=True, allow_none=True)


class UpdateUserResponseSchema(Answer):
    user_id = f.String(required=True)
    data = f.Nested(LiteLLM_UserTableSchema(), required=True)


class UserInfoResponseSchema(Answer):
    user_id = f.String(required=True)
    user_info = f.Nested(LiteLLM_UserTableSchema(), required=True, allow_none=True)
    keys = f.List(f.Nested(LiteLLM_VerificationTokenSchema()), required=True)
    teams = f.List(f.Nested(LiteLLM_TeamTableSchema()), required=True)

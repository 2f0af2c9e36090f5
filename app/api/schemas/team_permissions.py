"""What the endpoints of a team's member permissions take and answer."""

from marshmallow import fields as f

from app.api.fields import Name, TextList
from app.api.schemas.key_answers import Answer
from app.api.schemas.requests import Request


class TeamPermissionsQuerySchema(Request):
    team_id = Name(required=True)


class UpdateTeamMemberPermissionsRequestSchema(Request):
    team_id = Name(required=True, nullable=False)
    team_member_permissions = TextList(required=True)


class GetTeamMemberPermissionsResponseSchema(Answer):
    team_id = f.String(required=True)
    team_member_permissions = f.List(f.String(), required=True)
    all_available_permissions = f.List(f.String(), required=True)

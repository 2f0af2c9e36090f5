"""What the endpoints of a team's logging callbacks take and answer."""

from marshmallow import fields as f

from app.api.fields import Choice, Name, Object
from app.api.schemas.key_answers import Answer
from app.api.schemas.requests import Request
from app.api.schemas.teams import LiteLLM_TeamTableSchema
from app.domain.callbacks import TYPES


class AddTeamCallbackSchema(Request):
    callback_name = Name(required=True, nullable=False)
    callback_type = Choice(*TYPES)
    callback_vars = Object(required=True)


class TeamCallbackAddedSchema(Answer):
    status = f.String(required=True)
    data = f.Nested(LiteLLM_TeamTableSchema(), required=True)


class TeamCallbackNamesSchema(Answer):
    team_id = f.String(required=True)
    success_callbacks = f.List(f.String(), required=True)
    failure_callbacks = f.List(f.String(), required=True)


class TeamCallbacksSchema(TeamCallbackNamesSchema):
    callback_vars = f.Dict(required=True, metadata={"description": "Of all of them in one; secrets are masked"})


class TeamCallbackListResponseSchema(Answer):
    status = f.String(required=True)
    data = f.Nested(TeamCallbacksSchema(), required=True)


class TeamCallbackDeleteResponseSchema(Answer):
    """What is left after callbacks were taken away."""

    status = f.String(required=True)
    message = f.String(required=True)
    data = f.Nested(TeamCallbackNamesSchema(), required=True)

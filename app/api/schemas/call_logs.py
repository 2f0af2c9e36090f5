"""What a gateway hands over of calls that are over, and is told of it."""

from marshmallow import fields as f

from app.api.schemas.decisions import SubjectSchema
from app.api.schemas.finished_calls import FinishedCallSchema
from app.api.schemas.key_answers import Answer
from app.api.schemas.requests import about
from app.api.schemas.teams import at_most

MOST_LOGS = 1_000


class CallLogSchema(FinishedCallSchema, SubjectSchema):
    """A call that is over, named by its reservation, or by its request id and its key."""


class LogRequestSchema(CallLogSchema):
    logs = f.List(
        f.Nested(CallLogSchema()),
        allow_none=True,
        validate=at_most(MOST_LOGS),
        metadata={
            "maxItems": MOST_LOGS,
            "description": "Many calls in the place of one, each answered on its own",
        },
    )


class LoggedSchema(Answer):
    """What has become of a log."""

    key_id = f.String()
    request_id = f.String(metadata=about("The call's name"))
    callbacks = f.Integer(metadata=about("To how many callbacks it goes; for none it is not even kept"))
    duplicate = f.Boolean(metadata=about("The call was told before: nothing changed"))
    error = f.Dict(metadata=about("In the place of all else, where this one was not kept"))
    results = f.List(f.Nested("LoggedSchema"), metadata=about("One for each of `logs`"))

"""What every request has in common."""

from marshmallow import EXCLUDE, Schema


class Request(Schema):
    """A request body or query: fields that are not known are ignored."""

    class Meta:
        unknown = EXCLUDE

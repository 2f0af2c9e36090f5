"""What every request has in common."""

from marshmallow import EXCLUDE, Schema


class Request(Schema):
    """A request body or query: fields that are not known are ignored."""

    class Meta:
        unknown = EXCLUDE


def about(text: str) -> dict[str, str]:
    """The metadata of a field that says in the document what it is for."""
    return {"description": text}

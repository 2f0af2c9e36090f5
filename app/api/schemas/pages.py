"""Which page of a list a request asks for; every list takes the same."""

from app.api.fields import Text, Whole
from app.api.schemas.requests import Request

# Deep enough for every list there is, and far from where an offset overflows.
LAST_PAGE = 10**9


class CursorQuerySchema(Request):
    cursor = Text(
        max_length=8192,
        metadata={"description": "Goes on where the page ended whose `x-keyledger-next-cursor` this is"},
    )


class PageQuerySchema(CursorQuerySchema):
    """A cursor goes before a page's number, and costs the same however far it leads."""

    page = Whole(low=1, high=LAST_PAGE, nullable=False, load_default=1)

"""Where a page ends, as an opaque text by which the next one goes on: no row is met twice, none is counted off."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import orjson

from app.errors import InvalidRequest

_LONGEST = 8192
_HIGHEST = 2**63 - 1


def encode(position: Sequence[str | int]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(list(position))).decode().rstrip("=")


def decode(cursor: str, shape: Sequence[type]) -> list[Any]:
    """The position behind a cursor, an entry of each of these types; raises InvalidRequest.

    A cursor is a place and no permission: whoever makes one up learns nothing by it.
    """
    try:
        padded = cursor[:_LONGEST] + "=" * (-len(cursor[:_LONGEST]) % 4)
        position = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise unusable() from error
    fits = isinstance(position, list) and len(position) == len(shape)
    if not fits or not all(_is(entry, kind) for entry, kind in zip(position, shape, strict=True)):
        raise unusable()
    return list(position)


def unusable() -> InvalidRequest:
    return InvalidRequest("The cursor is none that a page of this report ended with.", "cursor")


def _is(entry: object, kind: type) -> bool:
    if type(entry) is not kind:
        return False
    # No store takes a NUL in a text or a number beyond 64 bits.
    return "\x00" not in entry if isinstance(entry, str) else abs(entry) <= _HIGHEST  # type: ignore[arg-type]

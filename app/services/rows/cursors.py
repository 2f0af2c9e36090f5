"""Where a page ends, as an opaque text by which the next one goes on: no row is met twice, none is counted off."""

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from types import NoneType
from typing import Any

import orjson

from app.clock import iso
from app.errors import InvalidRequest

_LONGEST = 8192
_HIGHEST = 2**63 - 1

Entry = str | int | datetime | None


def encode(position: Sequence[Entry]) -> str:
    entries = [iso(entry) if isinstance(entry, datetime) else entry for entry in position]
    return base64.urlsafe_b64encode(orjson.dumps(entries)).decode().rstrip("=")


def decode(cursor: str, shape: Sequence[type | tuple[type, ...]]) -> list[Any]:
    """The position behind a cursor, an entry of each of these types; raises InvalidRequest.

    A cursor is a place and no permission: whoever makes one up learns nothing by it.
    """
    try:
        padded = cursor[:_LONGEST] + "=" * (-len(cursor[:_LONGEST]) % 4)
        position = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise unusable() from error
    if not isinstance(position, list) or len(position) != len(shape):
        raise unusable()
    return [
        _read(entry, kinds if isinstance(kinds, tuple) else (kinds,))
        for entry, kinds in zip(position, shape, strict=True)
    ]


def unusable() -> InvalidRequest:
    return InvalidRequest("The cursor is none that a page of this list ended with.", "cursor")


def _read(entry: object, kinds: tuple[type, ...]) -> Entry:
    if datetime in kinds and isinstance(entry, str):
        return _instant(entry)
    if entry is None and NoneType in kinds:
        return None
    if type(entry) not in kinds:
        raise unusable()
    # No store takes a NUL in a text or a number beyond 64 bits.
    if isinstance(entry, str) and "\x00" not in entry:
        return entry
    if isinstance(entry, int) and abs(entry) <= _HIGHEST:
        return entry
    raise unusable()


def _instant(text: str) -> datetime:
    """An instant in the one form in which it is written."""
    try:
        moment = datetime.fromisoformat(text)
        if iso(moment) != text:
            raise unusable()
    except (ValueError, OverflowError) as error:
        raise unusable() from error
    return moment

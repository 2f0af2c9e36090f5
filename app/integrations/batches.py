"""Many logs at once: how they are written, named, and split where a request may hold only so much."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, TypeVar

import orjson

from app.domain.standard_payload import Log
from app.integrations.destinations import DeliveryResult

_Item = TypeVar("_Item")
_TOO_LARGE = 413
# What a destination says of the logs of one request, not of whoever sends them: the next ones may fare better.
OF_THE_LOGS = frozenset({400, 413, 422, *range(200, 300)})


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one request may hold."""

    items: int
    bytes: int


def in_parts(
    items: Sequence[_Item],
    size: Callable[[_Item], int],
    limits: Limits,
    send: Callable[[Sequence[_Item]], DeliveryResult],
) -> DeliveryResult:
    """Send all, in order, in as few requests as the limits and the destination allow; `size` is in bytes.

    A part that is called too large is halved. What is refused for itself does not keep the rest from being sent;
    any other failure ends the work, and one that may pass is told before one that will not.
    """
    failure: DeliveryResult | None = None
    waiting = _parts(items, size, limits)[::-1]
    while waiting:
        part = waiting.pop()
        result = send(part)
        if result.ok:
            continue
        if result.http_status == _TOO_LARGE and len(part) > 1:
            middle = len(part) // 2
            waiting += [part[middle:], part[:middle]]
        elif result.http_status in OF_THE_LOGS:
            failure = failure or result
        else:
            return result if result.retryable or failure is None else failure
    return failure or result


def _parts(items: Sequence[_Item], size: Callable[[_Item], int], limits: Limits) -> list[Sequence[_Item]]:
    parts: list[Sequence[_Item]] = []
    begin, held = 0, 0
    for position, item in enumerate(items):
        more = size(item)
        if position > begin and (position - begin == limits.items or held + more > limits.bytes):
            parts.append(items[begin:position])
            begin, held = position, 0
        held += more
    return [*parts, items[begin:]]


def batch_name(logs: Sequence[Log]) -> str:
    """`date/batch-milliseconds-digest`, by LiteLLM's pattern: of the first log's instant and of every id."""
    at = logs[0].at.astimezone(UTC)
    digest = hashlib.sha256("\n".join(log.id for log in logs).encode(errors="surrogatepass")).hexdigest()
    return f"{at:%Y-%m-%d}/batch-{round(at.timestamp() * 1000)}-{digest[:8]}"


def ndjson(logs: Sequence[Log]) -> bytes:
    """The standard payloads, one a line."""
    return b"".join(dumped(log.payload) + b"\n" for log in logs)


def dumped(value: Any) -> bytes:
    """The JSON text of a value: also of what JSON or orjson has no form for, such as very large numbers."""
    try:
        return orjson.dumps(value, default=_plain)
    except TypeError:
        return json.dumps(value, default=_plain).encode()


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)

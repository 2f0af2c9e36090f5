"""Channels that are URLs of the operator: one request after another through the fence.

Such a URL comes from the environment, not from a key's owner: whoever set it may name a host of the own network,
so that host and port are allowed, for this URL alone. All else of the fence holds: no redirect, one deadline.
"""

import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.domain.alerts import Alert, squashed
from app.domain.deliveries import Claimed
from app.domain.outbound import Allowance
from app.integrations.destinations import DeliveryResult
from app.integrations.outbound import Deadline, Fence

# Which events a request tells of, where its body has no place for that.
EVENT_IDS = "x-keyledger-event-ids"
NO_TARGET = DeliveryResult(False, None, 0, "no setting names this target any more")
_NO_EVENT = DeliveryResult(False, None, 0, "the event is kept no longer")


@dataclass(frozen=True, slots=True)
class Post:
    """One request, for one or more deliveries."""

    delivery_ids: Sequence[int]
    body: bytes = field(repr=False)
    headers: dict[str, str]


def by_place(channel: str, urls: Sequence[str]) -> dict[str, str]:
    """The URLs of a channel by their targets, each named by its place in the setting: `slack:0`, `slack:1` …"""
    return {f"{channel}:{place}": url for place, url in enumerate(urls)}


class Endpoints:
    """The URLs of a channel, each under the name of its target."""

    def __init__(self, urls: Mapping[str, str], *, seconds: float, tls: ssl.SSLContext | None = None) -> None:
        self._urls = urls
        self._seconds = seconds
        self._tls = tls

    def post(self, target: str, posts: Iterable[Post]) -> dict[int, DeliveryResult]:
        """Send the posts to a target, in their order; the results by delivery id, never raises.

        It stops, and leaves the rest without a result, at the first failure that may pass, and begins nothing more
        once its seconds are over. A repeat sends the same again.
        """
        posts = list(posts)
        url = self._urls.get(target)
        if url is None:
            return dict.fromkeys((each for post in posts for each in post.delivery_ids), NO_TARGET)
        fence = Fence(Allowance.of(url), self._seconds, tls=self._tls)
        results: dict[int, DeliveryResult] = {}
        deadline = Deadline(self._seconds)
        for post in posts:
            if deadline.is_over:
                break
            outbound = fence.open()
            headers = {"Content-Type": "application/json", **post.headers}
            result = DeliveryResult.of(outbound.post(url, headers, post.body), outbound)
            results |= dict.fromkeys(post.delivery_ids, result)
            if result.retryable:
                break
        return results


class AlertPosts:
    """Sends alerts to the endpoints of a channel, those that say the same as one request with this body."""

    most = 100

    def __init__(self, endpoints: Endpoints, body: Callable[[Alert], Mapping[str, Any]]) -> None:
        self._endpoints = endpoints
        self._body = body

    def send(self, target: str, claimed: Sequence[Claimed]) -> Mapping[int, DeliveryResult]:
        posts = [
            Post(alert.delivery_ids, orjson.dumps(self._body(alert)), {EVENT_IDS: ",".join(alert.event_ids)})
            for alert in squashed(claimed)
        ]
        return without_event(claimed) | self._endpoints.post(target, posts)


def without_secret(claimed: Claimed) -> DeliveryResult:
    """What becomes of a new secret whose day is over: a message without it would be whole and worth nothing."""
    why = "the secret is kept no longer"
    return DeliveryResult(False, None, 0, f"{why}; {claimed.last_error}" if claimed.last_error else why)


def without_event(claimed: Sequence[Claimed]) -> dict[int, DeliveryResult]:
    """What becomes of deliveries whose event is gone."""
    return {each.delivery_id: _NO_EVENT for each in claimed if each.event is None}

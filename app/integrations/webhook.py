"""A webhook for programs: each event as LiteLLM's JSON, signed as Standard Webhooks ask.

The id of the message is the event's, the same at every attempt: a receiver that keeps the ids it has seen takes
each event once. While a secret is being changed, the old and the new one both sign.
"""

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence

import orjson

from app.clock import Clock
from app.domain.deliveries import Claimed, StoredEvent
from app.domain.messages import body_of
from app.domain.minting import Secret
from app.integrations.destinations import DeliveryResult
from app.integrations.posting import Endpoints, Post, without_event

SECRET_PREFIX = "whsec_"  # noqa: S105 - how a secret begins, not one


class Webhook:
    """Sends to the operator's webhooks; without a secret nothing is signed, as LiteLLM does it."""

    most = 100

    def __init__(self, endpoints: Endpoints, secrets: Sequence[Secret], clock: Clock) -> None:
        self._endpoints = endpoints
        self._secrets = secrets
        self._clock = clock

    def send(self, target: str, claimed: Sequence[Claimed]) -> Mapping[int, DeliveryResult]:
        timestamp = str(int(self._clock.now().timestamp()))
        posts = [self._post(each.delivery_id, each.event, timestamp) for each in claimed if each.event is not None]
        return without_event(claimed) | self._endpoints.post(target, posts)

    def _post(self, delivery_id: int, event: StoredEvent, timestamp: str) -> Post:
        body = orjson.dumps(body_of(event))
        headers = {"webhook-id": event.event_id, "webhook-timestamp": timestamp}
        if self._secrets:
            signed = f"{event.event_id}.{timestamp}.".encode() + body
            headers["webhook-signature"] = " ".join(_signature(secret, signed) for secret in self._secrets)
        return Post((delivery_id,), body, headers)


def _signature(secret: Secret, signed: bytes) -> str:
    """One signature of Standard Webhooks (version 1: HMAC-SHA256) by a secret `whsec_…`."""
    key = b64decode(secret.reveal().removeprefix(SECRET_PREFIX))
    return "v1," + b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()

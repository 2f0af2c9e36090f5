"""A webhook for programs: each event as LiteLLM's JSON, signed as Standard Webhooks ask.

The id of the message is the event's, the same at every attempt: a receiver that keeps the ids it has seen takes
each event once. While a secret is being changed, the old and the new one both sign. The new secret of a key goes
only where the way is encrypted and signed, and only as long as it is kept.
"""

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import orjson

from app.clock import Clock
from app.domain.deliveries import Claimed, StoredEvent
from app.domain.event_kinds import NEW_SECRET
from app.domain.messages import body_of
from app.domain.minting import Secret
from app.integrations.destinations import DeliveryResult
from app.integrations.posting import Endpoints, Post, without_event, without_secret

SECRET_PREFIX = "whsec_"  # noqa: S105 - how a secret begins, not one


# Its URL is not set any more, or may not carry a secret: who is meant by the name has nothing to do with the key.
NO_CARRIER = DeliveryResult(False, None, 0, "no setting names this target as a signed https webhook any more")


class Webhook:
    """Sends to the operator's webhooks; without a secret nothing is signed, as LiteLLM does it.

    `open_key` opens a sealed key, None where it cannot be opened; the `carriers` are the targets that may get one.
    """

    most = 100

    def __init__(
        self,
        endpoints: Endpoints,
        secrets: Sequence[Secret],
        clock: Clock,
        open_key: Callable[[str], Secret | None],
        carriers: Collection[str],
    ) -> None:
        self._endpoints = endpoints
        self._secrets = secrets
        self._clock = clock
        self._open_key = open_key
        self._carriers = carriers

    def send(self, target: str, claimed: Sequence[Claimed]) -> Mapping[int, DeliveryResult]:
        timestamp = str(int(self._clock.now().timestamp()))
        results, posts = without_event(claimed), []
        for each in claimed:
            if each.event is None:
                continue
            body = body_of(each.event)
            if each.event.kind == NEW_SECRET:
                key = self._open_key(each.sealed) if each.sealed else None
                if key is None or target not in self._carriers:
                    results[each.delivery_id] = without_secret(each) if key is None else NO_CARRIER
                    continue
                body["key"] = key.reveal()
            posts.append(self._post(each.delivery_id, each.event, body, timestamp))
        return results | self._endpoints.post(target, posts)

    def _post(self, delivery_id: int, event: StoredEvent, fields: Mapping[str, Any], timestamp: str) -> Post:
        body = orjson.dumps(fields)
        headers = {"webhook-id": event.event_id, "webhook-timestamp": timestamp}
        if self._secrets:
            signed = f"{event.event_id}.{timestamp}.".encode() + body
            headers["webhook-signature"] = " ".join(_signature(secret, signed) for secret in self._secrets)
        return Post((delivery_id,), body, headers)


def _signature(secret: Secret, signed: bytes) -> str:
    """One signature of Standard Webhooks (version 1: HMAC-SHA256) by a secret `whsec_…`."""
    key = b64decode(secret.reveal().removeprefix(SECRET_PREFIX))
    return "v1," + b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()

"""The engine of deliveries over a real receiver on loopback, with a channel that is a plain HTTP request."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import insert

from app.db import Database
from app.domain.deliveries import Claimed
from app.domain.event_routing import Channels
from app.domain.outbound import Allowance
from app.integrations.destinations import DeliveryResult
from app.integrations.outbound import Fence
from app.models import events
from app.services.events.deliveries import Deliveries
from app.services.events.event_routing import EventRouting
from tests.clocks import MovableClock
from tests.factories import rows
from tests.integrations.receivers import Received, Receiver

SECONDS, HOURS = 2.0, 72
KIND, ALL = "key_updated", frozenset({"key_updated"})


@dataclass(frozen=True)
class Post:
    """Posts each event to the path that is named like its target; the first that fails ends it."""

    receiver: Receiver
    clock: MovableClock
    most: int = 5
    seconds: float = SECONDS

    def send(self, target: str, claimed: Sequence[Claimed]) -> Mapping[int, DeliveryResult]:
        results: dict[int, DeliveryResult] = {}
        fence = Fence(Allowance.parse("127.0.0.1"), self.seconds, clock=self.clock)
        for each in claimed:
            assert each.event is not None
            outbound = fence.open()
            said = {"id": each.event.event_id, "to": each.recipient, "kept": each.sealed, **each.event.payload}
            reply = outbound.post(f"{self.receiver.url}/{target}", {}, orjson.dumps(said))
            results[each.delivery_id] = DeliveryResult.of(reply, outbound)
            if results[each.delivery_id].retryable:
                break
        return results


def engine(
    database: Database, clock: MovableClock, channels: Channels, post: Post, *, seconds: float | None = None
) -> Deliveries:
    """As the container makes it, with this channel for every target, and for mail; `seconds` are the channel's."""
    return Deliveries(
        database,
        clock,
        [EventRouting(database, channels)],
        {"post": post, "mail": post},
        {},
        lambda: 0.5,
        seconds=seconds or post.seconds,
        hours=HOURS,
    )


def to(*targets: str, mailed: frozenset[str] = frozenset()) -> Channels:
    """Channels that tell everything of these tests to these targets."""
    return Channels(dict.fromkeys(targets, ALL), mailed)


def happen(database: Database, count: int, now: datetime, **columns: Any) -> list[str]:
    """Let so many events have happened; their ids, in the order in which they are routed."""
    ids = [f"event-{now:%d%H%M%S}-{number:04}" for number in range(count)]
    made = {"kind": KIND, "entity": "key", "entity_id": "k", "payload": {"n": 1}, "created_at": now, **columns}
    with database.transaction() as transaction:
        transaction.execute(insert(events), [{"event_id": event_id, **made} for event_id in ids])
    return ids


def drain(deliveries: Deliveries) -> int:
    """Sweep until nothing more is due; how many sweeps that took."""
    sweeps = 1
    while deliveries.sweep().more:
        sweeps += 1
    return sweeps


def heard(receiver: Receiver) -> list[str]:
    """The ids of the events that have arrived, in order."""
    return [id_of(request) for request in receiver.received]


def id_of(request: Received) -> str:
    found: str = json.loads(request.body)["id"]
    return found


def only(database: Database, table: Any, **wanted: Any) -> dict[str, Any]:
    (row,) = rows(database, table, **wanted)
    return dict(row)

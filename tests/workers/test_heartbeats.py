"""Signs of life of the background parts."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.errors import StoreUnavailable
from app.store.heartbeats import Heartbeats, Part

INSTANT = datetime(2026, 11, 18, 13, 47, 33, 123456, tzinfo=UTC)


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


def test_a_part_is_heard_at_the_instant_that_it_gave(client: Redis) -> None:
    heartbeats = Heartbeats(client)

    heartbeats.record(Part.BEAT, INSTANT)

    assert heartbeats.read() == {Part.WORKER: None, Part.BEAT: INSTANT, Part.JOBS: None}


def test_a_part_that_is_gone_for_good_is_forgotten(client: Redis) -> None:
    Heartbeats(client).record(Part.WORKER, INSTANT)

    assert client.ttl("keyledger:heartbeat:worker") > 60


def test_a_store_that_is_away_is_said_to_be_away() -> None:
    with Redis(port=1, retry=Retry(NoBackoff(), 0)) as nowhere:
        heartbeats = Heartbeats(nowhere)

        with pytest.raises(StoreUnavailable):
            heartbeats.record(Part.WORKER, INSTANT)
        with pytest.raises(StoreUnavailable):
            heartbeats.read()

"""A worker that takes no messages any more is noticed, and ends, so that another can be started."""

import os
from collections.abc import Iterator

import pytest
from celery.worker import state
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.broker import PREFIX
from app.dispatch import QueueName
from workers.hearing import LOOKS, Hearing
from workers.heartbeat import beat


@pytest.fixture
def broker(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture(autouse=True)
def _going_on() -> Iterator[None]:
    yield
    state.should_stop = None


def looks(hearing: Hearing, times: int = LOOKS) -> list[bool]:
    return [hearing.is_lost() for _ in range(times)]


@pytest.mark.parametrize("queue", QueueName)
def test_messages_that_wait_for_an_idle_worker_look_after_look_are_not_heard(
    broker: Redis, queue: QueueName
) -> None:
    broker.lpush(PREFIX + queue, "message")

    assert looks(Hearing(broker, lambda: True)) == [False] * (LOOKS - 1) + [True]


def test_messages_that_wait_for_a_worker_with_work_in_hand_are_in_order(broker: Redis) -> None:
    broker.lpush(PREFIX + QueueName.JOBS, "message")

    assert looks(Hearing(broker, lambda: False), 2 * LOOKS) == [False] * 2 * LOOKS


def test_a_queue_that_is_empty_at_one_look_is_heard(broker: Redis) -> None:
    hearing = Hearing(broker, lambda: True)

    for _ in range(3):
        broker.lpush(PREFIX + QueueName.JOBS, "message")
        assert looks(hearing, LOOKS - 1) == [False] * (LOOKS - 1)
        broker.delete(PREFIX + QueueName.JOBS)
        assert looks(hearing, 1) == [False]


def test_an_outage_of_the_broker_is_no_deafness() -> None:
    with Redis(port=1, retry=Retry(NoBackoff(), 0)) as nowhere:
        assert looks(Hearing(nowhere, lambda: True), 2 * LOOKS) == [False] * 2 * LOOKS


def test_a_deaf_worker_ends_with_a_status_that_tells_of_it(broker: Redis) -> None:
    broker.lpush(PREFIX + QueueName.JOBS, "message")
    hearing = Hearing(broker, lambda: True)
    looks(hearing, LOOKS - 1)

    beat(hearing)

    assert state.should_stop == os.EX_UNAVAILABLE

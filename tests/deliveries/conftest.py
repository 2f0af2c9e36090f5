"""A receiver, and an engine that sends to two targets of it."""

from collections.abc import Iterator

import pytest

from app.db import Database
from app.services.events.deliveries import Deliveries
from tests.clocks import MovableClock
from tests.deliveries.world import Post, engine, to
from tests.integrations.receivers import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def post(receiver: Receiver, clock: MovableClock) -> Post:
    return Post(receiver, clock)


@pytest.fixture
def deliveries(database: Database, clock: MovableClock, post: Post) -> Deliveries:
    return engine(database, clock, to("post:0"), post)

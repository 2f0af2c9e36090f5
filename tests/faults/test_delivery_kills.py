"""A true worker whose processes are killed at random moments of delivery, again and again: nothing is lost.

Every event arrives at every receiver at least once, an id stands for one fact for ever, and no fact arrives under two
ids, however often those that found it told it.
"""

import os
import random
import signal
import sys
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event as Waiter
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import update

from app.broker import CeleryDispatch
from app.config import Settings
from app.container import Services, build
from app.dispatch import TaskName
from app.models import deliveries, events, targets
from app.services.events import delivery
from app.services.events.delivery import Event
from tests.environment import ENVIRONMENT
from tests.factories import rows
from tests.integrations.receivers import Receiver
from tests.servers import eventually
from tests.workers.worker import Worker

pytestmark = pytest.mark.processes

KILLS, NEW, TARGETS = 50, 4, ("/one", "/two", "/three")
# Enough for a receiver on a busy machine: one that fails rests. A lease is three times as long.
OUTBOUND_SECONDS = 2.0
# Long enough to fall into the record of a batch, and into the next one's routing and claim.
LATEST_SECONDS = 0.06


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def environment(store_url: str, redis_url: str, receiver: Receiver) -> dict[str, str]:
    return {
        "DATABASE_URL": store_url,
        "REDIS_URL": redis_url,
        **ENVIRONMENT,
        "KEYLEDGER_OUTBOUND_SECONDS": str(OUTBOUND_SECONDS),
        "WEBHOOK_URL": " ".join(receiver.url + path for path in TARGETS),
    }


@pytest.fixture
def running(environment: dict[str, str]) -> Iterator[Services]:
    """The same service in this process, for telling and looking; its clock is the machine's."""
    with closing(build(Settings.parse(environment))) as services:
        yield services


@dataclass
class Scene:
    """A worker that is nudged to deliver what is told here, and killed at it."""

    worker: Worker
    dispatch: CeleryDispatch
    running: Services
    receiver: Receiver
    chance: random.Random = field(default_factory=lambda: random.Random(6))
    killed: list[int] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    def tell(self) -> None:
        """Some new facts; each is found twice, as by two processes that fold at once."""
        number = len(self.batches)
        self.batches.append(number)
        happened = [
            Event("budget_crossed", "key", f"k{number}", {"threshold": one, "window_start": f"w{number}"}, fact)
            for one, fact in ((one, _fact(number, one)) for one in range(NEW))
        ]
        for _ in range(2):
            with self.running.database.transaction() as transaction:
                delivery.enqueue(transaction, happened, datetime.now(UTC))  # noqa: TID251

    def kills(self, than: int) -> bool:
        """Kill whoever delivers, a moment after something has arrived beyond that many."""
        self._nudge()
        if self._is_over():  # before anybody was killed: a sweep that finds nothing is too short to be met
            self.tell()
        if len(self.receiver.received) <= than or self.worker.delivering() in {None, *self.killed}:
            return False
        Waiter().wait(self.chance.uniform(0, LATEST_SECONDS))
        pid = self.worker.delivering()
        if pid is None or pid in self.killed:  # one that is gone holds its lock for another moment
            return False
        os.kill(pid, signal.SIGKILL)
        self.killed.append(pid)
        return True

    def end_leases(self) -> None:
        """Give back what the killed process holds, as time would; for the last one time does."""
        if len(self.killed) == KILLS:
            return
        now = datetime.now(UTC)  # noqa: TID251
        with self.running.database.transaction() as transaction:
            transaction.execute(
                update(targets)
                .where(targets.c.next_attempt_at.is_not(None))
                .values(next_attempt_at=now, failures=0)
            )

    def is_done(self) -> bool:
        self._nudge()
        return self._is_over()

    def seen(self) -> str:
        """What there is to see when nothing happens any more."""
        waiting = rows(self.running.database, deliveries, delivered_at=None)
        state = rows(self.running.database, targets)
        return f"{self.killed=}\n{self.batches=}\n{waiting=}\n{state}\n{self.worker.log()[-5000:]}"

    def _nudge(self) -> None:
        self.dispatch.send(TaskName.DELIVER, [], message_id=str(uuid.uuid4()), expires_seconds=1)
        Waiter().wait(0.005)

    def _is_over(self) -> bool:
        unrouted = rows(self.running.database, events, routed_at=None)
        return not unrouted and not rows(self.running.database, deliveries, delivered_at=None)


def test_whenever_a_process_is_killed_every_event_arrives_and_each_id_is_one_fact(
    environment: dict[str, str], running: Services, receiver: Receiver, tmp_path: Path
):
    with Worker(environment, tmp_path) as worker, Redis.from_url(environment["REDIS_URL"]) as broker:
        scene = Scene(worker, CeleryDispatch(environment["REDIS_URL"], broker), running, receiver)
        for number in range(KILLS):
            # Every other time in the middle of sending, else wherever a sweep is.
            heard = len(receiver.received) if number % 2 else -1
            scene.tell()
            eventually(partial(scene.kills, heard), shows=scene.seen)
            scene.end_leases()
        eventually(scene.is_done, shows=scene.seen)

    told = {row["event_id"]: row["fact"] for row in rows(running.database, events)}
    arrived: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for request in receiver.received:
        arrived[request.path].append((request.headers["webhook-id"], _fact_of(request.json)))
    assert len(scene.killed) == KILLS
    assert set(told.values()) == {_fact(number, one) for number in scene.batches for one in range(NEW)}
    assert arrived.keys() == set(TARGETS)
    for path in TARGETS:
        # Without the repeats of ids, each fact has come exactly once.
        assert sorted(set(arrived[path])) == sorted(told.items())
    repeats = sum((Counter(request.headers["webhook-id"] for request in receiver.received)).values())
    repeats -= len(told) * len(TARGETS)
    assert repeats > 0, "no kill has met a delivery"
    sys.stdout.write(f"{KILLS} kills, {len(told)} events, {repeats} deliveries came twice\n")


def _fact(number: int, one: int) -> str:
    return f"budget_crossed:key:k{number}:w{number}:{one}"


def _fact_of(body: dict[str, Any]) -> str:
    """The fact as a receiver sees it."""
    return f"{body['event']}:{body['event_group']}:{body['entity_id']}:{body['window_start']}:{body['threshold']}"

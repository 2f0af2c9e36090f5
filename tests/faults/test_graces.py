"""A key gets new secrets while it is in use, and nobody who holds a valid one is ever turned away.

Clients use every secret of a key at two web processes without a pause: those to come, the current one, those in
grace, those past it. The two processes and the clients share one clock, so each request is judged by when it was
sent and when it was answered. One that was under way at the very instant of a change may be answered either way.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import pytest
from sqlalchemy import select

from app.clock import SystemClock
from app.db import Database
from app.domain import minting
from app.models import key_secrets
from tests.faults.web import Caller, Pair
from tests.servers import eventually

pytestmark = pytest.mark.processes

CLIENTS = 4
# So often each client still uses every secret at both processes once the last grace is over.
TURNS_AFTERWARDS = 3
# One asks nothing but who is calling, the other reads the key as well.
PATHS = ("/models", "/key/info")
# The graces of each round, in seconds: with several, the key gets the next secret while the one before is in grace.
ROUNDS = ((1,), (1, 2), (2, 1), (2, 2, 1), (1, 1, 1))
FOREVER = datetime.max.replace(tzinfo=UTC)

clock = SystemClock()


@dataclass
class Use:
    """One request with a secret: when it was sent and answered, by which process, and how."""

    secret: str
    web: int
    sent: datetime
    answered: datetime
    status: int


@dataclass
class Life:
    """A secret: when its making was asked for and confirmed, and when it ends."""

    asked: datetime
    confirmed: datetime
    revoke_at: datetime = FOREVER

    def allowed(self, use: Use) -> set[int]:
        """How a use may be answered."""
        if use.answered < self.asked or use.sent >= self.revoke_at:
            return {401}
        if use.sent >= self.confirmed and use.answered < self.revoke_at:
            return {200}
        return {200, 401}


@dataclass
class Client:
    """Uses all secrets at both processes by turns until the end of the round, and some times after it."""

    pair: Pair
    secrets: list[str]
    ended: Event
    uses: list[Use] = field(default_factory=list)

    def run(self) -> None:
        callers = [(key, web, Caller(self.pair.webs[web], key=key)) for key in self.secrets for web in (0, 1)]
        left, turn = TURNS_AFTERWARDS, 0
        while left:
            left -= self.ended.is_set()
            turn += 1
            for key, web, caller in callers:
                sent = clock.now()
                status = caller.get(PATHS[turn % 2]).status
                self.uses.append(Use(key, web, sent, clock.now(), status))
        for _, _, caller in callers:
            caller.close()


def rotate(pair: Pair, web: int, key: str, new: str, grace: int) -> tuple[datetime, datetime]:
    """Give the key the new secret; when that was asked for and when it was confirmed."""
    asked, stands = clock.now(), False
    with Caller(pair.webs[web]) as caller:
        while True:
            reply = caller.post("/key/regenerate", key=key, new_key=new, grace_period=f"{grace}s")
            if reply.status != 503:
                break
            stands |= "The change is stored" in reply.body["error"]["message"]
    # Sent again after a 503 that said that it stands, the new secret is there already.
    assert reply.status == (409 if stands else 200), reply
    return asked, clock.now()


def revoke_at(database: Database, key: str) -> datetime:
    with database.read() as connection:
        of_key = key_secrets.c.token == minting.digest(key)
        found: datetime = connection.execute(select(key_secrets.c.revoke_at).where(of_key)).scalar_one()
    return found


def use_while_rotated(
    pair: Pair, shared: Database, number: int, graces: tuple[int, ...]
) -> tuple[dict[str, Life], list[Use]]:
    """One round: the life of each secret of a key, and all uses of them."""
    secrets = [f"sk-round-{number}-secret-{index}-0123456789" for index in range(len(graces) + 1)]
    lives = {secrets[0]: Life(clock.now(), clock.now())}
    pair.generate(key=secrets[0])
    lives[secrets[0]].confirmed = clock.now()
    ended = Event()
    clients = [Client(pair, secrets, ended) for _ in range(CLIENTS)]
    threads = [Thread(target=client.run, daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    # Both processes know by heart that the first secret opens the key, and that the others open nothing.
    eventually(lambda: all(len(client.uses) > 4 * len(secrets) for client in clients))
    for index, grace in enumerate(graces):
        old, new = secrets[index], secrets[index + 1]
        asked, confirmed = rotate(pair, (number + index) % 2, old, new, grace)
        lives[new] = Life(asked, confirmed)
        lives[old].revoke_at = revoke_at(shared, old)
        length = timedelta(seconds=grace)
        assert asked + length <= lives[old].revoke_at <= confirmed + length
    last = max(lives[secret].revoke_at for secret in secrets[:-1])
    eventually(lambda: clock.now() > last)
    ended.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a client does not end"
    return lives, [use for client in clients for use in client.uses]


def in_grace_together(lives: dict[str, Life]) -> Iterator[bool]:
    """Of each secret but the first: whether it was made while the one before the last was still in grace."""
    ordered = list(lives.values())
    for first, third in zip(ordered, ordered[2:], strict=False):
        yield third.confirmed < first.revoke_at


def test_no_use_of_a_valid_secret_fails_and_none_past_its_grace_succeeds(pair: Pair, shared: Database) -> None:
    judged: Counter[tuple[str, int]] = Counter()
    chained = 0
    for number, graces in enumerate(ROUNDS):
        lives, uses = use_while_rotated(pair, shared, number, graces)
        for use in uses:
            life = lives[use.secret]
            allowed = life.allowed(use)
            assert use.status in allowed, (graces, life, use)
            if len(allowed) == 2:
                judged["under way", use.web] += 1
            elif use.sent >= life.revoke_at:
                judged["past its grace", use.web] += 1
            elif use.answered < life.asked:
                judged["not made yet", use.web] += 1
            else:
                judged["current" if life.revoke_at is FOREVER else "until the end of grace", use.web] += 1
        chained += sum(in_grace_together(lives))

    for kind in ("not made yet", "current", "until the end of grace", "past its grace"):
        assert judged[kind, 0] > 0, kind
        assert judged[kind, 1] > 0, kind
    assert chained > 0, "no secret was made while two others could still open the key"
    sys.stdout.write(f"{dict(judged)}, {chained} times two secrets in grace at once\n")

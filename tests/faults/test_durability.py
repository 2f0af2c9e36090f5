"""What was acknowledged is there, whole, however the process that acknowledged it has ended."""

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event, Thread

import pytest
from sqlalchemy import select

from app.db import Database
from app.domain import minting
from app.models import audit, budget_state, events, key_secrets, keys
from tests.faults.web import Away, Caller, Pair
from tests.servers import eventually

pytestmark = pytest.mark.processes

CLIENTS = 8
KILLS = 5
ACKNOWLEDGED = 1000


@dataclass
class Client:
    """Makes keys at both processes by turns, without a pause, and remembers those it was told of."""

    pair: Pair
    numbers: Iterator[int]
    ended: Event
    acknowledged: dict[str, str] = field(default_factory=dict)
    refused: list[int] = field(default_factory=list)
    missed: int = 0

    def run(self) -> None:
        callers = [Caller(web) for web in self.pair.webs]
        while not self.ended.is_set():
            for caller in callers:
                alias = f"durable {next(self.numbers)}"
                try:
                    reply = caller.post("/key/generate", key_alias=alias)
                except Away:
                    self.missed += 1
                    continue
                if reply.status == 200:
                    self.acknowledged[alias] = minting.digest(reply.body["key"])
                else:
                    self.refused.append(reply.status)
        for caller in callers:
            caller.close()


@dataclass
class Stored:
    """What SQL holds of the keys of this test: by key id the alias, and the ids of what belongs to a key."""

    aliases: dict[str, str]
    tokens: dict[str, str]
    belongings: dict[str, set[str]]


def stored(database: Database) -> Stored:
    """The keys whose alias says that they are of this test, and every row that belongs to any key."""
    with database.read() as connection:
        found = connection.execute(select(keys.c.key_id, keys.c.key_alias)).all()
        tokens = connection.execute(select(key_secrets.c.key_id, key_secrets.c.token)).all()
        belongings = {
            "state": select(budget_state.c.scope_id).where(budget_state.c.scope == "key"),
            "audit": select(audit.c.entity_id).where(audit.c.action == "generate"),
            "events": select(events.c.entity_id).where(events.c.kind == "key_created"),
        }
        ids = {name: set(connection.execute(statement).scalars()) for name, statement in belongings.items()}
    return Stored(
        {key_id: alias for key_id, alias in found if (alias or "").startswith("durable ")},
        {row.key_id: row.token for row in tokens},
        ids,
    )


def test_every_acknowledged_key_survives_five_kills_of_the_web_process(pair: Pair, shared: Database) -> None:
    numbers, ended = itertools.count(), Event()
    clients = [Client(pair, numbers, ended) for _ in range(CLIENTS)]
    threads = [Thread(target=client.run, daemon=True) for client in clients]
    for thread in threads:
        thread.start()

    for kill in range(1, KILLS + 1):
        eventually(lambda due=kill * ACKNOWLEDGED // (KILLS + 1): told(clients) >= due)  # type: ignore[misc]
        web = pair.webs[kill % 2]
        # By turns what serves the requests, which the main process replaces, and both of them.
        web.kill_worker() if kill % 2 else web.kill()
        pair.wait()
    eventually(lambda: told(clients) >= ACKNOWLEDGED)
    ended.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a client does not end"

    acknowledged = {alias: token for client in clients for alias, token in client.acknowledged.items()}
    assert sum(client.missed for client in clients) > 0, "no request was under way when a process was killed"
    assert {status for client in clients for status in client.refused} <= {503}
    found = stored(shared)
    assert {
        found.aliases[key_id]: found.tokens[key_id] for key_id in found.aliases
    }.items() >= acknowledged.items()
    _assert_whole(found)
    sys.stdout.write(f"{len(acknowledged)} keys acknowledged, all there after {KILLS} kills\n")


def told(clients: list[Client]) -> int:
    return sum(len(client.acknowledged) for client in clients)


def _assert_whole(found: Stored) -> None:
    """No half keys: whatever was stored, told or not, has all that belongs to a key, and nothing is left alone."""
    for name, ids in found.belongings.items():
        assert found.aliases.keys() <= ids, f"a key without its row in {name}"
    assert found.aliases.keys() <= found.tokens.keys(), "a key without a secret"
    assert found.belongings["state"] == found.tokens.keys(), "a secret without a state, or the other way round"

"""A revoked key stops at once, on every process, whatever happens to Redis or to the process that revoked it.

Eight clients use a key at two web processes without a pause while it is revoked. Judged by the clients' own
clocks: what is sent after the answer of the revoking call must be refused, and refused as such (401), not turned
away with an outage.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any, Self

import pytest
from redis import Redis

from app.store import policies
from app.store.connection import Script
from tests.faults.proxy import Command, Cut, runs
from tests.faults.web import Away, Caller, Pair, Reply
from tests.servers import eventually

pytestmark = pytest.mark.processes

CLIENTS = 8
# How many requests each client still sends after the answer; ten rounds make a thousand.
SENT_AFTERWARDS = 13
REQUESTS_PER_VERB = 1000
# One asks nothing but who is calling, the other reads the key as well.
PATHS = ("/models", "/key/info")

VERBS: dict[str, Callable[[str], tuple[str, dict[str, Any]]]] = {
    "block": lambda key: ("/key/block", {"key": key}),
    "update": lambda key: ("/key/update", {"key": key, "blocked": True}),
    "delete": lambda key: ("/key/delete", {"keys": [key]}),
}
# What happens in the rounds of a verb, and when: to Redis, or to the process that does the revoking.
ROUNDS = (
    ("nothing", "ever"),
    ("FLUSHALL", "before the mark"),
    ("FLUSHALL", "before the commit"),
    ("nothing", "ever"),
    ("FLUSHALL", "before the publication"),
    ("FLUSHALL", "after the answer"),
    ("restart", "before the commit"),
    ("restart", "before the publication"),
    ("restart", "after the answer"),
    ("kill", "before the publication"),
)


@dataclass
class Use:
    """One request with the key: when it was sent, to which process, and what it got."""

    sent: float
    web: int
    status: int


@dataclass
class Client:
    """Uses a key at both processes by turns until told how many more requests to send."""

    pair: Pair
    key: str
    revoked: Event
    uses: list[Use] = field(default_factory=list)

    def run(self) -> None:
        callers = [Caller(web, key=self.key) for web in self.pair.webs]
        left, turn = SENT_AFTERWARDS, 0
        while left:
            turn += 1
            is_revoked, sent = self.revoked.is_set(), time.monotonic()
            try:
                status = callers[turn % 2].get(PATHS[turn // 2 % 2]).status
            except Away:
                continue  # a killed process: the other one is asked
            self.uses.append(Use(sent, turn % 2, status))
            left -= is_revoked
        for caller in callers:
            caller.close()

    def is_warm(self) -> bool:
        """Whether both processes know the key by heart."""
        return Counter(use.web for use in self.uses if use.status == 200).keys() == {0, 1}


class Fault:
    """Lets one thing happen at one point of the work of the process that revokes."""

    def __init__(self, pair: Pair, writer: int, what: str, when: str) -> None:
        self._pair, self._writer = pair, writer
        self._actions = {"FLUSHALL": self._flush, "restart": pair.restart_redis, "kill": self._kill}
        self._what, self._when = what, when
        self.happened_at: float | None = None

    def __enter__(self) -> Self:
        proxy = self._pair.proxies[self._writer]
        if self._when == "before the mark":
            proxy.watch = lambda command: self._at(policies._MARK, command)
        elif self._when == "before the commit":
            proxy.watch_answer = lambda command: self._at(policies._MARK, command)
        elif self._when == "before the publication":
            proxy.watch = lambda command: self._at(policies._PUBLISH, command)
        return self

    def __exit__(self, *_: object) -> None:
        proxy = self._pair.proxies[self._writer]
        proxy.watch = proxy.watch_answer = None

    def after_the_answer(self) -> None:
        if self._when == "after the answer":
            self._act()

    def _at(self, script: Script, command: Command) -> None:
        if runs(command, script) and self.happened_at is None:
            self._act()

    def _act(self) -> None:
        self.happened_at = time.monotonic()
        self._actions[self._what]()

    def _flush(self) -> None:
        with Redis.from_url(self._pair.redis.url) as client:
            client.flushall()

    def _kill(self) -> None:
        self._pair.webs[self._writer].kill_worker()
        self.happened_at = time.monotonic()
        raise Cut


def revoke(pair: Pair, writer: int, verb: str, key: str) -> float:
    """Revoke until it is confirmed; when that was.

    A writer that dies on it has committed already: it is the other one that confirms.
    """
    path, body = VERBS[verb](key)
    replies: list[Reply] = []

    def is_confirmed(caller: Caller) -> bool:
        # A 503 says that nothing was done, or that it was not announced: it is to be repeated.
        replies.append(caller.post(path, **body))
        return replies[-1].status != 503

    with Caller(pair.webs[writer]) as first, Caller(pair.webs[1 - writer]) as other:
        done = 200
        try:
            eventually(lambda: is_confirmed(first), 30)
            if verb == "delete" and "The change is stored" in str([reply.body for reply in replies[:-1]]):
                done = 404
        except Away:
            done = 404 if verb == "delete" else 200
            eventually(lambda: is_confirmed(other), 30)
    assert replies[-1].status == done, replies
    return time.monotonic()


def use_while_revoked(
    pair: Pair, writer: int, verb: str, what: str, when: str
) -> tuple[str, list[Use], list[Use]]:
    """One round: a new key in use is revoked; the key, and its uses sent before and after the answer."""
    pair.wait()
    key = pair.generate()
    revoked = Event()
    clients = [Client(pair, key, revoked) for _ in range(CLIENTS)]
    threads = [Thread(target=client.run, daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    eventually(lambda: all(client.is_warm() for client in clients))
    with Fault(pair, writer, what, when) as fault:
        answered_at = revoke(pair, writer, verb, key)
        revoked.set()
        fault.after_the_answer()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a client does not end"
    assert (fault.happened_at is None) == (what == "nothing"), f"{what} {when} has not been staged"
    if what == "kill" and fault.happened_at is not None:
        answered_at = fault.happened_at  # the change is committed: nobody is let in from there on
    uses = [use for client in clients for use in client.uses]
    return key, [use for use in uses if use.sent <= answered_at], [use for use in uses if use.sent > answered_at]


def test_no_request_sent_after_the_answer_of_a_revocation_is_accepted(pair: Pair) -> None:
    left_behind = []
    for verb in VERBS:
        after: list[Use] = []
        for number, (what, when) in enumerate(ROUNDS):
            key, earlier, later = use_while_revoked(pair, number % 2, verb, what, when)
            # 404: let in before the key was deleted, and then found it gone.
            assert {use.status for use in earlier} <= {200, 401, 404}, (verb, what, when)
            assert {use.status for use in later} == {401}, (verb, what, when)
            assert {use.web for use in later} == {0, 1} or what == "kill"
            after += later
            if what == "kill":
                left_behind.append(key)
        assert len(after) >= REQUESTS_PER_VERB
        sys.stdout.write(f"{verb}: {len(after)} requests sent after the answer, none accepted\n")
    _assert_stay_refused_when_the_marks_lapse(pair, left_behind)


def _assert_stay_refused_when_the_marks_lapse(pair: Pair, keys: list[str]) -> None:
    """Marks of killed writers may still stand; nobody may take their end for a permission."""
    pair.wait()
    with Redis.from_url(pair.redis.url, decode_responses=True) as client:
        deadlines = [
            int(value)
            for name in client.scan_iter("keyledger:*:policy:*")
            for field_, value in client.hgetall(name).items()
            if field_ != "token"
        ]
        eventually(lambda: client.time()[0] * 1000 > max(deadlines, default=0), 10)
    for key in keys:
        for web in pair.webs:
            with Caller(web, key=key) as caller:
                assert [caller.get(path).status for path in PATHS * 2] == [401] * 4

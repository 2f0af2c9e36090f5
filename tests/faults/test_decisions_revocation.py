"""A verify that is sent after a change has answered is decided by the new state, on every process.

Clients verify one key at two web processes without a pause while something that bears on the verdict is changed:
the key, the gateway's own key, their team, owner, membership, organization or tier. Judged by the clients' own
clocks, as in `test_revocation`.
"""

import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

import pytest

from tests.faults.gateways import MODEL
from tests.faults.test_revocation import ROUNDS, Fault
from tests.faults.web import Away, Caller, Pair, Reply
from tests.servers import eventually

pytestmark = pytest.mark.processes

CLIENTS = 4
SENT_AFTERWARDS = 12
COST = 0.01
# Less than the estimate of any call.
TOO_LITTLE = 0.005


@dataclass(frozen=True)
class World:
    """A key with all that bears on it, and the gateway that asks about it; of nobody else."""

    name: str
    key: str
    gateway: str

    @classmethod
    def make(cls, pair: Pair) -> "World":
        name = uuid.uuid4().hex
        org, team, ann, bob = (f"{what}-{name}" for what in ("acme", "team", "ann", "bob"))
        members = [{"user_id": ann, "role": "user"}]
        with Caller(pair.webs[0]) as caller:

            def post(path: str, **body: Any) -> Any:
                reply = caller.post(path, **body)
                assert reply.status == 200, reply
                return reply.body

            for tier in ("gold", "company"):
                post("/budget/new", budget_id=f"{tier}-{name}")
            post("/organization/new", organization_id=org, organization_alias=org, budget_id=f"company-{name}")
            for user in (ann, bob):
                post("/user/new", user_id=user, auto_create_key=False)
            post("/team/new", team_id=team, organization_id=org, members_with_roles=members)
            post("/team/new", team_id=f"gateways-{name}")
            key = post("/key/generate", user_id=ann, team_id=team, budget_id=f"gold-{name}")["key"]
            gateway = post("/key/generate", team_id=f"gateways-{name}", permissions={"gateway": True})["key"]
        return cls(name, key, gateway)


# What is changed, by name: how, and how a verify is answered from then on (a code, or a status for the gateway).
Change = tuple[str, str, Callable[[World], dict[str, Any]], str | int]
CHANGES: dict[str, Change] = {
    "key blocked": ("POST", "/key/block", lambda w: {"key": w.key}, "blocked"),
    "key updated to blocked": ("POST", "/key/update", lambda w: {"key": w.key, "blocked": True}, "blocked"),
    "models of the key": (
        "POST", "/key/update", lambda w: {"key": w.key, "models": ["other"]}, "model_not_allowed",
    ),
    "budget of the key": (
        "POST", "/key/update", lambda w: {"key": w.key, "max_budget": TOO_LITTLE}, "budget_exceeded",
    ),
    "key deleted": ("POST", "/key/delete", lambda w: {"keys": [w.key]}, "unknown"),
    "key regenerated": ("POST", "/key/regenerate", lambda w: {"key": w.key}, "unknown"),
    "gateway blocked": ("POST", "/key/block", lambda w: {"key": w.gateway}, 401),
    "gateway deleted": ("POST", "/key/delete", lambda w: {"keys": [w.gateway]}, 401),
    "gateway regenerated": ("POST", "/key/regenerate", lambda w: {"key": w.gateway}, 401),
    "gateway no longer one": (
        "POST", "/key/update", lambda w: {"key": w.gateway, "permissions": {"gateway": False}}, 401,
    ),
    "gateway bound to another team": (
        "POST", "/key/update",
        lambda w: {"key": w.gateway, "permissions": {"gateway": True, "gateway_teams": ["another"]}}, "unknown",
    ),
    "key unblocked": ("POST", "/key/unblock", lambda w: {"key": w.key}, "allowed"),
    "gateway unblocked": ("POST", "/key/unblock", lambda w: {"key": w.gateway}, "allowed"),
    "team unblocked": ("POST", "/team/unblock", lambda w: {"team_id": f"team-{w.name}"}, "allowed"),
    "team of the gateway blocked": ("POST", "/team/block", lambda w: {"team_id": f"gateways-{w.name}"}, 401),
    "team blocked": ("POST", "/team/block", lambda w: {"team_id": f"team-{w.name}"}, "team_blocked"),
    "models of the team": (
        "POST", "/team/update", lambda w: {"team_id": f"team-{w.name}", "models": ["other"]}, "model_not_allowed",
    ),
    "budget of the team": (
        "POST", "/team/update", lambda w: {"team_id": f"team-{w.name}", "max_budget": TOO_LITTLE},
        "budget_exceeded",
    ),
    "budget of all members": (
        "POST", "/team/update", lambda w: {"team_id": f"team-{w.name}", "team_member_budget": TOO_LITTLE},
        "budget_exceeded",
    ),
    "budget of a member": (
        "POST", "/team/member_update",
        lambda w: {"team_id": f"team-{w.name}", "user_id": f"ann-{w.name}", "max_budget_in_team": TOO_LITTLE},
        "budget_exceeded",
    ),
    "budget of the user": (
        "POST", "/user/update", lambda w: {"user_id": f"ann-{w.name}", "max_budget": TOO_LITTLE},
        "budget_exceeded",
    ),
    "tier of the key": (
        "POST", "/budget/update", lambda w: {"budget_id": f"gold-{w.name}", "max_budget": TOO_LITTLE},
        "budget_exceeded",
    ),
    "tier of the organization": (
        "POST", "/budget/update", lambda w: {"budget_id": f"company-{w.name}", "max_budget": TOO_LITTLE},
        "budget_exceeded",
    ),
    "budget of the organization": (
        "PATCH", "/organization/update",
        lambda w: {"organization_id": f"acme-{w.name}", "max_budget": TOO_LITTLE}, "budget_exceeded",
    ),
}  # fmt: skip
# What makes a verify answer otherwise than by "allowed" before the change.
BLOCKED: dict[str, tuple[str, Callable[[World], dict[str, Any]], str | int]] = {
    "key unblocked": ("/key/block", lambda w: {"key": w.key}, "blocked"),
    "gateway unblocked": ("/key/block", lambda w: {"key": w.gateway}, 401),
    "team unblocked": ("/team/block", lambda w: {"team_id": f"team-{w.name}"}, "team_blocked"),
}
# The change takes the key away from under whoever repeats it.
GONE_AFTERWARDS = ("deleted", "regenerated")


@dataclass
class Use:
    """One verify: when it was sent, to which process, and what it got."""

    sent: float
    web: int
    answer: str | int


@dataclass
class Client:
    """Verifies a key at both processes by turns until told how many more calls to send."""

    pair: Pair
    world: World
    changed: Event
    # Sent again, an allowed call is allowed again: where the budget alone has changed.
    repeats: bool
    uses: list[Use] = field(default_factory=list)

    def run(self) -> None:
        callers = [Caller(web, key=self.world.gateway) for web in self.pair.webs]
        repeated = uuid.uuid4().hex
        left, turn = SENT_AFTERWARDS, 0
        while left:
            turn += 1
            named = {"request_id": repeated} if self.repeats and turn % 3 == 0 else {}
            is_changed, sent = self.changed.is_set(), time.monotonic()
            try:
                reply = callers[turn % 2].post(
                    "/key/verify", key=self.world.key, model=MODEL, estimate={"cost": COST}, **named
                )
            except Away:
                continue  # a killed process: the other one is asked
            self.uses.append(Use(sent, turn % 2, reply.body["code"] if reply.status == 200 else reply.status))
            # An outage is no verdict: it is neither old nor new.
            left -= is_changed and reply.status != 503
        for caller in callers:
            caller.close()

    def is_warm(self, answer: str | int) -> bool:
        """Whether both processes know the answer by heart."""
        return Counter(use.web for use in self.uses if use.answer == answer).keys() == {0, 1}


def change_confirmed(pair: Pair, writer: int, name: str, world: World) -> float:
    """Make the change until it is confirmed; when that was.

    A writer that dies on it has committed already: it is the other one that confirms.
    """
    method, path, body, _ = CHANGES[name]
    content = json.dumps(body(world)).encode()
    replies: list[Reply] = []

    def is_confirmed(caller: Caller) -> bool:
        replies.append(caller.call(method, path, content))
        return replies[-1].status != 503

    with Caller(pair.webs[writer]) as first, Caller(pair.webs[1 - writer]) as other:
        done = {200}
        try:
            eventually(lambda: is_confirmed(first), 30)
        except Away:
            eventually(lambda: is_confirmed(other), 30)
        if len(replies) > 1 or replies[-1].status != 200:
            done |= {404} if name.endswith(GONE_AFTERWARDS) else set()
    assert replies[-1].status in done, replies
    return time.monotonic()


def blocked_before(pair: Pair, name: str, world: World) -> str | int:
    """Make what stands before the change; how a verify is answered then."""
    if name not in BLOCKED:
        return "allowed"
    path, body, answer = BLOCKED[name]
    with Caller(pair.webs[0]) as caller:
        assert caller.post(path, **body(world)).status == 200
    return answer


def verify_while_changed(pair: Pair, writer: int, name: str, what: str, when: str) -> tuple[list[Use], list[Use]]:
    """The verifies of a new key in use, sent before and after the answer of a change."""
    pair.wait()
    world = World.make(pair)
    before = blocked_before(pair, name, world)
    changed = Event()
    repeats = CHANGES[name][3] != "budget_exceeded"
    clients = [Client(pair, world, changed, repeats) for _ in range(CLIENTS)]
    threads = [Thread(target=client.run, daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    eventually(lambda: all(client.is_warm(before) for client in clients))
    with Fault(pair, writer, what, when) as fault:
        answered_at = change_confirmed(pair, writer, name, world)
        changed.set()
        fault.after_the_answer()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a client does not end"
    assert (fault.happened_at is None) == (what == "nothing"), f"{what} {when} has not been staged"
    if what == "kill" and fault.happened_at is not None:
        answered_at = fault.happened_at  # the change is committed: nobody is let in from there on
    uses = [use for client in clients for use in client.uses]
    return [use for use in uses if use.sent <= answered_at], [use for use in uses if use.sent > answered_at]


# Each change with one of the faults that can meet it, or in peace; and one of them with all.
STAGED = [(name, *ROUNDS[number % len(ROUNDS)]) for number, name in enumerate(CHANGES)]
STAGED += [
    ("gateway blocked", *fault) for fault in dict.fromkeys(ROUNDS) if ("gateway blocked", *fault) not in STAGED
]


@pytest.mark.parametrize(("name", "what", "when"), STAGED, ids=[", ".join(staged) for staged in STAGED])
def test_no_verify_sent_after_the_answer_of_a_change_is_decided_by_the_old_state(
    pair: Pair, name: str, what: str, when: str
) -> None:
    earlier, later = verify_while_changed(pair, len(name) % 2, name, what, when)

    expected = CHANGES[name][3]
    assert {use.answer for use in earlier} <= {BLOCKED[name][2] if name in BLOCKED else "allowed", expected, 503}
    assert {use.answer for use in later} <= {expected, 503}
    decided = Counter(use.web for use in later if use.answer == expected)
    assert decided.keys() == {0, 1} or what == "kill"
    assert decided.total() >= CLIENTS * SENT_AFTERWARDS
    sys.stdout.write(f"{decided.total()} verifies sent after the answer, none decided by the old state\n")

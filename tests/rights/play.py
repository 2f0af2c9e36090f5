"""Calls played to the real application, each judged by the oracle as soon as it is answered.

A sequence starts from the same world: the tables are filled from a copy that is kept beside the store, and so is
Redis, so that what the service has cached of the first state goes on to be true.
"""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import orjson
from flask import Flask
from redis import Redis

from tests.clients import MASTER_KEY
from tests.rights import calls, oracle, oracle_members, shown
from tests.rights.calls import METHODS, NOBODY, ROUTES, Call
from tests.rights.oracle import Who
from tests.rights.rules import EFFECTS, RULES
from tests.rights.world import MASTER, World

LENGTH = 20
# Of the refused calls that name something unseen, so many are held against one that names nothing (each of them
# costs another request); the matrix of access holds every route, caller and target against it.
COMPARED_IN = 3
UNKNOWN_KEY = "sk-of-nobody-0123456789"
MAKING = {"/key/generate", "/key/service-account/generate", "/user/new", "/team/new", "/organization/new"}
SIZES = {"/key/list": "size", "/user/list": "page_size", "/v2/team/list": "page_size"}
SECRET = {"/key/generate", "/key/service-account/generate", "/key/regenerate", "/user/new"}


class Disagreement(AssertionError):
    """The oracle and the application do not say the same."""


@dataclass
class Store:
    """The tables as the base world filled them, to be put back before each sequence."""

    path: Path
    redis: Redis

    def keep(self) -> None:
        with closing(sqlite3.connect(self.path)) as store, closing(sqlite3.connect(self._kept)) as kept:
            store.backup(kept)
            named = store.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
            )
            tables = [name for (name,) in named]
        copies = (
            f"DELETE FROM main.{name}; INSERT INTO main.{name} SELECT * FROM kept.{name};" for name in tables
        )
        self._script = f"BEGIN IMMEDIATE; {' '.join(copies)} COMMIT;"
        self._connection = sqlite3.connect(self.path)
        self._connection.execute("ATTACH DATABASE ? AS kept", (str(self._kept),))
        self._versions = self._dump()

    def _dump(self) -> dict[bytes, bytes]:
        names: list[Any] = self.redis.keys()
        with self.redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.dump(name)
            return dict(zip(names, pipeline.execute(), strict=True))

    @property
    def _kept(self) -> Path:
        return self.path.with_suffix(".kept")

    def restore(self) -> None:
        self._connection.executescript(self._script)
        present = self._dump()
        with self.redis.pipeline(transaction=False) as pipeline:
            for name in present.keys() - self._versions.keys():
                pipeline.delete(name)
            for name, value in self._versions.items() - present.items():
                pipeline.restore(name, 0, value, replace=True)
            pipeline.execute()

    def close(self) -> None:
        self._connection.close()


@dataclass
class Stage:
    """The application over its store, and what is counted of the calls to it."""

    app: Flask
    store: Store
    base: World
    outcomes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._client = self.app.test_client()

    def open(self) -> None:
        """Keep the present state, once every key has been seen by the application."""
        for name in self.base.keys:
            self._send(self.base, Call("/key/info", name, name, makes="0"))
        self.store.keep()

    def play(self, seed: int, *, shrink: bool = True) -> None:
        """Make a sequence of calls up; raises Disagreement, with as few of them as show it, if wanted."""
        random, world = Random(seed), self._begin()
        players, made = calls.cast(random, world), list[Call]()
        try:
            for number in range(LENGTH):
                made.append(calls.draw(random, world, players, number))
                self._step(world, made[-1])
            self._compare(world)
        except Disagreement as found:
            raise (self._least(seed, made, found) if shrink else found) from None

    def _begin(self) -> World:
        self.store.restore()
        return self.base.copy()

    def _compare(self, world: World) -> None:
        told, stored = shown.of_world(world), shown.of_store(self.store.path)
        for kind, rows in told.items():
            if rows != stored[kind]:
                differing = {name: (rows.get(name), stored[kind].get(name)) for name in {*rows, *stored[kind]}}
                wrong = {name: pair for name, pair in differing.items() if pair[0] != pair[1]}
                raise Disagreement(f"{kind} as told and as stored: {wrong}")

    # --- one call ----------------------------------------------------------------------------------------------

    def _step(self, world: World, call: Call) -> None:
        caller = oracle.who(world, call.caller)
        refused = oracle.gate(world, caller, call.route) or RULES[call.route](world, caller, call)
        status, body = self._send(world, call)
        outcome = "allowed" if not refused else "hidden" if refused == oracle.UNKNOWN else "refused"
        self.outcomes[outcome] += 1
        if status not in (refused or {200}):
            told = body.get("error", {}).get("message", "")
            raise Disagreement(f"answered {status} {told}; the oracle says {set(refused) or 200} to {caller}")
        if refused:
            if _number(call) % COMPARED_IN == 0:
                self._compare_with_unknown(world, caller, call, (status, body))
            return
        before = world.copy() if not caller.is_admin and call.route in EFFECTS else None
        if call.route in EFFECTS:
            EFFECTS[call.route](world, caller, call)
        self._learn(world, call, body)
        for told, answered in shown.of_answer(world, caller, call, body):
            if told != answered:
                raise Disagreement(f"shown {answered}; the oracle says {told}")
        if before is not None:
            grown = shown.growth(before, world, caller, call)
            if grown:
                raise Disagreement(f"more than {caller} had: {grown}")

    def _learn(self, world: World, call: Call, body: Any) -> None:
        if call.route in SECRET:
            key = world.keys[call.makes if call.route in MAKING else call.target or ""]
            key.secret = body["key"]
            key.token = body.get("token_id") or shown.token(body["key"])

    def _compare_with_unknown(self, world: World, caller: Who, call: Call, answer: tuple[int, Any]) -> None:
        """What the caller does not see must be answered to the letter like what does not exist."""
        veiled = _veiled(world, caller, call)
        if veiled == call:
            return
        self.outcomes["compared with unknown"] += 1
        status, body = self._send(world, veiled)
        names = [call.target or "", *(call.fields.get(name) or "" for name in ("team_id", "organization_id"))]
        text = orjson.dumps(body).decode()
        expected = {text, *(text.replace(NOBODY, name) for name in names if name)}
        if status != answer[0] or orjson.dumps(answer[1]).decode() not in expected:
            raise Disagreement(f"answered {answer}; were there nothing, {(status, body)}")

    def _send(self, world: World, call: Call) -> tuple[int, Any]:
        path, sent = _request(world, call)
        method = METHODS.get(call.route, "POST")
        secret = MASTER_KEY if call.caller == MASTER else world.keys[call.caller].secret
        headers = {"Authorization": f"Bearer {secret}"}
        if method == "GET":
            response = self._client.get(path, query_string=sent, headers=headers)
        else:
            data = orjson.dumps(sent)
            response = self._client.open(
                path, method=method, data=data, content_type="application/json", headers=headers
            )
        return response.status_code, orjson.loads(response.get_data())

    # --- the least sequence that fails -------------------------------------------------------------------------

    def _least(self, seed: int, made: Sequence[Call], found: Disagreement) -> Disagreement:
        """Drop whatever call can be dropped while there still is a disagreement."""
        least = list(made)
        for call in reversed(made[:-1]):
            fewer = [each for each in least if each is not call]
            again = self._fails(fewer)
            if again is not None:
                least, found = fewer, again
        listed = "\n".join(f"  {call}" for call in least)
        return Disagreement(f"seed {seed}, {len(least)} of {len(made)} calls:\n{listed}\n{found}")

    def _fails(self, made: Sequence[Call]) -> Disagreement | None:
        world = self._begin()
        try:
            for call in made:
                if call.caller in (MASTER, *world.keys):
                    self._step(world, call)
            self._compare(world)
        except Disagreement as found:
            return found
        except KeyError:  # a call without the one that made what it needs is no call
            return None
        return None


def _request(world: World, call: Call) -> tuple[str, dict[str, Any]]:
    """Path and body, or query."""
    sent = dict(call.fields)
    kind = ROUTES[call.route][0]
    if sent.pop("temp_budget", None) is not None:
        sent |= {"temp_budget_increase": call.fields["temp_budget"], "temp_budget_expiry": "2027-01-01T00:00:00Z"}
    if kind == "keys":
        return _at_key(world, call, sent)
    if kind:
        return _at_another(world, call, sent, kind[:-1])
    if call.route == "/key/service-account/generate":
        sent["key_alias"] = call.makes
    if call.route in {"/team/new", "/user/new", "/organization/new"}:
        noun = call.route.split("/")[1]
        sent |= {f"{noun}_id": call.makes, f"{noun}_alias": call.makes}
    if call.route in SIZES:
        sent[SIZES[call.route]] = 100
    return call.route, sent


def _at_another(world: World, call: Call, sent: dict[str, Any], noun: str) -> tuple[str, dict[str, Any]]:
    """A call at a team, a user or an organization."""
    if call.route == "/team/{team_id}/member/{user_id}/reset_spend":
        return f"/team/{call.target}/member/{sent['user_id']}/reset_spend", {"reset_to": 0}
    if call.route == "/team/key/bulk_update":
        keys = [_named(world, call, name) for name in sent.pop("key_ids")]
        return call.route, {"team_id": call.target, "key_ids": keys, "update_fields": sent}
    if call.route.endswith("/delete"):
        return call.route, {f"{noun}_ids": [call.target]}
    return call.route, {**sent, f"{noun}_id": call.target}


def _at_key(world: World, call: Call, sent: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    named = _named(world, call, call.target)
    if call.route == "/key/delete":
        return call.route, {"keys": [named]}
    if call.route == "/key/bulk_update":
        return call.route, {"keys": [{"key": named, **sent}]}
    if call.route == "/key/{key}/reset_spend":
        return f"/key/{named}/reset_spend", {"reset_to": 0}
    return call.route, {**sent, "key": named}


def _named(world: World, call: Call, name: str | None) -> str:
    """A key is called by its hash in every other call, by its secret in the others."""
    key = world.keys.get(name or "")
    if key is None:
        return UNKNOWN_KEY
    return key.token if _number(call) % 2 == 0 else key.secret


def _number(call: Call) -> int:
    """Its place in the sequence that was made up; a sequence made shorter keeps it."""
    return int(call.makes.rpartition(" ")[2])


def _veiled(world: World, caller: Who, call: Call) -> Call:
    """The call with everything that its caller does not see in the place of which nothing is."""
    kind = ROUTES[call.route][0]
    sees = {
        "keys": oracle.sees_key,
        "teams": oracle.sees_team,
        "users": oracle_members.knows_user if call.route == "/user/delete" else oracle.sees_user,
        "organizations": oracle.sees_organization,
    }
    target, fields = call.target, dict(call.fields)
    if kind and not sees[kind](world, caller, target or ""):
        target = NOBODY
    for name, visible in (("team_id", oracle.sees_team), ("organization_id", oracle.sees_organization)):
        if (
            fields.get(name)
            and fields[name] != _stands(world, call, name)
            and not visible(world, caller, fields[name])
        ):
            fields[name] = NOBODY
    return replace(call, target=target, fields=fields)


def _stands(world: World, call: Call, name: str) -> str | None:
    """What the target says of itself already is no secret to those who see it."""
    things: dict[str, Any] = {**world.keys, **world.teams}
    return getattr(things.get(call.target or ""), name.removesuffix("_id"), None)

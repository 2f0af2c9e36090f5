"""The company that the matrix asks about: made once, and put back as it was after every cell that changed it."""

import sqlite3
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from app.container import Services
from app.domain import minting
from tests.access import callers
from tests.access.callers import (
    ACME,
    CALLERS,
    CREW,
    ELSEWHERE,
    GRANTS,
    GUILD,
    MATE,
    NEWCOMER,
    OTHER,
    REGULAR,
    STRANGER,
)
from tests.access.oracle import UNKNOWN
from tests.clients import MASTER_KEY, Api
from tests.clocks import START
from tests.factories import add_event, add_organization, add_team, add_tier, add_user, change_key
from tests.servers import RedisServer

# Names of what does not exist, in the form that each noun has.
UNKNOWN_KEY = "sk-unknown-key-0000"
WRONG_KEY = "sk-wrong-key-of-nobody-00"
TIER = "tier"
ENTRY = "entry"
HAPPENED = "event"


class Watch:
    """Whether anybody has written to the store, and the way back to how it was.

    SQLite tells one connection by a number whether any other has committed a change.
    """

    def __init__(self, path: Path, redis: RedisServer) -> None:
        self._store = sqlite3.connect(path, check_same_thread=False)
        self._store.execute("PRAGMA synchronous = OFF")  # nothing here has to outlive the machine
        self._redis = redis
        self._first = sqlite3.connect(":memory:", check_same_thread=False)
        self._store.backup(self._first)
        self._seen = self._version()

    def changed(self) -> bool:
        """Whether something was committed since this was asked last."""
        before, self._seen = self._seen, self._version()
        return before != self._seen

    def restore(self) -> None:
        """Put every table back, and let every process ask for what it knows anew."""
        self._first.backup(self._store)
        self._redis.clear()
        self._seen = self._version()

    def close(self) -> None:
        self._store.close()
        self._first.close()

    def _version(self) -> int:
        version: int = self._store.execute("PRAGMA data_version").fetchone()[0]
        return version


@dataclass(frozen=True)
class World:
    """The calling keys by caller, and the keys that are targets by caller and target."""

    keys: dict[str, str | None]
    targets: dict[tuple[str, str], str]

    def name(self, noun: str, caller: str, target: str) -> str:
        """By what a request names this target."""
        if noun == "key":
            return UNKNOWN_KEY if target == UNKNOWN else self.targets[caller, target]
        if noun == "audit":
            return "999999999" if target == UNKNOWN else "1"
        if target == UNKNOWN:
            return f"no such {noun}"
        return {CREW: CALLERS[caller].home, "oneself": caller}.get(target, target)

    def mark(self, noun: str, name: str) -> str:
        """By what an answer tells of it."""
        return minting.digest(name) if noun == "key" else name


def build(api: Api, services: Services) -> World:
    _people(services)
    keys: dict[str, str | None] = {callers.MASTER: MASTER_KEY, "no key": None, "wrong key": WRONG_KEY}
    for name, caller in CALLERS.items():
        if name not in keys:
            owner = {} if caller.role is None else {"user_id": name}
            keys[name] = api.generate(key_alias=name, **owner, **caller.key)["key"]
    change_key(services.database, "expired key", expires_at=START - timedelta(days=1))
    return World(keys, _key_targets(api, services, keys))


def _people(services: Services) -> None:
    database = services.database
    for name, caller in CALLERS.items():
        if caller.role is not None:
            add_user(database, name, caller.role)
    for name in (MATE, STRANGER, "steward", REGULAR, NEWCOMER):
        add_user(database, name)
    plain = "internal_user"
    add_organization(database, ACME, {"org admin": "org_admin", "org member": plain, REGULAR: plain})
    add_organization(database, OTHER, {"other org admin": "org_admin", REGULAR: plain})
    logged = {"logging": [{"callback_name": "langfuse", "callback_type": "success", "callback_vars": {}}]}
    for team, organization, members, grants in (
        (CREW, ACME, {"team admin": "admin", "member": "user", MATE: "user"}, None),
        (GUILD, ACME, {"steward": "admin", "granted member": "user", MATE: "user"}, list(GRANTS)),
        (ELSEWHERE, OTHER, {"other team admin": "admin", STRANGER: "user"}, None),
    ):
        add_team(
            database,
            team,
            {**members, REGULAR: "user"},
            grants=grants,
            organization_id=organization,
            metadata=logged,
        )
    add_tier(database, TIER)
    add_event(database, HAPPENED)


def _key_targets(api: Api, services: Services, keys: dict[str, str | None]) -> dict[tuple[str, str], str]:
    def made(alias: str, created_by: str | None = None, **fields: str) -> str:
        plaintext: str = api.generate(key_alias=alias, **fields)["key"]
        if created_by is not None:
            change_key(services.database, alias, created_by=created_by)
        return plaintext

    of_teams = {
        team: {
            "mate's": made(f"{team} mate's", mate, team_id=team, user_id=mate),
            "team's": made(f"{team} team's", team_id=team),
        }
        for team, mate in ((CREW, MATE), (GUILD, MATE), (ELSEWHERE, STRANGER))
    }
    found: dict[tuple[str, str], str] = {}
    for name, caller in CALLERS.items():
        found |= {(name, target): key for target, key in of_teams[caller.home].items()}
        found[name, "elsewhere"] = of_teams[ELSEWHERE]["team's"]
        found[name, "itself"] = keys[name] or ""
        if caller.role is not None:
            found[name, "own"] = made(f"{name} own", name, user_id=name)
            found[name, "given"] = made(f"{name} given", user_id=name)
            found[name, "made"] = made(f"{name} made", name, user_id=STRANGER)
            found[name, "own in team"] = made(f"{name} in team", name, user_id=name, team_id=caller.home)
    return found

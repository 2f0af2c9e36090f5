"""The small world in which the calls are made: once as the oracle remembers it, once as rows of a store.

Whoever is in it is there because the rules tell it from somebody else.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from sqlalchemy import update

from app.db import Database
from app.models import budgets
from tests import factories
from tests.clients import Api

MASTER = "master"
NANOS = factories.NANOS


@dataclass
class Caps:
    """How much may be used: no models stand for all, None for no limit."""

    models: tuple[str, ...] = ()
    max_budget: float | None = None
    tpm_limit: int | None = None
    rpm_limit: int | None = None


NUMBERS = ("max_budget", "tpm_limit", "rpm_limit")


@dataclass
class User:
    role: str | None = None
    caps: Caps = field(default_factory=Caps)


@dataclass
class Organization:
    caps: Caps = field(default_factory=Caps)
    admins: frozenset[str] = frozenset()
    members: frozenset[str] = frozenset()


@dataclass
class Team:
    organization: str | None = None
    admins: frozenset[str] = frozenset()
    members: frozenset[str] = frozenset()
    grants: frozenset[str] = frozenset()
    caps: Caps = field(default_factory=Caps)
    blocked: bool = False
    guarded: bool = False


@dataclass
class Key:
    """A key under a name of ours; `secret` and `token` become known when it is made."""

    owner: str | None = None
    team: str | None = None
    organization: str | None = None
    creator: str | None = "default_user_id"
    account: str | None = None
    caps: Caps = field(default_factory=Caps)
    # Linked to the tier of the organization `north`.
    tier: bool = False
    increase: float = 0
    routes: tuple[str, ...] = ()
    gateway: bool = False
    blocked: bool = False
    secret: str = field(default="", repr=False)
    token: str = ""

    @property
    def budget(self) -> float | None:
        """What it may spend at present."""
        return None if self.caps.max_budget is None else self.caps.max_budget + self.increase


@dataclass
class World:
    users: dict[str, User]
    organizations: dict[str, Organization]
    teams: dict[str, Team]
    keys: dict[str, Key]

    def copy(self) -> "World":
        """Another world; what its things are made of is never changed, only replaced."""
        return World(_copied(self.users), _copied(self.organizations), _copied(self.teams), _copied(self.keys))


Thing = TypeVar("Thing")


def _copied(things: Mapping[str, Thing]) -> dict[str, Thing]:
    return {name: copy(thing) for name, thing in things.items()}


GENEROUS = ("/key/generate", "/key/update", "/key/regenerate", "/key/service-account/generate")
TIGHT = Caps(("a", "b"), 10, 100, 10)


def base() -> World:
    """Two organizations, four teams, somebody of every role, and a key of each; no key can be opened yet."""
    users = {
        name: User("internal_user")
        for name in ("nora", "sven", "norm", "mira", "dora", "pia", "cora", "max", "gil", "ula")
    }
    users |= {"root": User("proxy_admin"), "eye": User("proxy_admin_viewer"), "ivy": User("internal_user_viewer")}
    organizations = {
        "north": Organization(
            Caps(("a", "b", "c"), 100, 1000, 100), frozenset({"nora"}), frozenset({"nora", "norm"})
        ),
        "south": Organization(Caps(), frozenset({"sven"}), frozenset({"sven", "norm"})),
    }
    teams = {
        "mill": Team("north", *_people("mira", "max gil ivy root nora"), caps=Caps(("a", "b"), 50, 500)),
        "dock": Team("north", *_people("dora", "gil max"), frozenset(GENEROUS)),
        "pier": Team("south", *_people("pia", "mira gil"), frozenset({"/key/generate", "/key/list"})),
        "camp": Team(None, *_people("cora", "max"), caps=Caps(max_budget=20)),
    }
    return World(users, organizations, teams, _keys(users))


def _people(admin: str, members: str) -> tuple[frozenset[str], frozenset[str]]:
    return frozenset({admin}), frozenset({admin, *members.split()})


def _keys(users: Mapping[str, User]) -> dict[str, Key]:
    keys = {name: Key(owner=name) for name in users}
    keys |= {
        "robot": Key(team="mill", organization="north", account="robot"),
        "mate": Key(team="dock", organization="north", account="mate", caps=Caps(("a",), 5, None, 5)),
        "nobody": Key(),
        "stray": Key(owner="nobody with a row"),
        "of mill": Key(team="mill", organization="north"),
        "gate": Key(team="mill", organization="north", gateway=True),
        "porter": Key(team="mill", organization="north", routes=("/user/new", "/team/new")),
        "gil of mill": Key(owner="gil", team="mill", organization="north"),
        "max of dock": Key(owner="max", team="dock", organization="north", creator="max"),
        "gil of pier": Key(owner="gil", team="pier", organization="south", creator="gil"),
        "root of mill": Key(owner="root", team="mill", organization="north"),
        "nora of mill": Key(owner="nora", team="mill", organization="north"),
        "tight ula": Key(owner="ula", creator="ula", caps=replace(TIGHT)),
        "tight mira": Key(owner="mira", caps=replace(TIGHT)),
        "tight nora": Key(owner="nora", caps=replace(TIGHT)),
        "tight root": Key(owner="root", caps=replace(TIGHT)),
        "narrow ula": Key(owner="ula", routes=("/key/generate", "/key/info", "/key/regenerate", "/key/list")),
        "hiring norm": Key(owner="norm", routes=("/user/new", "/team/new", "/key/generate", "/key/info")),
    }
    return keys


# --- in a store ------------------------------------------------------------------------------------------------


def settle(world: World, api: Api, database: Database) -> None:
    """Make the rows of a world, and learn how its keys are opened."""
    for name, user in world.users.items():
        factories.add_user(database, name, user.role)
    for name, organization in world.organizations.items():
        members = {member: _role(member, organization.admins) for member in sorted(organization.members)}
        caps = organization.caps
        factories.add_organization(database, name, members, models=list(caps.models))
        with database.transaction() as transaction:
            tier = budgets.c.budget_id == f"tier of {name}"
            transaction.execute(update(budgets).where(tier).values(**numbers(caps)))
    for name, team in world.teams.items():
        factories.add_team(
            database,
            name,
            {member: "admin" if member in team.admins else "user" for member in sorted(team.members)},
            grants=sorted(team.grants),
            organization_id=team.organization,
            models=list(team.caps.models),
            **numbers(team.caps),
        )
    for name, key in world.keys.items():
        made = api.generate(**_request(name, key))
        key.secret, key.token = made["key"], made["token"]
        factories.change_key(database, name, created_by=key.creator, key_alias=None)


def _role(member: str, admins: frozenset[str]) -> str:
    return "org_admin" if member in admins else "internal_user"


def numbers(caps: Caps) -> dict[str, int | None]:
    """The columns that hold these caps."""
    budget = None if caps.max_budget is None else round(caps.max_budget * NANOS)
    return {"max_budget_nanos": budget, "tpm_limit": caps.tpm_limit, "rpm_limit": caps.rpm_limit}


def _request(name: str, key: Key) -> dict[str, Any]:
    caps = {field: getattr(key.caps, field) for field in NUMBERS}
    request = {
        "key_alias": name,
        "user_id": key.owner,
        "team_id": key.team,
        "models": list(key.caps.models),
        **caps,
    }
    request["allowed_routes"] = list(key.routes)
    if key.gateway:
        request["permissions"] = {"gateway": True}
    if key.account is not None:
        request["metadata"] = {"service_account_id": key.account}
    return request

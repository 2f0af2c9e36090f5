"""The calls that a sequence is made of, drawn at random: whom they are by, at what, with which fields."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.rights import oracle
from tests.rights.world import MASTER, World

NOBODY = "no such one"
Fields = dict[str, Any]
Draw = Callable[[Random, World], Any]


@dataclass(frozen=True)
class Call:
    """One call by a key, at a target of the route's kind; names are those of the world, not of the store."""

    route: str
    caller: str
    target: str | None = None
    fields: Fields = field(default_factory=dict)
    # What a key, team, user or organization that comes of it is called.
    makes: str = ""


METHODS = {
    "/key/info": "GET",
    "/key/list": "GET",
    "/team/info": "GET",
    "/user/info": "GET",
    "/organization/info": "GET",
    "/organization/update": "PATCH",
    "/organization/delete": "DELETE",
    "/organization/list": "GET",
    "/organization/member_update": "PATCH",
    "/organization/member_delete": "DELETE",
    "/team/list": "GET",
    "/v2/team/list": "GET",
    "/team/permissions_list": "GET",
    "/user/list": "GET",
    "/budget/list": "GET",
    "/audit": "GET",
}
# What a route is aimed at, and how often it is called.
ROUTES: dict[str, tuple[str, float]] = {
    "/key/generate": ("", 20),
    "/key/service-account/generate": ("", 6),
    "/key/update": ("keys", 20),
    "/key/regenerate": ("keys", 8),
    "/key/delete": ("keys", 4),
    "/key/block": ("keys", 3),
    "/key/unblock": ("keys", 3),
    "/key/info": ("keys", 8),
    "/key/list": ("", 4),
    "/key/bulk_update": ("keys", 2),
    "/key/{key}/reset_spend": ("keys", 3),
    "/team/new": ("", 4),
    "/team/update": ("teams", 8),
    "/team/block": ("teams", 1),
    "/team/unblock": ("teams", 2),
    "/team/info": ("teams", 4),
    "/team/member_add": ("teams", 5),
    "/team/member_update": ("teams", 4),
    "/user/new": ("", 9),
    "/user/update": ("users", 4),
    "/user/info": ("users", 4),
    "/organization/new": ("", 1),
    "/organization/update": ("organizations", 4),
    "/organization/info": ("organizations", 3),
    "/team/delete": ("teams", 1),
    "/team/bulk_member_add": ("teams", 2),
    "/team/member_delete": ("teams", 2),
    "/team/permissions_list": ("teams", 1),
    "/team/permissions_update": ("teams", 2),
    "/team/key/bulk_update": ("teams", 3),
    "/team/{team_id}/member/{user_id}/reset_spend": ("teams", 2),
    "/team/list": ("", 2),
    "/v2/team/list": ("", 2),
    "/user/list": ("", 2),
    "/user/delete": ("users", 2),
    "/organization/list": ("", 2),
    "/organization/delete": ("organizations", 0.5),
    "/organization/member_add": ("organizations", 4),
    "/organization/member_update": ("organizations", 3),
    "/organization/member_delete": ("organizations", 2),
    "/budget/new": ("", 1),
    "/budget/list": ("", 1),
    "/audit": ("", 1),
}
WEIGHTS = [weight for _, weight in ROUTES.values()]


CAST = 8
USUAL = ALONE = 0.5
# Those with rights over others, which have the most to give away.
MIGHTY = ["nora", "sven", "tight nora", "hiring norm", "mira", "dora", "pia", "cora", "robot"]


def cast(random: Random, world: World) -> list[str]:
    """Who calls in a sequence, beside the keys that are made in it: everybody else only suffers it."""
    return [
        *random.sample(MIGHTY, 3),
        *random.sample([name for name in (MASTER, *world.keys) if name not in MIGHTY], CAST - 3),
    ]


def draw(random: Random, world: World, players: list[str], number: int) -> Call:
    """The next call; each of the players has had its turn before any has a second one."""
    (route,) = random.choices(list(ROUTES), WEIGHTS)
    present = [name for name in players if name in (MASTER, *world.keys)]
    caller = players[number] if number < CAST and players[number] in present else ""
    caller = caller or random.choice([*present, *_young(world), MASTER])
    kind = ROUTES[route][0]
    target = _target(random, world, caller, kind) if kind else None
    fields = _fields(random, world, FIELDS.get(route, {}))
    return Call(route, caller, target, fields, f"made {number}")


def _fields(random: Random, world: World, described: Mapping[str, tuple[float, Draw]]) -> Fields:
    """Some of the fields; in every other call one alone beside the usual ones, so that no other hides its fault."""
    chosen = [name for name, (odds, _) in described.items() if random.random() < odds]
    rare = {name: odds for name, (odds, _) in described.items() if odds < USUAL}
    if rare and random.random() < ALONE:
        usual = [name for name in chosen if name not in rare]
        chosen = [*usual, *random.choices(list(rare), list(rare.values()))]
    return {name: described[name][1](random, world) for name in chosen}


def _young(world: World) -> list[str]:
    return [name for name in world.keys if name.startswith("made")] * 2


def _target(random: Random, world: World, caller: str, kind: str) -> str:
    """Mostly something that the caller sees, else something hidden, else nothing at all."""
    sees = {
        "keys": oracle.sees_key,
        "teams": oracle.sees_team,
        "users": oracle.sees_user,
        "organizations": oracle.sees_organization,
    }[kind]
    who = oracle.who(world, caller)
    names = list(getattr(world, kind))
    known = [name for name in names if sees(world, who, name)]
    hidden = [name for name in names if name not in known]
    chance = random.random()
    pool = known if chance < 0.75 else hidden if chance < 0.93 else []
    return random.choice(pool) if pool else NOBODY


# --- fields ----------------------------------------------------------------------------------------------------


def one_of(*values: Any) -> Draw:
    return lambda random, _: random.choice(values)


def _named(kind: str, *others: Any) -> Draw:
    return lambda random, world: random.choice([*getattr(world, kind), *others])


MODELS = one_of([], ["a"], ["a", "b"], ["b"], ["c"], ["a", "b", "c", "d"], ["*"])
BUDGET = one_of(None, 5, 10, 10.5, 20, 50, 1000)
TPM = one_of(None, 50, 100, 101, 500, 5000)
RPM = one_of(None, 5, 10, 11, 100, 500)
CAPS = {"models": (0.35, MODELS), "max_budget": (0.3, BUDGET), "tpm_limit": (0.2, TPM), "rpm_limit": (0.2, RPM)}
METADATA = one_of(
    {"service_account_id": "robot"},
    {"service_account_id": "another"},
    {"x": 1},
    {"end_user_budget_id": "b"},
    {"model_rpm_limit": {"a": 1}},
)
OBJECTS = one_of({"vector_stores": ["v"]}, {"search_tools": ["s"]}, {"models": ["a"]}, None, {})
SETTINGS = {
    **CAPS,
    "user_id": (0.12, _named("users", None, "nobody with a row")),
    "organization_id": (0.06, _named("organizations", None, NOBODY)),
    "allowed_routes": (0.06, one_of([], ["/key/generate"], ["management_routes"], None)),
    "permissions": (0.04, one_of({}, {"gateway": True}, None)),
    "metadata": (0.2, METADATA),
    "object_permission": (0.08, OBJECTS),
    "access_group_ids": (0.05, one_of([], ["g"])),
    "throttle_on_budget_exceeded": (0.03, one_of(True, False, None)),
    "budget_id": (0.03, one_of("tier of north", None, NOBODY)),
    "blocked": (0.04, one_of(True, False)),
    "tags": (0.1, one_of(["t"])),
    "guardrails": (0.05, one_of(["g"], [])),
    "model_rpm_limit": (0.05, one_of({"a": 1})),
}
GRANTED = one_of(["/key/generate"], ["/key/update", "/key/list"], [])
TEAM = {
    **CAPS,
    "organization_id": (0.5, _named("organizations", None, NOBODY)),
    "blocked": (0.08, one_of(True, False)),
    "team_member_permissions": (0.1, GRANTED),
    "guardrails": (0.08, one_of(["g"])),
    "object_permission": (0.08, one_of({"models": ["a"]})),
}
MEMBER = one_of("user", "admin")
PLACE = one_of("org_admin", "internal_user", "internal_user_viewer")


def _newcomer(random: Random, world: World) -> Fields:
    return {
        "user_id": random.choice([*world.users, f"fresh {random.randrange(10**6)}"]),
        "role": MEMBER(random, world),
    }


def _colleague(random: Random, world: World) -> Fields:
    return {**_newcomer(random, world), "role": PLACE(random, world)}


def _joined(random: Random, world: World) -> list[Fields]:
    return [{"team_id": random.choice([*world.teams, NOBODY]), "user_role": MEMBER(random, world)}]


ROLES = one_of("proxy_admin", "proxy_admin_viewer", "org_admin", "internal_user", "internal_user_viewer", "team")
FIELDS: dict[str, dict[str, tuple[float, Draw]]] = {
    "/key/generate": {
        **SETTINGS,
        "team_id": (0.5, _named("teams", None, NOBODY)),
        "key_type": (0.1, one_of("llm_api", "management", "read_only", "default")),
    },
    "/key/service-account/generate": {**SETTINGS, "team_id": (0.9, _named("teams", NOBODY))},
    "/key/update": {
        **SETTINGS,
        "team_id": (0.35, _named("teams", None, "", NOBODY)),
        "soft_budget": (0.03, one_of(1, None)),
        "spend": (0.03, one_of(0)),
        "temp_budget": (0.05, one_of(5)),
    },
    "/key/regenerate": {name: (odds / 3, drawn) for name, (odds, drawn) in SETTINGS.items()},
    "/key/bulk_update": {"max_budget": (1, BUDGET)},
    "/key/list": {
        "include_team_keys": (0.6, one_of("true")),
        "include_created_by_keys": (0.4, one_of("true")),
        "team_id": (0.25, _named("teams", NOBODY)),
        "user_id": (0.2, _named("users", NOBODY)),
        "organization_id": (0.1, _named("organizations", NOBODY)),
    },
    "/team/new": {**TEAM, "members_with_roles": (0.3, lambda random, world: [_newcomer(random, world)])},
    "/team/update": {**TEAM, "organization_id": (0.3, _named("organizations", "", NOBODY))},
    "/team/member_add": {"member": (1, _newcomer)},
    "/team/member_update": {
        "user_id": (1, _named("users", NOBODY)),
        "role": (0.7, MEMBER),
        "max_budget_in_team": (0.3, one_of(1, 1000, None)),
    },
    "/team/bulk_member_add": {"members": (1, lambda random, world: [_newcomer(random, world)])},
    "/team/member_delete": {"user_id": (1, _named("users", NOBODY))},
    "/team/permissions_update": {"team_member_permissions": (1, GRANTED)},
    "/team/key/bulk_update": {
        "key_ids": (1, lambda random, world: [random.choice([*world.keys, NOBODY])]),
        "max_budget": (0.5, BUDGET),
        "tpm_limit": (0.5, TPM),
        "rpm_limit": (1, RPM),
    },
    "/team/{team_id}/member/{user_id}/reset_spend": {"user_id": (1, _named("users", NOBODY))},
    "/team/list": {"user_id": (0.3, _named("users", NOBODY))},
    "/v2/team/list": {
        "user_id": (0.3, _named("users", NOBODY)),
        "organization_id": (0.2, _named("organizations", NOBODY)),
    },
    "/user/list": {"organization_ids": (0.4, _named("organizations", NOBODY))},
    "/organization/member_add": {"member": (1, _colleague)},
    "/organization/member_update": {"user_id": (1, _named("users", NOBODY)), "role": (0.9, PLACE)},
    "/organization/member_delete": {"user_id": (1, _named("users", NOBODY))},
    "/user/new": {
        **CAPS,
        "user_role": (0.8, ROLES),
        "organizations": (0.7, lambda random, world: [random.choice([*world.organizations, NOBODY])]),
        "teams": (0.3, _joined),
        "permissions": (0.05, one_of({"gateway": True})),
        "object_permission": (0.05, OBJECTS),
    },
    "/user/update": {
        "user_alias": (0.5, one_of("alias")),
        "metadata": (0.3, one_of({"x": 1})),
        "user_role": (0.2, ROLES),
        "max_budget": (0.2, BUDGET),
        "models": (0.2, MODELS),
    },
    "/organization/new": {**CAPS},
    "/organization/update": {
        **CAPS,
        "organization_alias": (0.3, one_of("alias")),
        "object_permission": (0.1, one_of({"models": ["a"]})),
    },
}

"""Who may do what, told a second time: from the contract and the design, and without the rules under test.

The oracle answers with every status that some rule would refuse a call with, since the order of the rules is nobody's
promise; an empty set allows it. What is hidden from the caller is refused as unknown before anything else is looked at.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.rights.world import MASTER, Caps, Key, Team, World

Statuses = frozenset[int]
ALLOWED: Statuses = frozenset()
UNKNOWN: Statuses = frozenset({404})

# Who reaches a route by its role; what the rest of the rules say of the call is another matter.
INFO = frozenset(
    {"/key/info", "/key/list", "/team/info", "/team/list", "/v2/team/list", "/user/info"}
    | {"/organization/info", "/organization/list"}
)
EVERYBODY = INFO | {
    "/user/list",
    "/team/update",
    "/team/member_add",
    "/team/bulk_member_add",
    "/team/member_update",
    "/team/member_delete",
    "/team/permissions_list",
    "/team/permissions_update",
    "/team/key/bulk_update",
    "/team/{team_id}/member/{user_id}/reset_spend",
}
KEYS = frozenset(
    {f"/key/{name}" for name in ("generate", "update", "delete", "block", "unblock", "regenerate", "bulk_update")}
    | {"/key/service-account/generate", "/key/{key}/reset_spend"}
)
OF_ORGANIZATION_ADMINS = (
    KEYS
    | {"/team/new", "/team/block", "/team/unblock", "/team/delete", "/user/new", "/user/delete"}
    | {f"/organization/{name}" for name in ("update", "member_add", "member_update", "member_delete")}
)
OF_ACCOUNTS = frozenset({"/key/generate", "/key/update"})
OF_ADMINS = frozenset({"/organization/new", "/organization/delete", "/budget/new", "/budget/list", "/audit"})
READS = INFO | {"/user/list", "/team/permissions_list", "/budget/list", "/audit"}


@dataclass(frozen=True)
class Who:
    """A caller: the rights of a key's owner within the caps of the key."""

    name: str
    role: str
    owner: str | None
    has_row: bool = True
    key: Key | None = None
    runs: frozenset[str] = field(default_factory=frozenset)
    limits: Caps = field(default_factory=Caps)

    @property
    def is_admin(self) -> bool:
        return self.role == "proxy_admin"

    @property
    def sees_all(self) -> bool:
        return self.role in {"proxy_admin", "proxy_admin_viewer"}

    @property
    def team(self) -> str | None:
        return None if self.key is None else self.key.team

    @property
    def account(self) -> str | None:
        """The team for which it acts, if it is a service account."""
        return None if self.key is None or self.key.account is None else self.key.team

    @property
    def routes(self) -> tuple[str, ...]:
        return () if self.key is None else self.key.routes

    @property
    def caps(self) -> Caps:
        """What binds whatever it makes; an administrator is bound by nothing."""
        return Caps() if self.key is None or self.is_admin else self.limits


def who(world: World, name: str) -> Who:
    if name == MASTER:
        return Who(MASTER, "proxy_admin", "default_user_id")
    key = world.keys[name]
    return owner_of(world, name, key)


def owner_of(world: World, name: str, key: Key) -> Who:
    user = world.users.get(key.owner or "")
    runs = frozenset(
        each for each, organization in world.organizations.items() if key.owner in organization.admins
    )
    limits = in_effect(world, key)
    return Who(name, (user and user.role) or "internal_user", key.owner, user is not None, key, runs, limits)


def in_effect(world: World, key: Key) -> Caps:
    """What binds a key at present: what it leaves open, its tier says."""
    tier = world.organizations["north"].caps if key.tier else Caps()
    numbers = {
        name: getattr(tier if getattr(key.caps, name) is None else key.caps, name)
        for name in ("max_budget", "tpm_limit", "rpm_limit")
    }
    budget = numbers.pop("max_budget")
    return Caps(key.caps.models, None if budget is None else budget + key.increase, **numbers)


# --- the door --------------------------------------------------------------------------------------------------


def gate(world: World, caller: Who, route: str) -> Statuses:
    """Whether the caller's key opens anything now, and the route at all."""
    if caller.key is not None and (caller.key.blocked or _stopped(world, caller.key)):
        return frozenset({401})
    if caller.routes and not any(reaches(grant, route) for grant in caller.routes):
        return frozenset({403})
    if caller.is_admin:
        return ALLOWED
    if caller.role == "proxy_admin_viewer":
        return ALLOWED if route in READS else frozenset({403})
    return ALLOWED if caller.routes or _by_role(caller, route) else frozenset({401})


def _by_role(caller: Who, route: str) -> bool:
    person = caller.has_row and caller.owner is not None
    return (
        route in EVERYBODY
        or (bool(caller.runs) and route in OF_ORGANIZATION_ADMINS)
        or (caller.account is not None and route in OF_ACCOUNTS)
        or (person and caller.role in {"internal_user", "org_admin"} and route == "/user/update")
        or (person and caller.role == "internal_user" and route in KEYS)
    )


def _stopped(world: World, key: Key) -> bool:
    return key.team in world.teams and world.teams[key.team].blocked


def reaches(grant: str, route: str) -> bool:
    groups = {
        "info_routes": INFO,
        "management_routes": EVERYBODY | OF_ORGANIZATION_ADMINS | OF_ADMINS | {"/user/update"},
        "llm_api_routes": (),
    }
    return route in groups[grant] if grant in groups else route == grant


# --- what is whose ---------------------------------------------------------------------------------------------


def is_member(world: World, caller: Who, team: str | None) -> bool:
    return team in world.teams and caller.owner in world.teams[team].members


def manages(world: World, caller: Who, team: str | None) -> bool:
    if team not in world.teams:
        return False
    found = world.teams[team]
    return caller.owner in found.admins or found.organization in caller.runs


def grants(world: World, caller: Who, team: str | None, route: str) -> bool:
    return team in world.teams and (manages(world, caller, team) or route in world.teams[team].grants)


def owns(caller: Who, key: Key) -> bool:
    return caller.owner is not None and caller.owner == key.owner


def sees_key(world: World, caller: Who, name: str) -> bool:
    if name not in world.keys:
        return False
    key = world.keys[name]
    return (
        caller.sees_all
        or caller.name == name
        or owns(caller, key)
        or is_member(world, caller, key.team)
        or manages(world, caller, key.team)
        or (caller.account is not None and caller.account == key.team)
    )


def sees_team(world: World, caller: Who, name: str) -> bool:
    return name in world.teams and (
        caller.sees_all or caller.team == name or is_member(world, caller, name) or manages(world, caller, name)
    )


def sees_organization(world: World, caller: Who, name: str | None) -> bool:
    return name in world.organizations and (
        caller.sees_all or caller.owner in world.organizations[name].members or name in caller.runs
    )


def sees_user(world: World, caller: Who, name: str) -> bool:
    return name in world.users and (caller.sees_all or caller.owner == name)


def keys_of_team(world: World, caller: Who, team: str) -> set[str]:
    """The keys that an info of the team shows."""
    return {name for name, key in world.keys.items() if key.team == team and sees_key(world, caller, name)}


def teams_of_organization(world: World, caller: Who, organization: str) -> set[str]:
    return {
        name
        for name, team in world.teams.items()
        if team.organization == organization and sees_team(world, caller, name)
    }


# --- caps ------------------------------------------------------------------------------------------------------


def opens_all(models: Iterable[str]) -> bool:
    return not set(models) or not {"*", "all-proxy-models"}.isdisjoint(models)


def wider(models: Iterable[str], than: Iterable[str]) -> bool:
    """Whether a list of models opens one that the other leaves out."""
    return not opens_all(than) and (opens_all(models) or not set(models) <= set(than))


def above(number: float | None, than: float | None) -> bool:
    """Whether a limit leaves more than another one; none at all leaves most."""
    return than is not None and (number is None or number > than)


def beyond(caps: Caps, than: Caps) -> Statuses:
    """How caps that a caller gives are refused where they leave more than its own."""
    found = {403} if wider(caps.models, than.models) else set()
    numbers = (
        (caps.max_budget, than.max_budget),
        (caps.tpm_limit, than.tpm_limit),
        (caps.rpm_limit, than.rpm_limit),
    )
    return frozenset(found | ({400} if any(above(number, cap) for number, cap in numbers) else set()))


def outgrows(team: Caps, organization: Caps) -> bool:
    """Whether what a team says of itself goes beyond its organization; what it leaves open is bound from there."""
    numbers = (
        (team.max_budget, organization.max_budget),
        (team.tpm_limit, organization.tpm_limit),
        (team.rpm_limit, organization.rpm_limit),
    )
    return any(number is not None and above(number, cap) for number, cap in numbers) or (
        bool(team.models) and wider(team.models, organization.models)
    )


def excess(world: World, maker: Who, key: Key) -> list[str]:
    """What a key may that its maker may not; the maker is no administrator."""
    found = (
        []
        if not beyond(Caps(key.caps.models, key.budget, key.caps.tpm_limit, key.caps.rpm_limit), maker.caps)
        else ["caps"]
    )
    if maker.routes and not (key.routes and all(_holds(maker, grant) for grant in key.routes)):
        found.append("routes")
    if key.gateway and not (maker.key is not None and maker.key.gateway):
        found.append("gateway")
    if not maker.routes and _listed_beyond(maker, key):
        found.append("routes of an administrator")
    if key.owner is not None and key.owner != maker.owner and above_rank(world, maker, key):
        found.append("owner")
    return found


def _holds(maker: Who, grant: str) -> bool:
    return grant in maker.routes or any(reaches(own, grant) for own in maker.routes)


def _listed_beyond(maker: Who, key: Key) -> bool:
    """Whether an administrator has listed a route for the key that its maker's role does not reach, or not as far."""
    listed = {
        route
        for route in OF_ORGANIZATION_ADMINS | OF_ADMINS | {"/user/update"}
        if any(reaches(grant, route) for grant in key.routes)
    }
    creating = not {"/team/new", "/user/new"}.isdisjoint(listed) and not owns(maker, key)
    return creating or not all(_by_role(maker, route) for route in listed)


def above_rank(world: World, maker: Who, key: Key) -> bool:
    """Whether the owner of a key stands above the caller anywhere."""
    owner = owner_of(world, "", key)
    led: Iterable[Team] = [team for team in world.teams.values() if key.owner in team.admins]
    return (
        owner.sees_all
        or not owner.runs <= maker.runs
        or any(not (maker.owner in team.admins or team.organization in maker.runs) for team in led)
    )

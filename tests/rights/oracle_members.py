"""What the oracle says of calls that list, that say who belongs where, and that end teams, users and organizations."""

from collections.abc import Callable

from tests.rights import oracle, oracle_keys
from tests.rights.calls import Call
from tests.rights.oracle import ALLOWED, UNKNOWN, Statuses, Who
from tests.rights.oracle_identities import join, may_manage_team
from tests.rights.oracle_keys import FORBIDDEN, INVALID, NO_GRANT, when
from tests.rights.world import Key, Team, User, World


def may_always(_: World, __: Who, ___: Call) -> Statuses:
    """Whoever reaches the route at all."""
    return ALLOWED


def may_see_all(_: World, caller: Who, __: Call) -> Statuses:
    return when(FORBIDDEN, not caller.sees_all)


def may_read_audit(_: World, caller: Who, __: Call) -> Statuses:
    return when(NO_GRANT, not caller.sees_all)


# --- lists -----------------------------------------------------------------------------------------------------


def may_list_teams(_: World, caller: Who, call: Call) -> Statuses:
    other = call.fields.get("user_id", caller.owner) != caller.owner
    return when(NO_GRANT, other and not caller.sees_all and not caller.runs)


def teams_listed(world: World, caller: Who, call: Call) -> set[str]:
    user, organization = call.fields.get("user_id"), call.fields.get("organization_id")
    return {
        name
        for name, team in world.teams.items()
        if oracle.sees_team(world, caller, name)
        and (user is None or user in team.members)
        and (organization is None or organization == team.organization)
    }


def may_list_users(_: World, caller: Who, call: Call) -> Statuses:
    asked = call.fields.get("organization_ids")
    return when(FORBIDDEN, not caller.sees_all and (not caller.runs or (asked and asked not in caller.runs)))


def users_listed(world: World, caller: Who, call: Call) -> set[str]:
    asked = call.fields.get("organization_ids")
    if caller.sees_all and asked is None:
        return set(world.users)
    among = {asked} if asked else caller.runs
    people = [organization.members for name, organization in world.organizations.items() if name in among]
    return set().union(*people) & world.users.keys()


def organizations_listed(world: World, caller: Who) -> set[str]:
    return {name for name in world.organizations if oracle.sees_organization(world, caller, name)}


# --- members of teams ------------------------------------------------------------------------------------------


def _team(world: World, call: Call) -> Team:
    return world.teams[call.target or ""]


def add_members(world: World, caller: Who, call: Call) -> None:
    """Those who cannot be added, or are members already, are passed over."""
    for entry in call.fields["members"]:
        known = caller.is_admin or entry["user_id"] in world.users
        if known and entry["user_id"] not in _team(world, call).members:
            join(world, _team(world, call), entry["user_id"], entry["role"])


def may_delete_member(world: World, caller: Who, call: Call) -> Statuses:
    refused = may_manage_team(world, caller, call)
    return refused or when(INVALID, call.fields["user_id"] not in _team(world, call).members)


def delete_member(world: World, _: Who, call: Call) -> None:
    _leave(_team(world, call), call.fields["user_id"])
    _remove_keys(world, lambda key: key.team == call.target and key.owner == call.fields["user_id"])


def _leave(team: Team, user: str) -> None:
    team.members, team.admins = team.members - {user}, team.admins - {user}


def _remove_keys(world: World, goes: Callable[[Key], bool]) -> None:
    for name in [name for name, key in world.keys.items() if goes(key)]:
        del world.keys[name]


def may_relieve(world: World, caller: Who, call: Call) -> Statuses:
    """Nobody but an administrator sets its own spend back."""
    refused = may_manage_team(world, caller, call)
    if refused:
        return refused
    user = call.fields["user_id"]
    own = when(FORBIDDEN, user == caller.owner and not caller.is_admin)
    return own | when(UNKNOWN, user not in _team(world, call).members)


def may_update_keys(world: World, caller: Who, call: Call) -> Statuses:
    refused = may_manage_team(world, caller, call)
    (name,) = call.fields["key_ids"]
    inside = name in world.keys and world.keys[name].team == call.target
    return refused or when(UNKNOWN, not inside)


def update_keys(world: World, caller: Who, call: Call) -> None:
    """Each key changes as by an update of its own, or stays as it is."""
    (name,) = call.fields["key_ids"]
    settings = {field: value for field, value in call.fields.items() if field != "key_ids"}
    alone = Call("/key/update", call.caller, name, settings)
    if not oracle_keys.may_update(world, caller, alone):
        oracle_keys.update(world, caller, alone)


def delete_team(world: World, _: Who, call: Call) -> None:
    _remove_keys(world, lambda key: key.team == call.target)
    del world.teams[call.target or ""]


# --- users -----------------------------------------------------------------------------------------------------


def _places(world: World, name: str) -> set[str | None]:
    """The organizations in which somebody is, also by way of a team."""
    places: set[str | None] = {team.organization for team in world.teams.values() if name in team.members}
    return places.union(each for each, found in world.organizations.items() if name in found.members)


def knows_user(world: World, caller: Who, name: str) -> bool:
    """An admin of organizations knows who is in them."""
    return name in world.users and (
        oracle.sees_user(world, caller, name) or not caller.runs.isdisjoint(_places(world, name))
    )


def may_delete_user(world: World, caller: Who, call: Call) -> Statuses:
    """An admin of organizations deletes those of whom nothing lies outside of them."""
    name = call.target or ""
    if not knows_user(world, caller, name):
        return UNKNOWN
    if caller.is_admin:
        return ALLOWED
    places = _places(world, name)
    above = world.users[name].role in {"proxy_admin", "proxy_admin_viewer"}
    return when(FORBIDDEN, above, places.isdisjoint(caller.runs), not places <= caller.runs)


def delete_user(world: World, _: Who, call: Call) -> None:
    name = call.target or ""
    _remove_keys(world, lambda key: key.owner == name)
    del world.users[name]
    for team in world.teams.values():
        _leave(team, name)
    for organization in world.organizations.values():
        organization.members, organization.admins = organization.members - {name}, organization.admins - {name}


# --- organizations ---------------------------------------------------------------------------------------------


def may_delete_organization(world: World, caller: Who, call: Call) -> Statuses:
    return when(NO_GRANT, not caller.is_admin) or when(UNKNOWN, call.target not in world.organizations)


def delete_organization(world: World, _: Who, call: Call) -> None:
    for name in [name for name, team in world.teams.items() if team.organization == call.target]:
        _remove_keys(world, lambda key, name=name: key.team == name)  # type: ignore[misc]
        del world.teams[name]
    _remove_keys(world, lambda key: key.organization == call.target)
    del world.organizations[call.target or ""]


def _may_place(world: World, caller: Who, call: Call) -> Statuses:
    if not oracle.sees_organization(world, caller, call.target):
        return UNKNOWN
    return when(FORBIDDEN, not caller.is_admin and call.target not in caller.runs)


def may_add_colleague(world: World, caller: Who, call: Call) -> Statuses:
    refused = _may_place(world, caller, call)
    if refused:
        return refused
    user = call.fields["member"]["user_id"]
    present = user in world.organizations[call.target or ""].members
    return when(INVALID, present, user not in world.users and not caller.is_admin)


def may_change_colleague(world: World, caller: Who, call: Call) -> Statuses:
    refused = _may_place(world, caller, call)
    return refused or when(UNKNOWN, call.fields["user_id"] not in world.organizations[call.target or ""].members)


def _place(world: World, call: Call, user: str, role: str) -> None:
    organization = world.organizations[call.target or ""]
    organization.members |= {user}
    led = organization.admins
    organization.admins = led | {user} if role == "org_admin" else led - {user}


def add_colleague(world: World, _: Who, call: Call) -> None:
    member = call.fields["member"]
    world.users.setdefault(member["user_id"], User())
    _place(world, call, member["user_id"], member["role"])


def update_colleague(world: World, _: Who, call: Call) -> None:
    if "role" in call.fields:
        _place(world, call, call.fields["user_id"], call.fields["role"])


def delete_colleague(world: World, _: Who, call: Call) -> None:
    organization, user = world.organizations[call.target or ""], call.fields["user_id"]
    organization.members, organization.admins = organization.members - {user}, organization.admins - {user}

"""What the oracle says of calls about teams, users and organizations, and what comes of those that it allows."""

from dataclasses import replace
from typing import Any

from tests.rights import oracle
from tests.rights.calls import Call
from tests.rights.oracle import ALLOWED, UNKNOWN, Statuses, Who
from tests.rights.oracle_keys import FORBIDDEN, INVALID, caller_routes, when
from tests.rights.world import NUMBERS, Caps, Key, Organization, Team, User, World


def _caps(own: Caps, sent: dict[str, Any]) -> Caps:
    numbers = (getattr(own, name) if sent.get(name) is None else sent[name] for name in NUMBERS)
    return Caps(tuple(sent.get("models") or own.models), *numbers)


def _changed(caps: Caps, sent: dict[str, Any]) -> Caps:
    changed = {name: sent[name] for name in NUMBERS if name in sent}
    if "models" in sent:
        changed["models"] = tuple(sent["models"] or ())
    return replace(caps, **changed)


def _lifts(before: Caps, after: Caps) -> bool:
    """Whether a limit that stood becomes a wider one, or none."""
    return oracle.wider(after.models, before.models) or any(
        oracle.above(getattr(after, name), getattr(before, name)) for name in NUMBERS
    )


def _may_create_in(caller: Who, organization: str | None) -> Statuses:
    """Where an administrator has listed the route for a key, it counts like a role."""
    mine = caller.is_admin or organization in caller.runs or (caller.routes and not caller.runs)
    return when(FORBIDDEN, not mine)


# --- teams -----------------------------------------------------------------------------------------------------


def may_make_team(world: World, caller: Who, call: Call) -> Statuses:
    sent = call.fields
    organization = sent.get("organization_id")
    caps = _caps(caller.caps, sent)
    refused = _may_create_in(caller, organization)
    refused |= when(INVALID, organization and not oracle.sees_organization(world, caller, organization))
    refused |= oracle.beyond(caps, caller.caps) | _outgrown(world, organization, caps)
    strangers = [entry for entry in sent.get("members_with_roles") or () if entry["user_id"] not in world.users]
    return refused | when(INVALID, strangers and not caller.is_admin)


def _outgrown(world: World, organization: str | None, caps: Caps) -> Statuses:
    if organization not in world.organizations:
        return ALLOWED
    return when(INVALID, oracle.outgrows(caps, world.organizations[organization].caps))


def make_team(world: World, caller: Who, call: Call) -> None:
    sent = call.fields
    team = Team(
        sent.get("organization_id"),
        grants=frozenset(sent.get("team_member_permissions") or ()),
        caps=_caps(caller.caps, sent),
        blocked=bool(sent.get("blocked")),
        guarded="guardrails" in sent,
    )
    world.teams[call.makes] = team
    for entry in sent.get("members_with_roles") or ():
        join(world, team, entry["user_id"], entry["role"])
    if caller.key is not None and caller.has_row and caller.owner not in team.members:
        join(world, team, caller.owner or "", "admin")


def join(world: World, team: Team, user: str, role: str) -> None:
    world.users.setdefault(user, User())
    team.members |= {user}
    team.admins = team.admins | {user} if role == "admin" else team.admins - {user}


def _may_manage(world: World, caller: Who, name: str | None) -> Statuses:
    if name not in world.teams:
        return UNKNOWN
    if caller.is_admin or oracle.manages(world, caller, name):
        return ALLOWED
    return FORBIDDEN if oracle.sees_team(world, caller, name) else UNKNOWN


def may_manage_team(world: World, caller: Who, call: Call) -> Statuses:
    return _may_manage(world, caller, call.target)


def may_update_team(world: World, caller: Who, call: Call) -> Statuses:
    refused = _may_manage(world, caller, call.target)
    if refused:
        return refused
    team, sent = world.teams[call.target or ""], call.fields
    after = _changed(team.caps, sent)
    organization = (sent.get("organization_id") or None) if "organization_id" in sent else team.organization
    moved = organization != team.organization
    refused = _outgrown(world, organization, after if moved else _differing(team.caps, after))
    if moved:
        refused |= _may_move(world, caller, organization)
    if caller.is_admin:
        return refused
    refused |= when(FORBIDDEN, team.caps.max_budget is not None and after.max_budget is None)
    if team.organization in caller.runs:
        return refused | _within_key(caller, team.caps, after)
    granted = {"guardrails", "object_permission"} & sent.keys() - ({"guardrails"} if team.guarded else set())
    blocked = bool(sent.get("blocked", team.blocked)) != team.blocked
    return refused | when(FORBIDDEN, _lifts(team.caps, after), granted, blocked)


def _differing(before: Caps, after: Caps) -> Caps:
    numbers = (getattr(after, name) if getattr(after, name) != getattr(before, name) else None for name in NUMBERS)
    return Caps(after.models if after.models != before.models else (), *numbers)


def _may_move(world: World, caller: Who, organization: str | None) -> Statuses:
    if organization is not None and not oracle.sees_organization(world, caller, organization):
        return INVALID
    return when(FORBIDDEN, not (caller.is_admin or organization in caller.runs))


def _within_key(caller: Who, before: Caps, after: Caps) -> Statuses:
    """An organization's admin lifts a team's limits, but not above those of the calling key."""
    own = caller.caps
    lifted = any(
        oracle.above(getattr(after, name), getattr(before, name))
        and oracle.above(getattr(after, name), getattr(own, name))
        for name in NUMBERS
    )
    changed = after.models != before.models
    return when(INVALID, lifted) | when(FORBIDDEN, changed and oracle.wider(after.models, own.models))


def update_team(world: World, _: Who, call: Call) -> None:
    team, sent = world.teams[call.target or ""], call.fields
    team.caps = _changed(team.caps, sent)
    team.blocked = bool(sent.get("blocked", team.blocked))
    team.guarded = team.guarded or "guardrails" in sent
    if "team_member_permissions" in sent:
        team.grants = frozenset(sent["team_member_permissions"])
    if "organization_id" in sent:
        team.organization = sent["organization_id"] or None


def block_team(world: World, _: Who, call: Call) -> None:
    world.teams[call.target or ""].blocked = call.route == "/team/block"


def may_see_team(world: World, caller: Who, call: Call) -> Statuses:
    return ALLOWED if oracle.sees_team(world, caller, call.target or "") else UNKNOWN


def may_add_member(world: World, caller: Who, call: Call) -> Statuses:
    refused = _may_manage(world, caller, call.target)
    if refused:
        return refused
    user = call.fields["member"]["user_id"]
    unknown = user not in world.users and not caller.is_admin
    return when(INVALID, unknown, user in world.teams[call.target or ""].members)


def add_member(world: World, _: Who, call: Call) -> None:
    member = call.fields["member"]
    join(world, world.teams[call.target or ""], member["user_id"], member["role"])


def may_update_member(world: World, caller: Who, call: Call) -> Statuses:
    refused = _may_manage(world, caller, call.target)
    if refused:
        return refused
    return when(UNKNOWN, call.fields["user_id"] not in world.teams[call.target or ""].members)


def update_member(world: World, _: Who, call: Call) -> None:
    if "role" in call.fields:
        join(world, world.teams[call.target or ""], call.fields["user_id"], call.fields["role"])


# --- users -----------------------------------------------------------------------------------------------------


def may_make_user(world: World, caller: Who, call: Call) -> Statuses:
    sent = call.fields
    organizations = sent.get("organizations") or []
    refused = ALLOWED
    for organization in organizations or [None]:
        refused |= _may_create_in(caller, organization)
    hidden = [name for name in organizations if not oracle.sees_organization(world, caller, name)]
    refused |= when(INVALID, hidden)
    for entry in sent.get("teams") or ():
        joined = _may_manage(world, caller, entry["team_id"])
        refused |= INVALID if joined == UNKNOWN else joined
    if caller.is_admin:
        return refused
    above = sent.get("user_role") in {"proxy_admin", "proxy_admin_viewer"}
    runs = sent.get("user_role") == "org_admin" and not set(organizations) <= caller.runs
    objects = (sent.get("object_permission") or {}).keys() & {"vector_stores", "search_tools"}
    refused |= when(FORBIDDEN, above, runs, objects, "permissions" in sent)
    return refused | oracle.beyond(_caps(caller.caps, sent), caller.caps)


def make_user(world: World, caller: Who, call: Call) -> None:
    sent, name = call.fields, call.makes
    world.users[name] = User(sent.get("user_role"), _caps(caller.caps, sent))
    for each in sent.get("organizations") or ():
        organization = world.organizations[each]
        organization.members |= {name}
        if sent.get("user_role") == "org_admin":
            organization.admins |= {name}
    for entry in sent.get("teams") or ():
        join(world, world.teams[entry["team_id"]], name, entry["user_role"])
    gateway = sent.get("permissions", {}).get("gateway") is True
    world.keys[name] = Key(
        owner=name, creator=caller.owner, caps=caller.caps, routes=caller_routes(caller), gateway=gateway
    )


def may_update_user(world: World, caller: Who, call: Call) -> Statuses:
    if not oracle.sees_user(world, caller, call.target or ""):
        return UNKNOWN
    role = world.users[call.target or ""].role
    changed = {name for name, value in call.fields.items() if name != "user_role" or value != role}
    reserved = call.target != caller.owner or changed - {"user_alias", "metadata"}
    return when(FORBIDDEN, reserved and not caller.is_admin)


def update_user(world: World, _: Who, call: Call) -> None:
    user = world.users[call.target or ""]
    user.role = call.fields.get("user_role", user.role)
    user.caps = _changed(user.caps, call.fields)


def may_see_user(world: World, caller: Who, call: Call) -> Statuses:
    return ALLOWED if oracle.sees_user(world, caller, call.target or "") else UNKNOWN


# --- organizations ---------------------------------------------------------------------------------------------


def may_make_organization(_: World, caller: Who, __: Call) -> Statuses:
    return when(FORBIDDEN, not (caller.is_admin or caller.routes))


def make_organization(world: World, _: Who, call: Call) -> None:
    world.organizations[call.makes] = Organization(_caps(Caps(), call.fields))


def may_update_organization(world: World, caller: Who, call: Call) -> Statuses:
    if not oracle.sees_organization(world, caller, call.target):
        return UNKNOWN
    if caller.is_admin:
        return ALLOWED
    caps = world.organizations[call.target or ""].caps
    lifts = _lifts(caps, _changed(caps, call.fields)) or "object_permission" in call.fields
    return when(FORBIDDEN, call.target not in caller.runs, lifts)


def update_organization(world: World, _: Who, call: Call) -> None:
    organization = world.organizations[call.target or ""]
    organization.caps = _changed(organization.caps, call.fields)


def may_see_organization(world: World, caller: Who, call: Call) -> Statuses:
    return ALLOWED if oracle.sees_organization(world, caller, call.target) else UNKNOWN

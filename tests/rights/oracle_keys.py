"""What the oracle says of calls that make, change, show and end keys, and what comes of those that it allows."""

from dataclasses import replace
from typing import Any

from tests.rights import oracle
from tests.rights.calls import Call
from tests.rights.oracle import ALLOWED, UNKNOWN, Statuses, Who
from tests.rights.world import NUMBERS, Caps, Key, World

PRESETS = {"llm_api": "llm_api_routes", "management": "management_routes", "read_only": "info_routes"}
BUDGET = {"max_budget", "soft_budget", "spend", "budget_id", "temp_budget"}
FORBIDDEN: Statuses = frozenset({403})
INVALID: Statuses = frozenset({400})
NO_GRANT: Statuses = frozenset({401})


def when(statuses: Statuses, *broken: object) -> Statuses:
    return statuses if any(broken) else ALLOWED


# --- making ----------------------------------------------------------------------------------------------------


def may_generate(world: World, caller: Who, call: Call) -> Statuses:
    sent = {name: value for name, value in call.fields.items() if value is not None}
    service = call.route == "/key/service-account/generate"
    team = sent.get("team_id") or (None if caller.is_admin else caller.account)
    account = service or "service_account_id" in sent.get("metadata", {})
    refused = when(INVALID, account and team is None, service and team not in world.teams)
    refused |= _references(world, caller, sent)
    if caller.is_admin:
        return refused
    refused |= _grants(caller, sent, personal=not team)
    refused |= when(FORBIDDEN, sent.get("key_type") == "management")
    refused |= when(
        FORBIDDEN, caller.routes and PRESETS.get(sent.get("key_type", ""), caller.routes[0]) not in caller.routes
    )
    refused |= oracle.beyond(_caps_of_new(caller, sent), caller.caps)
    owner = None if service else sent.get("user_id")
    refused |= when(FORBIDDEN, owner is not None and owner != caller.owner)
    if team is None or team == caller.account:
        return refused
    if not (oracle.is_member(world, caller, team) or oracle.manages(world, caller, team)):
        return refused | INVALID
    needed = "/key/service-account/generate" if account else "/key/generate"
    return refused | when(NO_GRANT, not oracle.grants(world, caller, team, needed))


def generate(world: World, caller: Who, call: Call) -> None:
    sent = {name: value for name, value in call.fields.items() if value is not None}
    service = call.route == "/key/service-account/generate"
    team = sent.get("team_id") or (None if caller.is_admin else caller.account)
    preset = PRESETS.get(sent.get("key_type", ""))
    account = sent.get("metadata", {}).get("service_account_id")
    above = world.teams[team].organization if team in world.teams else None
    world.keys[call.makes] = Key(
        owner=None if service else sent.get("user_id") or (None if caller.is_admin else caller.owner),
        team=team,
        organization=above or sent.get("organization_id"),
        creator=caller.owner,
        account=account or (call.makes if service else None),
        caps=_caps_of_new(caller, sent),
        routes=(preset,) if preset else tuple(sent.get("allowed_routes") or caller_routes(caller)),
        tier=bool(sent.get("budget_id")),
        gateway=sent.get("permissions", {}).get("gateway") is True,
        blocked=bool(sent.get("blocked")),
    )


def caller_routes(caller: Who) -> tuple[str, ...]:
    return () if caller.is_admin else caller.routes


def _caps_of_new(caller: Who, sent: dict[str, Any]) -> Caps:
    """What a request leaves open is as the caller's own key has it."""
    own = caller.caps
    models = tuple(sent.get("models") or own.models)
    return Caps(models, *(sent.get(name, getattr(own, name)) for name in NUMBERS))


def _grants(caller: Who, sent: dict[str, Any], *, personal: bool) -> Statuses:
    """Fields that only an administrator sets, whatever they hold."""
    reserved = {"allowed_routes", "permissions", "throttle_on_budget_exceeded"} & sent.keys()
    lifted = "end_user_budget_id" in (sent.get("metadata") or {})
    objects = sent.get("object_permission") or {}
    foreign = personal and (objects.keys() & {"vector_stores", "search_tools"} or sent.get("access_group_ids"))
    return when(FORBIDDEN, reserved, lifted, foreign)


def _references(world: World, caller: Who, sent: dict[str, Any]) -> Statuses:
    organization = sent.get("organization_id")
    mine = organization in world.organizations and (
        caller.is_admin or caller.owner in world.organizations[organization].members
    )
    tier = sent.get("budget_id")
    return when(INVALID, organization and not mine, tier and tier != "tier of north")


# --- changing --------------------------------------------------------------------------------------------------


def may_update(world: World, caller: Who, call: Call) -> Statuses:
    if call.target is None or not oracle.sees_key(world, caller, call.target):
        return UNKNOWN
    return _may_change(world, caller, world.keys[call.target], call.fields)


def _may_change(world: World, caller: Who, key: Key, sent: dict[str, Any]) -> Statuses:
    account = (sent.get("metadata") or {}).get("service_account_id")
    refused = when(INVALID, account and key.account and account != key.account) | _references(world, caller, sent)
    refused |= _may_move(world, caller, key, sent)
    if caller.is_admin:
        return refused
    manager = oracle.manages(world, caller, key.team)
    refused |= _grants(caller, sent, personal=key.team is None)
    refused |= when(
        FORBIDDEN,
        account and account != key.account and not manager,
        sent.get("user_id", key.owner) != key.owner,
        "blocked" in sent and not manager,
    )
    refused |= oracle.beyond(_caps_sent(caller, sent), caller.caps)
    return refused | _may_touch(world, caller, key, sent)


def _caps_sent(caller: Who, sent: dict[str, Any]) -> Caps:
    """The caps that a change names; those that it leaves alone are not above anything."""
    own = caller.caps
    models = tuple(sent["models"] or ()) if "models" in sent else own.models
    return Caps(models, *(sent.get(name, getattr(own, name)) for name in NUMBERS))


def _may_touch(world: World, caller: Who, key: Key, sent: dict[str, Any]) -> Statuses:
    budget = when(FORBIDDEN, BUDGET & sent.keys())
    if key.team is None:
        objects = "object_permission" in sent and sent["object_permission"] in (None, {})
        return budget | when(FORBIDDEN, not oracle.owns(caller, key), key.creator != caller.owner, objects)
    foreign = key.owner is not None and key.owner != caller.owner
    if oracle.manages(world, caller, key.team):
        return when(FORBIDDEN, foreign)
    if caller.account == key.team and key.owner is None:
        return budget
    granted = oracle.grants(world, caller, key.team, "/key/update")
    return budget | when(FORBIDDEN, foreign, key.owner is None) | when(NO_GRANT, not granted)


def _may_move(world: World, caller: Who, key: Key, sent: dict[str, Any]) -> Statuses:
    name = sent.get("team_id", "")
    if name in ("", key.team):
        return ALLOWED
    if name is None:
        return when(FORBIDDEN, key.owner is None and not caller.is_admin)
    known = oracle.is_member(world, caller, name) or oracle.manages(world, caller, name)
    if not (caller.is_admin or known):
        return UNKNOWN
    if name not in world.teams:
        return ALLOWED
    team, owner = world.teams[name], sent.get("user_id", key.owner)
    after = _changed_caps(key.caps, sent)
    fits = not (after.models and oracle.wider(after.models, team.caps.models)) and not any(
        number is not None and oracle.above(number, cap)
        for number, cap in ((after.tpm_limit, team.caps.tpm_limit), (after.rpm_limit, team.caps.rpm_limit))
    )
    barred = not (caller.is_admin or oracle.manages(world, caller, name))
    return when(FORBIDDEN, barred, not fits, owner is not None and owner not in team.members)


def _changed_caps(caps: Caps, sent: dict[str, Any]) -> Caps:
    changed = {name: sent[name] for name in NUMBERS if name in sent}
    if "models" in sent:
        changed["models"] = tuple(sent["models"] or ())
    return replace(caps, **changed)


def update(world: World, _: Who, call: Call) -> None:
    key, sent = world.keys[call.target or ""], call.fields
    account = (sent.get("metadata") or {}).get("service_account_id")
    key.account = key.account or account
    if "metadata" in sent:  # it is replaced as a whole, and with it what was folded into it
        key.increase = 0
    key.increase = sent.get("temp_budget", key.increase)
    key.caps = _changed_caps(key.caps, sent)
    key.tier = bool(sent.get("budget_id", key.tier))
    key.owner = sent.get("user_id", key.owner)
    key.organization = sent.get("organization_id", key.organization)
    if sent.get("team_id", "") != "":
        key.team = sent["team_id"]
    key.blocked = bool(sent.get("blocked", key.blocked))
    if "allowed_routes" in sent:
        key.routes = tuple(sent["allowed_routes"] or ())
    if "permissions" in sent:
        key.gateway = (sent["permissions"] or {}).get("gateway") is True


def may_regenerate(world: World, caller: Who, call: Call) -> Statuses:
    if call.target is None or not oracle.sees_key(world, caller, call.target):
        return UNKNOWN
    key = world.keys[call.target]
    refused = _may_change(world, caller, key, call.fields) if call.fields else ALLOWED
    if caller.is_admin:
        return refused
    refused |= when(FORBIDDEN, call.target != caller.name and oracle.excess(world, caller, key))
    if oracle.manages(world, caller, key.team):
        return refused
    refused |= when(FORBIDDEN, not oracle.owns(caller, key))
    inside = oracle.is_member(world, caller, key.team)
    return refused | when(NO_GRANT, inside and not oracle.grants(world, caller, key.team, "/key/regenerate"))


def may_update_in_bulk(_: World, caller: Who, __: Call) -> Statuses:
    return when(FORBIDDEN, not caller.is_admin)


# --- ending and showing ----------------------------------------------------------------------------------------


def may_delete(world: World, caller: Who, call: Call) -> Statuses:
    return _as_manager(world, caller, call) if not _mine(world, caller, call) else ALLOWED


def _mine(world: World, caller: Who, call: Call) -> bool:
    return call.target in world.keys and oracle.owns(caller, world.keys[call.target])


def _as_manager(world: World, caller: Who, call: Call) -> Statuses:
    if call.target is None or not oracle.sees_key(world, caller, call.target):
        return UNKNOWN
    return when(FORBIDDEN, not (caller.is_admin or oracle.manages(world, caller, world.keys[call.target].team)))


may_block = may_reset_spend = _as_manager


def delete(world: World, _: Who, call: Call) -> None:
    del world.keys[call.target or ""]


def block(world: World, _: Who, call: Call) -> None:
    world.keys[call.target or ""].blocked = call.route == "/key/block"


def may_see(world: World, caller: Who, call: Call) -> Statuses:
    return ALLOWED if call.target is not None and oracle.sees_key(world, caller, call.target) else UNKNOWN


def may_list(world: World, caller: Who, call: Call) -> Statuses:
    if caller.sees_all:
        return ALLOWED
    asked = call.fields
    organization = asked.get("organization_id")
    stranger = organization is not None and (
        organization not in world.organizations or caller.owner not in world.organizations[organization].members
    )
    return when(
        FORBIDDEN,
        caller.owner is None or not caller.has_row,
        asked.get("user_id", caller.owner) != caller.owner,
        "team_id" in asked and not oracle.is_member(world, caller, asked["team_id"]),
        stranger,
    )


def listed(world: World, caller: Who, call: Call) -> set[str]:
    asked = call.fields
    shown = {name for name, key in world.keys.items() if _is_listed(world, caller, key, asked)}
    return {name for name in shown if asked.get("team_id", world.keys[name].team) == world.keys[name].team}


def _is_listed(world: World, caller: Who, key: Key, asked: dict[str, Any]) -> bool:
    within = asked.get("organization_id", key.organization) == key.organization
    created = "include_created_by_keys" in asked
    if caller.sees_all:
        wanted = asked.get("user_id")
        made = created and wanted is not None and key.creator == wanted
        return (wanted in (None, key.owner) and within) or made
    inside = oracle.is_member(world, caller, key.team)
    listable = inside and (
        caller.owner in world.teams[key.team or ""].admins or "/key/list" in world.teams[key.team or ""].grants
    )
    return (
        (oracle.owns(caller, key) and within)
        or (created and key.creator == caller.owner and (key.team is None or inside))
        or ("include_team_keys" in asked and listable)
        or ((created or "include_team_keys" in asked) and key.owner is None and inside)
    )


def update_in_bulk(world: World, caller: Who, call: Call) -> None:
    """Each item is judged on its own; one that names no key changes nothing."""
    if call.target in world.keys:
        update(world, caller, call)

"""Rights as rows: what the oracle remembers, what an answer shows and what the store holds, in one form."""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.rights import oracle, oracle_keys, oracle_members
from tests.rights.calls import Call
from tests.rights.oracle import Who
from tests.rights.world import NANOS, NUMBERS, Caps, Key, Team, User, World

Row = tuple[Any, ...]


def token(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _caps(caps: Caps) -> Row:
    return (tuple(caps.models), *(getattr(caps, name) for name in NUMBERS))


def _answered_caps(row: dict[str, Any]) -> Row:
    return (tuple(row["models"]), *(row[name] for name in NUMBERS))


def _key(key: Key) -> Row:
    named = (key.owner, key.team, key.organization, key.creator, key.account)
    return (*named, _caps(key.caps), key.routes, key.gateway, key.blocked)


def _answered_key(row: dict[str, Any]) -> Row:
    organization = row["organization_id"] if "organization_id" in row else row["org_id"]
    named = (row["user_id"], row["team_id"], organization, row["created_by"])
    account, gateway = row["metadata"].get("service_account_id"), row["permissions"].get("gateway") is True
    routes = tuple(row["allowed_routes"])
    return (*named, account, _answered_caps(row), routes, gateway, bool(row["blocked"]))


def _team(team: Team) -> Row:
    return (
        team.organization,
        _caps(team.caps),
        team.blocked,
        team.guarded,
        team.members,
        team.admins,
        team.grants,
    )


def _answered_team(row: dict[str, Any]) -> Row:
    return (
        row["organization_id"],
        _answered_caps(row),
        row["blocked"],
        "guardrails" in row["metadata"],
        frozenset(row["members"]),
        frozenset(row["admins"]),
        frozenset(row["team_member_permissions"] or ()),
    )


# --- answers ---------------------------------------------------------------------------------------------------

Told = Iterator[tuple[Any, Any]]


def of_answer(world: World, caller: Who, call: Call, body: Any) -> Told:
    """What the oracle says that the answer shows, beside what it shows."""
    if call.route in SHOWN:
        yield from SHOWN[call.route](world, caller, call, body)


def _of_key(world: World, _: Who, call: Call, body: Any) -> Told:
    made = call.route in {"/key/generate", "/key/service-account/generate"}
    key = world.keys[call.makes if made else call.target or ""]
    yield _key(key), _answered_key(body.get("info", body))


def _of_keys(world: World, caller: Who, call: Call, body: Any) -> Told:
    yield _tokens(world, oracle_keys.listed(world, caller, call)), set(body["keys"])


def _of_team(world: World, _: Who, call: Call, body: Any) -> Told:
    row = body.get("updated_team") or body.get("data") or body
    yield _team(world.teams[call.target or call.makes]), _answered_team(row)


def _of_team_info(world: World, caller: Who, call: Call, body: Any) -> Told:
    name = call.target or ""
    yield _team(world.teams[name]), _answered_team(body["team_info"])
    yield _tokens(world, oracle.keys_of_team(world, caller, name)), {row["token"] for row in body["keys"]}


def _of_teams(world: World, caller: Who, call: Call, body: Any) -> Told:
    rows = body if isinstance(body, list) else body["teams"]
    yield oracle_members.teams_listed(world, caller, call), {row["team_id"] for row in rows}


def _of_user_info(world: World, _: Who, call: Call, body: Any) -> Told:
    owned = {name for name, key in world.keys.items() if key.owner == call.target}
    yield _tokens(world, owned), {row["token"] for row in body["keys"]}
    joined = {name for name, team in world.teams.items() if call.target in team.members}
    yield joined, {row["team_id"] for row in body["teams"]}


def _of_users(world: World, caller: Who, call: Call, body: Any) -> Told:
    yield oracle_members.users_listed(world, caller, call), {row["user_id"] for row in body["users"]}


def _of_organization_info(world: World, caller: Who, call: Call, body: Any) -> Told:
    name = call.target or ""
    yield oracle.teams_of_organization(world, caller, name), {row["team_id"] for row in body["teams"]}
    yield world.organizations[name].members, {row["user_id"] for row in body["members"]}


def _of_organizations(world: World, caller: Who, _: Call, body: Any) -> Told:
    yield oracle_members.organizations_listed(world, caller), {row["organization_id"] for row in body}


SHOWN: dict[str, Callable[[World, Who, Call, Any], Told]] = {
    **dict.fromkeys(("/key/generate", "/key/service-account/generate", "/key/update"), _of_key),
    **dict.fromkeys(("/key/regenerate", "/key/block", "/key/unblock", "/key/info"), _of_key),
    "/key/list": _of_keys,
    **dict.fromkeys(("/team/new", "/team/update", "/team/block", "/team/unblock"), _of_team),
    **dict.fromkeys(("/team/member_add", "/team/bulk_member_add", "/team/member_delete"), _of_team),
    "/team/permissions_update": _of_team,
    "/team/info": _of_team_info,
    **dict.fromkeys(("/team/list", "/v2/team/list"), _of_teams),
    "/user/info": _of_user_info,
    "/user/list": _of_users,
    "/organization/info": _of_organization_info,
    "/organization/list": _of_organizations,
}


def _tokens(world: World, names: set[str]) -> set[str]:
    return {world.keys[name].token for name in names}


# --- what has grown --------------------------------------------------------------------------------------------


def growth(before: World, after: World, caller: Who, call: Call) -> list[str]:
    """What somebody holds after a call, that neither it nor the caller held before; of no administrator's call."""
    return [
        *_of_grown_keys(before, after, caller, call),
        *(
            f"{name}: {user.role}"
            for name, user in after.users.items()
            if user.role in {"proxy_admin", "proxy_admin_viewer"}
            and before.users.get(name, User()).role != user.role
        ),
        *_of_grown_organizations(before, after, caller),
        *_of_grown_teams(before, after),
    ]


def _of_grown_keys(before: World, after: World, caller: Who, call: Call) -> Iterator[str]:
    for name, key in after.keys.items():
        stood = before.keys.get(name)
        given = call.route == "/key/regenerate" and name == call.target and name != caller.name
        if given or (stood != key and (stood is None or not oracle.excess(before, caller, stood))):
            yield from (f"{name}: {what}" for what in oracle.excess(after, caller, key))


def _of_grown_organizations(before: World, after: World, caller: Who) -> Iterator[str]:
    for name in before.organizations.keys() & after.organizations.keys():
        stood, stands = before.organizations[name], after.organizations[name]
        if stands.admins - stood.admins and name not in caller.runs:
            yield f"{name}: admins {stands.admins}"
        if _lifted(stood.caps, stands.caps):
            yield f"{name}: {stands.caps}"


def _of_grown_teams(before: World, after: World) -> Iterator[str]:
    for name, team in after.teams.items():
        above = after.organizations.get(team.organization or "")
        stood = before.teams[name].caps if name in before.teams else Caps()
        if above is not None and oracle.outgrows(_new(stood, team.caps), above.caps):
            yield f"{name}: {team.caps} within {above.caps}"


def _lifted(before: Caps, after: Caps) -> bool:
    numbers = any(oracle.above(getattr(after, name), getattr(before, name)) for name in NUMBERS)
    return numbers or oracle.wider(after.models, before.models)


def _new(before: Caps, after: Caps) -> Caps:
    """The caps that have changed."""
    numbers = (None if getattr(before, name) == getattr(after, name) else getattr(after, name) for name in NUMBERS)
    return Caps(() if before.models == after.models else after.models, *numbers)


# --- the store -------------------------------------------------------------------------------------------------


def of_world(world: World) -> dict[str, dict[Any, Row]]:
    return {
        "keys": {key.token: _key(key) for key in world.keys.values()},
        "teams": {name: _team(team) for name, team in world.teams.items()},
        "users": {name: (user.role, _caps(user.caps)) for name, user in world.users.items()},
        "organizations": {
            name: (_caps(organization.caps), organization.members, organization.admins)
            for name, organization in world.organizations.items()
        },
    }


def of_store(path: Path) -> dict[str, dict[Any, Row]]:
    with closing(sqlite3.connect(path)) as store:
        store.row_factory = sqlite3.Row
        secrets = "SELECT * FROM keys JOIN key_secrets USING (key_id) WHERE revoke_at IS NULL"
        limits = "SELECT * FROM organizations JOIN budgets USING (budget_id)"
        joined = store.execute(
            "SELECT team_id AS it, user_id, role = 'admin' AS leads FROM team_members"
        ).fetchall()
        placed = store.execute(
            "SELECT organization_id AS it, user_id, user_role = 'org_admin' AS leads FROM organization_members"
        ).fetchall()
        return {
            "keys": {row["token"]: _stored_key(row) for row in store.execute(secrets)},
            "teams": {row["team_id"]: _stored_team(row, joined) for row in store.execute("SELECT * FROM teams")},
            "users": {
                row["user_id"]: (row["user_role"], _stored_caps(row))
                for row in store.execute("SELECT * FROM users")
            },
            "organizations": {
                row["organization_id"]: (_stored_caps(row), *_people(row["organization_id"], placed))
                for row in store.execute(limits)
            },
        }


def _stored_caps(row: sqlite3.Row) -> Row:
    nanos = row["max_budget_nanos"]
    budget = None if nanos is None else nanos / NANOS
    return (tuple(json.loads(row["models"] or "[]")), budget, row["tpm_limit"], row["rpm_limit"])


def _stored_key(row: sqlite3.Row) -> Row:
    named = (row["user_id"], row["team_id"], row["organization_id"], row["created_by"])
    account = json.loads(row["metadata"]).get("service_account_id")
    gateway = json.loads(row["permissions"]).get("gateway") is True
    routes = tuple(json.loads(row["allowed_routes"]))
    return (*named, account, _stored_caps(row), routes, gateway, bool(row["blocked"]))


def _people(name: str, rows: list[sqlite3.Row]) -> tuple[frozenset[str], frozenset[str]]:
    inside = [row for row in rows if row["it"] == name]
    return frozenset(row["user_id"] for row in inside), frozenset(row["user_id"] for row in inside if row["leads"])


def _stored_team(row: sqlite3.Row, joined: list[sqlite3.Row]) -> Row:
    guarded = "guardrails" in json.loads(row["metadata"])
    granted = frozenset(json.loads(row["team_member_permissions"] or "[]") or ())
    people = _people(row["team_id"], joined)
    return (row["organization_id"], _stored_caps(row), bool(row["blocked"]), guarded, *people, granted)

"""What each caller may do to which key, and that a key out of its sight is a key that does not exist."""

from dataclasses import dataclass
from typing import Any

import pytest

from app.container import Services
from app.domain import minting
from tests.api.counting import statements
from tests.clients import Answer, Api
from tests.factories import change_key, unchanged

UNKNOWN = "sk-unknown-key-0000"
OK = "ok"
ROLE = (401, "auth_error")

CHANGES: dict[str, dict[str, Any]] = {
    "settings": {"tags": ["x"], "duration": "1d"},
    "budget": {"max_budget": 1},
    "owner": {"user_id": "somebody else"},
    "no owner": {"user_id": None},
    "routes": {"allowed_routes": []},
    "any route": {"allowed_routes": None},
    "permissions": {"permissions": {}},
    "usable": {"blocked": None},
    "blocked": {"blocked": True},
    "out of team": {"team_id": None},
    "robot": {"metadata": {"service_account_id": "r"}},
    "ceilings off": {"throttle_on_budget_exceeded": None},
    "hidden increase": {"metadata": {"temp_budget_increase": 1, "temp_budget_expiry": "2099-01-01"}},
    "unrestricted": {"object_permission": None},
    "unrestricted stores": {"object_permission": {"vector_stores": []}},
}

MEMBER = (401, "team_member_permission_error")
NO = (403, "auth_error")

# Owner and team of each key; "me" is the caller itself.
TARGETS: dict[str, dict[str, str | None]] = {
    "own": {"user_id": "me", "created_by": "me"},
    "given": {"user_id": "me", "created_by": "default_user_id"},
    "foreign": {"user_id": "you", "created_by": "you"},
    "ownerless": {"user_id": None, "created_by": None},
    "team/own": {"user_id": "me", "team_id": "team", "created_by": "me"},
    "team/yours": {"user_id": "you", "team_id": "team", "created_by": "you"},
    "team/robot": {"user_id": None, "team_id": "team", "created_by": "you"},
    "other team": {"user_id": "you", "team_id": "other team", "created_by": "you"},
}


@dataclass(frozen=True)
class Row:
    """What a caller gets for some actions on some targets."""

    caller: str
    targets: str
    actions: str
    expected: Any


RIGHTS = [
    # An internal user: its own keys, and what it made itself.
    Row("user", "own", "settings delete", OK),
    Row("user", "own", "budget owner no_owner routes any_route permissions usable blocked ceilings_off", NO),
    Row("user", "own", "hidden_increase unrestricted unrestricted_stores robot block unblock", NO),
    Row("user", "given", "settings budget owner block", NO),
    Row("user", "given", "delete", OK),
    Row("user", "foreign ownerless team/yours team/robot other_team", "settings budget block unblock delete", 404),
    # A team admin: every key of the team, but not another member's settings.
    Row("lead", "team/own team/robot", "settings budget blocked usable block unblock delete", OK),
    Row("lead", "team/own", "out_of_team robot", OK),
    Row("lead", "team/robot", "out_of_team", NO),
    Row("lead", "team/own team/robot", "owner routes any_route permissions ceilings_off", NO),
    Row("lead", "team/yours", "settings budget", NO),
    Row("lead", "team/yours", "block unblock delete", OK),
    Row("lead", "foreign ownerless other_team", "settings budget block unblock delete", 404),
    # A plain member: its own key of the team, and only as far as the team grants it.
    Row("member", "team/own", "settings", MEMBER),
    Row("member", "team/own", "delete", OK),
    Row("member", "team/own", "block unblock blocked usable owner", NO),
    Row("member", "team/yours team/robot", "settings budget block delete", NO),
    Row("member", "foreign other_team", "settings block delete", 404),
    Row("granted", "team/own", "settings delete out_of_team", OK),
    Row("granted", "team/own", "budget block usable owner routes any_route robot hidden_increase", NO),
    Row("granted", "team/yours team/robot", "settings budget block delete", NO),
    # An administrator of the team's organization is to the team what its admin is.
    Row("chief", "team/own team/robot", "settings budget block unblock delete", OK),
    Row("chief", "team/yours", "block unblock delete", OK),
    Row("chief", "team/yours", "settings", NO),
    Row("chief", "foreign other_team", "settings block delete", 404),
    # A service account: the keys of its team that are nobody's.
    Row("robot", "team/robot", "settings", OK),
    Row("robot", "team/robot", "budget usable out_of_team routes hidden_increase", NO),
    Row("robot", "team/yours", "settings", NO),
    Row("robot", "foreign ownerless other_team", "settings", 404),
    Row("robot", "team/robot", "block delete", ROLE),
    # The rest.
    Row("viewer", "own team/yours foreign", "settings block delete", NO),
    Row("admin", "own foreign ownerless team/yours team/robot other_team", "settings budget block unblock delete", OK),
    Row("admin", "team/robot", "owner routes any_route permissions out_of_team usable robot unrestricted", OK),
]  # fmt: skip
CASES = [
    (row.caller, target.replace("_", " "), action.replace("_", " "), row.expected)
    for row in RIGHTS
    for target in row.targets.split()
    for action in row.actions.split()
]


def make_target(api: Api, services: Services, caller: str, target: str) -> dict[str, Any]:
    fields = {name: caller if value == "me" else value for name, value in TARGETS[target].items()}
    created_by = fields.pop("created_by")
    if caller == "granted" and fields.get("team_id") == "team":
        fields["team_id"] = "granting team"
    made = api.generate(key_alias=f"{caller} {target}", **fields)
    change_key(services.database, f"{caller} {target}", created_by=created_by, key_alias=None)
    return made


def attempt(api: Api, caller: str, action: str, key: str) -> Answer:
    if action == "delete":
        return api.post("/key/delete", {"keys": [key]}, key=caller)
    if action in {"block", "unblock"}:
        return api.post(f"/key/{action}", {"key": key}, key=caller)
    return api.post("/key/update", {"key": key, **CHANGES[action]}, key=caller)


@pytest.mark.parametrize(("caller", "target", "action", "expected"), CASES)
def test_a_caller_does_to_a_key_what_it_may(
    shared_api: Api,
    shared_services: Services,
    company: dict[str, str],
    caller: str,
    target: str,
    action: str,
    expected: Any,
):
    made = make_target(shared_api, shared_services, caller, target)

    if expected == OK:
        answer = attempt(shared_api, company[caller], action, made["key"])
        assert answer.status == 200, answer
        return
    with unchanged(shared_services.database):
        answer = attempt(shared_api, company[caller], action, made["key"])

    if expected == 404:
        assert answer.status == 404, answer
    else:
        assert (answer.status, answer.error["type"]) == expected, answer


def test_a_refusal_to_block_has_both_shapes(shared_api: Api, shared_services: Services, company: dict[str, str]):
    made = make_target(shared_api, shared_services, "user", "own")

    answer = shared_api.post("/key/block", {"key": made["key"]}, key=company["user"])

    assert answer.body["detail"] == {"error": answer.error["message"]}
    assert answer.error["message"].startswith("Only proxy admins, team admins, or org admins can call /key/block.")


HIDDEN_CALLS: dict[str, tuple[str, str, Any]] = {
    "info": ("GET", "/key/info", lambda key: {"query": {"key": key}}),
    "update": ("POST", "/key/update", lambda key: {"json": {"key": key, "rpm_limit": 1}}),
    "update by alias": ("POST", "/key/update", lambda alias: {"json": {"key_alias": alias, "rpm_limit": 1}}),
    "delete": ("POST", "/key/delete", lambda key: {"json": {"keys": [key]}}),
    "delete by alias": ("POST", "/key/delete", lambda alias: {"json": {"key_aliases": [alias]}}),
    "block": ("POST", "/key/block", lambda key: {"json": {"key": key}}),
    "unblock": ("POST", "/key/unblock", lambda key: {"json": {"key": key}}),
    "regenerate": ("POST", "/key/regenerate", lambda key: {"json": {"key": key}}),
    "reset_spend": ("POST", "/key/{key}/reset_spend", lambda key: {"path": key, "json": {"reset_to": 0}}),
    "list": ("GET", "/key/list", lambda key: {"query": {"key_hash": minting.token_of(key)}}),
}


@pytest.mark.parametrize("hidden", ["foreign", "ownerless", "other team", "team/yours"])
@pytest.mark.parametrize("call_name", HIDDEN_CALLS)
def test_a_key_out_of_sight_answers_and_costs_what_an_unknown_one_does(
    shared_api: Api, shared_services: Services, company: dict[str, str], call_name: str, hidden: str
):
    method, path, arguments = HIDDEN_CALLS[call_name]
    made = make_target(shared_api, shared_services, "user", hidden)
    alias = f"hidden {call_name} {hidden}"
    shared_api.post("/key/update", {"key": made["key"], "key_alias": alias})
    names = (alias, "no such alias") if "alias" in call_name else (made["key"], UNKNOWN)
    shared_api.get("/models", company["user"])  # known to the cache from here on

    seen = []
    for name in names:
        with statements(shared_services.database) as sent:
            sent_with = arguments(name)
            named = path.format(key=sent_with.pop("path", ""))
            answer = shared_api.call(method, named, key=company["user"], **sent_with)
        seen.append((answer.status, answer.body, len(sent)))

    assert seen[0] == seen[1]
    assert seen[0][0] in {403, 404}

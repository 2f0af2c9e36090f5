"""Every reason but a limit for which a call is refused: its code, and what LiteLLM would have answered."""

from typing import Any

import pytest
from sqlalchemy import update

from app.container import Services
from app.db import Database
from app.models import ledger, users
from tests.api.calls import MODEL, allowed, refused, verify
from tests.api.organizations import new as new_organization
from tests.clients import MASTER_KEY, Api
from tests.clocks import MovableClock
from tests.factories import add_user, on_one_store, rows

NOT_AVAILABLE = (
    f"The requested model '{MODEL}' is not available for this API key, or the model name is invalid. "
    "Check the models available to you and try again."
)


def wire(verdict: dict[str, Any]) -> tuple[str, int, str, str | None]:
    return verdict["code"], verdict["status"], verdict["type"], verdict["param"]


def team(api: Api, **fields: Any) -> str:
    answer = api.post("/team/new", {"team_id": "t", **fields})
    assert answer.status == 200, answer
    return "t"


def user(api: Api, **fields: Any) -> str:
    answer = api.post("/user/new", {"user_id": "u", "auto_create_key": False, **fields})
    assert answer.status == 200, answer
    return "u"


# --- the key itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["sk-unknown-key-0000", "no key", "", MASTER_KEY, "0" * 64])
def test_an_unknown_key_is_refused_without_telling_more(api: Api, key: str):
    found = refused(api, key)

    assert wire(found) == ("unknown", 401, "token_not_found_in_db", "key")
    assert found["message"] == "Authentication Error, Invalid API key provided."
    assert (found["key"], found["limits"], found["retry_after"]) == (None, [], None)


def test_the_hash_of_a_key_does_not_open_it(api: Api):
    made = api.generate()

    assert refused(api, made["token"])["code"] == "unknown"


def test_a_blocked_key_is_refused_at_once_and_an_unblocked_one_is_not(api: Api):
    key = api.generate()["key"]
    allowed(api, key)
    api.post("/key/block", {"key": key})

    found = refused(api, key)

    assert wire(found) == ("blocked", 401, "auth_error", None)
    assert (
        found["message"] == "Authentication Error, Key is blocked. Update via `/key/unblock` if you're an admin."
    )
    api.post("/key/unblock", {"key": key})
    allowed(api, key)


def test_a_key_is_refused_from_the_instant_of_its_expiry_with_no_job_run(api: Api, clock: MovableClock):
    key = api.generate(duration="1h")["key"]
    clock.advance(3599)
    allowed(api, key)
    clock.advance(1)

    found = refused(api, key)

    assert wire(found)[:3] == ("expired", 401, "expired_key")
    assert "Expired Key. Key Expiry time 2026-11-18T14:47:33" in found["message"]


def test_a_deleted_and_a_rotated_secret_open_nothing(api: Api):
    deleted, rotated = api.generate()["key"], api.generate()["key"]
    for key in (deleted, rotated):
        allowed(api, key)
    api.post("/key/delete", {"keys": [deleted]})
    new = api.post("/key/regenerate", {"key": rotated}).body["key"]

    assert {refused(api, key)["code"] for key in (deleted, rotated)} == {"unknown"}
    allowed(api, new)


def test_in_its_grace_the_old_secret_is_the_same_key(api: Api, clock: MovableClock):
    key = api.generate(max_budget=3)["key"]
    new = api.post("/key/regenerate", {"key": key, "grace_period": "1h"}).body["key"]

    old = allowed(api, key)
    assert allowed(api, new)["limits"][0]["held"] == 2
    assert old["key"]["key_id"] == api.info(new)["key_id"]
    clock.advance(3600)
    assert refused(api, key)["code"] == "unknown"


def test_an_owner_that_was_deactivated_takes_its_keys_along(api: Api, database: Database):
    add_user(database, "u")
    with database.transaction() as transaction:
        transaction.execute(update(users).values(metadata={"scim_active": False}))

    found = refused(api, api.generate(user_id="u")["key"])

    assert wire(found) == ("owner_deactivated", 401, "auth_error", None)
    assert found["message"] == "Authentication Error, User=u is deactivated."


def test_a_blocked_team_takes_its_keys_along_at_once(api: Api):
    key = api.generate(team_id=team(api))["key"]
    allowed(api, key)
    api.post("/team/block", {"team_id": "t"})

    found = refused(api, key)

    assert wire(found) == ("team_blocked", 401, "auth_error", None)
    assert "Team=t is blocked" in found["message"]
    api.post("/team/unblock", {"team_id": "t"})
    allowed(api, key)


# --- models ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("whose", "kind"),
    [
        ("key", "key_model_access_denied"),
        ("key object", "key_model_access_denied"),
        ("team", "team_model_access_denied"),
        ("team object", "team_model_access_denied"),
        ("member", "team_model_access_denied"),
        ("organization", "org_model_access_denied"),
        ("user", "user_model_access_denied"),
    ],
)
def test_each_list_of_models_refuses_what_it_leaves_out(api: Api, whose: str, kind: str):
    models = ["another"]
    fields: dict[str, Any] = {
        "key": lambda: {"models": models},
        "key object": lambda: {"object_permission": {"models": models}},
        "team": lambda: {"team_id": team(api, models=models)},
        "team object": lambda: {"team_id": team(api, object_permission={"models": models})},
        "member": lambda: _member(api, models),
        "organization": lambda: {"organization_id": new_organization(api, models=models)["organization_id"]},
        "user": lambda: {"user_id": user(api, models=models)},
    }[whose]()
    key = api.generate(**fields)["key"]

    found = refused(api, key)

    assert wire(found) == ("model_not_allowed", 403, kind, "model")
    assert found["message"] == NOT_AVAILABLE
    allowed(api, key, model="another")
    assert refused(api, key, model="another", fallbacks=[MODEL])["code"] == "model_not_allowed"


def _member(api: Api, models: list[str]) -> dict[str, str]:
    team(api)
    sent = {"team_id": "t", "member": {"role": "user", "user_id": "u"}, "allowed_models": models}
    answer = api.post("/team/member_add", sent)
    assert answer.status == 200, answer
    return {"team_id": "t", "user_id": "u"}


def test_an_alias_is_resolved_before_models_are_checked_and_told(api: Api):
    key = api.generate(models=["gpt-4o-mini"], aliases={"fast": "gpt-4o-mini", "big": MODEL})["key"]

    assert allowed(api, key, model="fast")["model"] == "gpt-4o-mini"
    assert refused(api, key, model="big")["code"] == "model_not_allowed"


# --- what the call does ----------------------------------------------------------------------------------------

SAID: list[tuple[dict[str, Any], dict[str, Any], tuple[str, int, str, str | None], str, dict[str, Any]]] = [
    (
        {"allowed_routes": ["/embeddings"]},
        {"route": "/chat/completions"},
        ("route_not_allowed", 403, "auth_error", None),
        "Only allowed to call routes: ['/embeddings']. Tried to call route: /chat/completions",
        {"route": "/embeddings"},
    ),
    (
        {"object_permission": {"vector_stores": ["v1"]}},
        {"vector_stores": ["v1", "v2"]},
        ("vector_store_not_allowed", 401, "key_vector_store_access_denied", None),
        "Tried to access v2. Only allowed to access ['v1']",
        {"vector_stores": ["v1"]},
    ),
    (
        {"object_permission": {"mcp_servers": ["m1"]}},
        {"mcp_servers": {"m2": {}}},
        ("mcp_server_not_allowed", 403, "auth_error", "mcp_servers"),
        "MCP server 'm2'",
        {"mcp_servers": ["m1"]},
    ),
    (
        {"metadata": {"allowed_tools": ["a"]}},
        {"tools": ["a", "b"]},
        ("tool_not_allowed", 403, "tool_access_denied", "tools"),
        "Tool(s) ['b'] are not in the allowed tools list",
        {"tools": ["a"]},
    ),
    (
        {"object_permission": {"blocked_tools": ["b"]}},
        {"tools": ["b"]},
        ("tool_not_allowed", 403, "tool_access_denied", "tools"),
        "Tool(s) ['b'] are blocked",
        {"tools": ["a"]},
    ),
    (
        {"enforced_params": ["metadata.app"]},
        {"params": ["metadata"]},
        ("parameter_missing", 400, "invalid_request_error", "metadata.app"),
        "param=[metadata][app]",
        {"params": {"metadata.app": 1}},
    ),
    (
        {"allowed_cache_controls": ["no-cache"]},
        {"cache": {"ttl": 5}},
        ("cache_control_not_allowed", 403, "permission_error", None),
        "Not allowed to set ttl as a cache control",
        {"cache": {"no-cache": True}},
    ),
]


@pytest.mark.parametrize(("fields", "said", "expected", "message", "fitting"), SAID)
def test_what_a_call_does_is_held_against_the_key(
    api: Api,
    fields: dict[str, Any],
    said: dict[str, Any],
    expected: tuple[str, int, str, str | None],
    message: str,
    fitting: dict[str, Any],
):
    key = api.generate(**fields)["key"]

    found = refused(api, key, **said)

    assert wire(found) == expected
    assert message in found["message"]
    allowed(api, key, **fitting)


@on_one_store
def test_guardrails_that_a_team_keeps_to_itself_are_not_for_a_call_to_alter(api: Api):
    key = api.generate(team_id=team(api, metadata={"guardrails": {"modify_guardrails": False}}))["key"]

    found = refused(api, key, guardrails=[])

    assert wire(found) == ("guardrails_not_allowed", 403, "auth_error", None)
    assert found["message"] == "Your team does not have permission to modify guardrails."
    allowed(api, key)


@on_one_store
def test_an_estimate_that_is_required_is_asked_for(api: Api):
    key = api.generate()["key"]

    found = refused(api, key, cost=None, model="no such model", require_estimate=True)

    assert wire(found) == ("estimate_required", 400, "invalid_request_error", "estimate")
    allowed(api, key, cost=0, model="no such model", require_estimate=True)


# --- what a refusal leaves -------------------------------------------------------------------------------------


def test_a_refused_call_takes_no_rate_no_slot_and_no_money(api: Api, services: Services):
    key = api.generate(max_budget=1, rpm_limit=1, max_parallel_requests=1, metadata={"allowed_tools": ["a"]})[
        "key"
    ]

    for _ in range(3):
        refused(api, key, tools=["b"])

    found = allowed(api, key, tools=["a"])
    assert [entry["remaining"] for entry in found["limits"]] == [0, 0, 0]
    assert rows(services.database, ledger) == []


def test_the_answer_of_a_refusal_tells_which_key_it_was_about(api: Api):
    made = api.generate(key_alias="a", blocked=True)

    found = verify(api, made["key"], request_id="mine")

    assert (found["key"]["key_id"], found["key"]["key_alias"]) == (api.info(made["key"])["key_id"], "a")
    assert (found["request_id"], found["model"]) == ("mine", MODEL)

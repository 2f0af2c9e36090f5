"""What stands in headers: request ids, security, fields that were not used, and on whose behalf a caller acts."""

import uuid
from typing import Any

import pytest

from app.container import Services
from app.domain import budgets, organizations, teams, users
from app.domain.keys import UNENFORCED_FIELDS
from app.models import audit
from tests.api.settings import FOLDED, PLAIN
from tests.clients import MASTER_KEY, Answer, Api
from tests.factories import on_one_store, rows, unchanged

UNKNOWN = "sk-unknown-key-0000"
SECURITY = {
    "x-frame-options": "DENY",
    "content-security-policy": "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}

# An answer of every kind: success, each class of error, those of the framework, and what asks for no key.
ANSWERS: dict[str, tuple[int, str, str, dict[str, Any]]] = {
    "made": (200, "POST", "/key/generate", {"json": {}}),
    "listed": (200, "GET", "/key/list", {}),
    "health": (200, "GET", "/health/liveliness", {"key": None}),
    "document": (200, "GET", "/openapi.json", {"key": None}),
    "bad value": (400, "POST", "/key/generate", {"json": {"duration": "never"}}),
    "bad body": (400, "POST", "/key/generate", {"data": b"[]"}),
    "no key": (401, "GET", "/key/list", {"key": None}),
    "unknown key": (401, "GET", "/key/list", {"key": UNKNOWN}),
    "not found": (404, "GET", "/key/info", {"query": {"key": UNKNOWN}}),
    "no such path": (404, "GET", "/nothing/here", {}),
    "wrong method": (405, "GET", "/key/generate", {}),
    "too large": (413, "POST", "/key/generate", {"data": b" " * (1024 * 1024 + 1)}),
    "wrong type": (422, "POST", "/key/generate", {"json": {"models": 5}}),
    "broken": (422, "POST", "/key/generate", {"data": b"{"}),
    "slash": (307, "GET", "/key/list/", {}),
}


def answer_of(api: Api, name: str, **headers: str) -> Answer:
    status, method, path, arguments = ANSWERS[name]
    answer = api.call(method, path, headers=headers, **arguments)
    assert answer.status == status, answer
    return answer


# --- on every answer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_carries_the_security_headers(shared_api: Api, name: str):
    headers = answer_of(shared_api, name).headers

    assert {header: headers.get(header) for header in SECURITY} == SECURITY
    assert "Origin" in headers["vary"]


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_carries_the_callers_request_id_or_one_of_ours(shared_api: Api, name: str):
    given = answer_of(shared_api, name, **{"x-request-id": "task-of-the-caller_1:2.3"})
    made = [answer_of(shared_api, name).headers["x-request-id"] for _ in range(2)]

    assert given.headers["x-request-id"] == "task-of-the-caller_1:2.3"
    assert len({uuid.UUID(one) for one in made}) == 2


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "a\tb", "é", "<script>", "a,b", MASTER_KEY])
def test_a_request_id_that_could_do_harm_is_replaced(shared_api: Api, sent: str):
    answer = answer_of(shared_api, "listed", **{"x-request-id": sent})

    assert uuid.UUID(answer.headers["x-request-id"])


def test_only_an_outage_says_when_to_come_back(shared_api: Api):
    assert not any("retry-after" in answer_of(shared_api, name).headers for name in ANSWERS)


# --- fields that were not used -----------------------------------------------------------------------------

IGNORED, UNENFORCED = "x-keyledger-ignored-fields", "x-keyledger-unenforced-fields"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/key/generate", {}),
        ("/key/update", {"key": "made"}),
        ("/key/block", {"key": "made"}),
        ("/key/unblock", {"key": "made"}),
        ("/key/delete", {"keys": ["made"]}),
    ],
)
def test_fields_that_nobody_knows_are_ignored_and_named(shared_api: Api, path: str, body: dict[str, Any]):
    key = shared_api.generate()["key"]
    sent = {name: key if value == "made" else [key] for name, value in body.items()}

    answer = shared_api.post(path, {**sent, "modles": ["typo"], "another": {"deep": [1]}})

    assert answer.status == 200
    assert answer.headers[IGNORED] == "another,modles"


def test_fields_that_nobody_knows_are_named_inside_of_others_too(shared_api: Api):
    key = shared_api.generate()["key"]
    items = [{"key": key, "max_budgt": 1}, {"key": key, "rpm_limit": 1, "object_permission": {"modles": ["m"]}}]

    answer = shared_api.post("/key/bulk_update", {"keys": items, "team_id": "t"})

    assert answer.headers[IGNORED] == "keys.max_budgt,keys.object_permission.modles,keys.rpm_limit,team_id"


@pytest.mark.parametrize("path", ["/key/generate", "/team/new", "/user/new", "/budget/new"])
def test_what_nobody_knows_of_a_budget_for_a_model_is_named(shared_api: Api, path: str):
    known = {"budget_limit": 1, "time_period": "1d", "max_budget": 1, "budget_duration": "1d", "rpm_limit": 1}
    budgets = {"m": {**known, "tpm_limit": 1}, "n": {"limit": 5}, "o": {"budget_timezone": "UTC", "limit": 1}}

    answer = shared_api.post(path, {"model_max_budget": budgets})

    assert answer.status == 200
    assert answer.headers[IGNORED] == "model_max_budget.budget_timezone,model_max_budget.limit"


def test_fields_that_nobody_knows_are_named_beside_a_refusal_too(shared_api: Api):
    answer = shared_api.post("/key/generate", {"duraton": "1d", "max_budget": -1})

    assert (answer.status, answer.headers[IGNORED]) == (400, "duraton")


@pytest.mark.parametrize(
    ("path", "query", "status", "ignored"),
    [
        ("/key/list", {"key_alais": "x", "size": 5, "page_size": 5}, 200, "key_alais,page_size"),
        ("/key/info", {"unknown": "x", "key": UNKNOWN}, 404, "unknown"),
        ("/user/list", {"page_size": 5, "size": 5, "role": "internal_user"}, 200, "size"),
        ("/budget/calendar", {"budget_duration": "1d", "budget_timzone": "UTC"}, 200, "budget_timzone"),
        ("/audit", {"entitiy": "key"}, 200, "entitiy"),
        ("/spend/keys", {"page": 1, "b": "", "a<b": "1"}, 200, "a?b,b"),
        ("/key/list", {"size": 5, "key_alias": "x"}, 200, None),
    ],
)
def test_parameters_that_nobody_knows_are_ignored_and_named(
    shared_api: Api, path: str, query: dict[str, Any], status: int, ignored: str | None
):
    answer = shared_api.call("GET", path, query=query)

    assert (answer.status, answer.headers.get(IGNORED)) == (status, ignored)


@pytest.mark.parametrize("field", sorted(UNENFORCED_FIELDS))
def test_a_field_that_is_kept_but_not_enforced_is_named(shared_api: Api, field: str):
    answer = shared_api.post("/key/generate", {field: {**PLAIN, **FOLDED}[field]})

    assert (answer.status, answer.headers[UNENFORCED]) == (200, field)
    assert IGNORED not in answer.headers


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/team/new", teams.UNENFORCED_FIELDS),
        ("/user/new", users.UNENFORCED_FIELDS),
        ("/organization/new", organizations.UNENFORCED_FIELDS),
        ("/budget/new", budgets.UNENFORCED_FIELDS),
    ],
)
def test_what_is_enforced_for_keys_alone_is_named_for_others(shared_api: Api, path: str, fields: frozenset[str]):
    answer = shared_api.post(path, {"organization_alias": "o", **dict.fromkeys(fields)})

    assert (answer.status, answer.headers[UNENFORCED]) == (200, ",".join(sorted(fields))), answer


@on_one_store
def test_a_budget_for_a_model_is_named_where_it_is_a_members_and_not_where_it_is_a_teams_or_a_users(api: Api):
    budgets = {"model_max_budget": {"m": {"budget_limit": 1}}}
    windows = {"budget_limits": [{"budget_duration": "1d", "max_budget": 1}]}

    user = api.post("/user/new", {"user_id": "u", **budgets})
    members = [{"user_id": "u", "role": "user"}]
    team = api.post("/team/new", {"team_id": "t", "members_with_roles": members, **windows, **budgets})
    member = api.post("/team/member_update", {"team_id": "t", "user_id": "u", **budgets})

    assert (user.status, team.status, member.status) == (200, 200, 200)
    assert UNENFORCED not in {*user.headers, *team.headers}
    assert member.headers[UNENFORCED] == "model_max_budget"


def test_what_is_all_used_names_nothing(shared_api: Api):
    used: dict[str, Any] = {
        "models": ["m"],
        "max_budget": 1,
        "tags": ["t"],
        "budget_limits": [{"budget_duration": "1d", "max_budget": 1}],
        "default_estimated_output_tokens": 5,
        "default_estimated_output_tokens_per_model": {"m": 5},
        "model_max_budget": {"m": {"budget_limit": 1}},
    }

    answer = shared_api.post("/key/generate", used)

    assert {IGNORED, UNENFORCED}.isdisjoint(answer.headers)


def test_the_names_of_unknown_fields_are_cut_and_cleaned(shared_api: Api):
    strange = {"a b": 1, "c\r\nd: e": 2, "\ud800": 3, "f\x00": 4, "x" * 100: 5, "é,": 6}
    many = {f"field-{number:02}": 1 for number in range(25)}

    cleaned = shared_api.post("/key/generate", strange).headers[IGNORED]
    cut = shared_api.post("/key/generate", many).headers[IGNORED]

    assert sorted(cleaned.split(",")) == sorted(["a?b", "c??d??e", "f?", "x" * 64, "??", "?"])
    assert cut == ",".join([f"field-{number:02}" for number in range(20)] + ["+5"])


# --- on whose behalf ---------------------------------------------------------------------------------------


def test_every_change_records_the_claim_beside_the_real_caller_and_the_request(api: Api, services: Services):
    headers = {"litellm-changed-by": "alice@example.com", "x-request-id": "request-1"}
    key = api.post("/key/generate", {}, headers=headers).body["key"]
    api.post("/key/update", {"key": key, "rpm_limit": 1}, headers=headers)
    api.post("/key/block", {"key": key}, headers=headers)
    api.post("/key/unblock", {"key": key}, headers=headers)
    api.post("/key/delete", {"keys": [key]}, headers=headers)

    found = rows(services.database, audit)
    assert [row["action"] for row in found] == ["generate", "update", "block", "unblock", "delete"]
    assert {(row["changed_by"], row["actor_user_id"], row["actor_role"]) for row in found} == {
        ("alice@example.com", "default_user_id", "proxy_admin")
    }
    assert {(row["request_id"], row["address"]) for row in found} == {("request-1", "127.0.0.1")}


@pytest.mark.parametrize(
    ("sent", "recorded"),
    [
        (None, None),
        ("Jos%C3%A9 100%", "José 100%"),
        ("al%00ice%1b[0m", "alice[0m"),
        ("sk%2D1234-abcdefgh", "sk-****"),
        ("\x00\x01\x7f", None),
        ("al\x00ice\x1b[0m", "alice[0m"),
        ("Zoë 漢 🔑", "Zoë 漢 🔑"),
        ("x" * 1000, "x" * 512),
        ("the risk-assessment team", "the risk-assessment team"),
        (MASTER_KEY, "sk-****"),
        (f"alice with {MASTER_KEY}", "alice with sk-****"),
    ],
)
@on_one_store
def test_a_claim_is_recorded_as_text_that_every_store_can_keep(
    api: Api, services: Services, sent: str | None, recorded: str | None
):
    headers = {} if sent is None else {"litellm-changed-by": sent.encode().decode("latin-1")}

    api.post("/key/generate", {}, headers=headers)

    (row,) = rows(services.database, audit)
    assert row["changed_by"] == recorded


def test_a_claim_that_is_no_text_is_kept_by_postgresql_too(api: Api, services: Services):
    api.post("/key/generate", {}, headers={"litellm-changed-by": "a\x00\xff\xe9b"})

    (row,) = rows(services.database, audit)
    assert row["changed_by"] == "a\ufffd\ufffdb"


@on_one_store
def test_an_empty_claim_is_refused_for_it_may_have_held_what_the_server_drops(api: Api, services: Services):
    with unchanged(services.database):
        answer = api.post("/key/generate", {}, headers={"litellm-changed-by": ""})

    assert answer.summary == (400, "invalid_request_error", "litellm-changed-by")
    assert api.call("GET", "/key/list", headers={"litellm-changed-by": ""}).status == 200


def test_a_claim_gives_no_rights(shared_api: Api):
    key = shared_api.generate()["key"]

    answer = shared_api.post("/key/generate", {}, key=key, headers={"litellm-changed-by": "default_user_id"})

    assert answer.status == 401


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/organization/new", {"organization_alias": "another"}),
        ("PATCH", "/organization/update", {"organization_id": "o"}),
        ("POST", "/team/member_update", {"team_id": "t", "user_id": "u"}),
    ],
)
def test_budgets_for_models_that_bind_nobody_there_are_named(
    shared_api: Api, method: str, path: str, body: dict[str, Any]
):
    """They hold for keys, teams and users alone."""
    shared_api.post("/organization/new", {"organization_id": "o", "organization_alias": "o"})
    shared_api.post("/team/new", {"team_id": "t", "members_with_roles": [{"role": "user", "user_id": "u"}]})
    models = {"gpt-4o": {"budget_limit": 1, "time_period": "1d"}}

    answer = shared_api.call(method, path, json={**body, "model_max_budget": models})
    of_team = shared_api.post("/team/update", {"team_id": "t", "model_max_budget": models})

    assert (answer.status, answer.headers[UNENFORCED]) == (200, "model_max_budget")
    assert (of_team.status, UNENFORCED in of_team.headers) == (200, False)

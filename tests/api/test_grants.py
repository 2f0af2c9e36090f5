"""What each caller may put on a key that it makes or changes: nobody grants what it does not hold."""

from typing import Any

import pytest

from app.container import Services
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import add_person, unchanged

OK = "ok"
MEMBER = (401, "team_member_permission_error")
NO = (403, "auth_error")
BAD = (400, "invalid_request_error")


@pytest.mark.parametrize(
    ("caller", "fields", "expected"),
    [
        ("user", {}, OK),
        ("user", {"user_id": "user"}, OK),
        ("user", {"user_id": "you"}, (*NO, "user_id")),
        ("user", {"team_id": "team"}, (*BAD, "team_id")),
        ("user", {"team_id": "no such team"}, (*BAD, "team_id")),
        ("user", {"organization_id": "company"}, (*BAD, "organization_id")),
        ("user", {"organization_id": "no such organization"}, (*BAD, "organization_id")),
        ("user", {"allowed_routes": []}, (*NO, "allowed_routes")),
        ("user", {"permissions": {}}, (*NO, "permissions")),
        ("user", {"key_type": "management"}, (*NO, "key_type")),
        ("user", {"key_type": "llm_api"}, OK),
        ("user", {"key_type": "read_only"}, OK),
        ("user", {"end_user_budget_id": "b"}, (*NO, "end_user_budget_id")),
        ("user", {"throttle_on_budget_exceeded": False}, (*NO, "throttle_on_budget_exceeded")),
        ("user", {"default_estimated_output_tokens": 1}, (*NO, "default_estimated_output_tokens")),
        (
            "user",
            {"default_estimated_output_tokens_per_model": {}},
            (*NO, "default_estimated_output_tokens_per_model"),
        ),
        ("user", {"metadata": {"end_user_budget_id": "b"}}, (*NO, "end_user_budget_id")),
        ("user", {"object_permission": {"vector_stores": ["v"]}}, (*NO, "object_permission")),
        ("user", {"object_permission": {"search_tools": ["v"]}}, (*NO, "object_permission")),
        ("user", {"object_permission": {"mcp_servers": ["v"]}}, (*NO, "object_permission")),
        ("user", {"object_permission": {"models": ["m"], "vector_stores": []}}, OK),
        ("user", {"object_permission": {}}, OK),
        ("user", {"access_group_ids": ["g"]}, (*NO, "access_group_ids")),
        ("user", {"metadata": {"service_account_id": "r"}}, (*BAD, "team_id")),
        ("chief", {"organization_id": "company"}, OK),
        ("chief", {"team_id": "team"}, OK),
        ("chief", {"team_id": "other team"}, (*BAD, "team_id")),
        ("lead", {"team_id": "team"}, OK),
        ("lead", {"team_id": "team", "metadata": {"service_account_id": "r"}}, OK),
        ("lead", {"team_id": "team", "user_id": "you"}, (*NO, "user_id")),
        ("lead", {"team_id": "team", "object_permission": {"vector_stores": ["v"]}}, OK),
        ("lead", {"team_id": "other team"}, (*BAD, "team_id")),
        ("member", {"team_id": "team"}, (*MEMBER, "/key/generate")),
        ("granted", {"team_id": "granting team"}, OK),
        ("granted", {"team_id": "granting team", "user_id": "you"}, (*NO, "user_id")),
        (
            "granted",
            {"team_id": "granting team", "metadata": {"service_account_id": "r"}},
            (*MEMBER, "/key/service-account/generate"),
        ),
        ("robot", {"team_id": "team"}, OK),
        ("robot", {"team_id": "other team"}, (*BAD, "team_id")),
        ("robot", {"team_id": "team", "user_id": "you"}, (*NO, "user_id")),
        ("admin", {"metadata": {"service_account_id": "r"}}, (*BAD, "team_id")),
        ("admin", {"user_id": "you", "team_id": "team", "allowed_routes": [], "permissions": {}}, OK),
    ],
)
def test_a_caller_makes_the_keys_that_it_may(
    shared_api: Api,
    shared_services: Services,
    company: dict[str, str],
    caller: str,
    fields: dict[str, Any],
    expected: Any,
):
    if expected == OK:
        answer = shared_api.post("/key/generate", fields, key=company[caller])
        assert answer.status == 200, answer
        return

    with unchanged(shared_services.database):
        answer = shared_api.post("/key/generate", fields, key=company[caller])

    assert answer.summary == expected


@pytest.mark.parametrize("nobody", [None, ""])
def test_what_a_user_makes_without_naming_an_owner_is_its_own(
    shared_api: Api, company: dict[str, str], nobody: str | None
):
    made = shared_api.generate(caller=company["user"], user_id=nobody)

    assert (made["user_id"], made["created_by"]) == ("user", "user")


@pytest.mark.parametrize("team", [None, ""])
def test_what_a_service_account_makes_belongs_to_its_team(
    shared_api: Api, company: dict[str, str], team: str | None
):
    made = shared_api.generate(caller=company["robot"], team_id=team)

    assert (made["user_id"], made["team_id"]) == (None, "team")


@pytest.fixture
def capped(shared_api: Api, company: dict[str, str]) -> str:
    """A key of `user` that may spend 10 dollars on two models."""
    key: str = shared_api.generate(user_id="user", max_budget=10, models=["a", "b"])["key"]
    return key


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_budget": 10}, OK),
        ({"max_budget": 10.000000001}, (*BAD, "max_budget")),
        ({"models": ["a"]}, OK),
        ({"models": ["a", "c"]}, (*NO, "models")),
        ({"models": ["*"]}, (*NO, "models")),
    ],
)
def test_a_key_makes_no_key_that_may_more_than_itself(
    shared_api: Api, capped: str, fields: dict[str, Any], expected: Any
):
    answer = shared_api.post("/key/generate", fields, key=capped)

    assert answer.status == 200 if expected == OK else answer.summary == expected


@pytest.mark.parametrize("nothing", [{}, {"max_budget": None, "models": None}, {"max_budget": "", "models": []}])
def test_a_key_gives_its_own_caps_to_what_it_makes_without_any(
    shared_api: Api, capped: str, nothing: dict[str, Any]
):
    made = shared_api.generate(caller=capped, **nothing)

    assert (made["max_budget"], made["models"]) == (10, ["a", "b"])


@pytest.mark.parametrize("own", [["*"], ["a", "all-proxy-models"]])
def test_a_key_of_every_model_gives_any(shared_api: Api, company: dict[str, str], own: list[str]):
    caller = shared_api.generate(user_id="user", models=own)["key"]

    assert shared_api.generate(caller=caller, models=["b"])["models"] == ["b"]
    made = shared_api.generate(caller=caller)
    widened = shared_api.post("/key/update", {"key": made["key"], "models": []}, key=caller)

    assert (made["models"], widened.status) == (own, 200)


@pytest.mark.parametrize("models", [[], None, ["a", "c"], ["*"]])
def test_a_key_does_not_widen_by_update_what_it_could_not_make(
    shared_api: Api, capped: str, models: list[str] | None
):
    made = shared_api.generate(caller=capped)

    answer = shared_api.post("/key/update", {"key": made["key"], "models": models}, key=capped)

    assert answer.summary == (*NO, "models")


def test_a_temporary_increase_raises_what_a_key_may_give_until_it_ends(
    api: Api, services: Services, clock: MovableClock
):
    caller = add_person(api, services.database, "ann", max_budget=10)
    api.post(
        "/key/update",
        {"key": caller, "temp_budget_increase": 5, "temp_budget_expiry": "2026-11-18T14:00:00Z"},
    )
    during = api.post("/key/generate", {"max_budget": 15}, key=caller)
    above = api.post("/key/generate", {"max_budget": 15.01}, key=caller)

    clock.advance(3600)

    after = api.post("/key/generate", {"max_budget": 15}, key=caller)
    assert [answer.status for answer in (during, above, after)] == [200, 400, 400]


def test_an_administrator_is_bound_by_no_key_of_its_own(api: Api, services: Services):
    caller = add_person(api, services.database, "boss", "proxy_admin", max_budget=1, models=["a"])

    made = api.generate(caller=caller, max_budget=1000, models=["b"])

    assert (made["max_budget"], made["models"]) == (1000, ["b"])

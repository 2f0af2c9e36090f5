"""POST /budget/new and /budget/info: tiers that keys, members and organizations are linked to."""

from datetime import datetime
from typing import Any

import pytest

from app.config import Settings
from app.container import Services
from app.models import audit
from tests.api.budgets import BY_ROLE, FIELDS, new, shown
from tests.api.counting import statements
from tests.api.identities import without_redis
from tests.api.settings import NO_MONEY, NO_WINDOWS, WINDOWS
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import add_person, rows, unchanged


def test_every_field_is_stored_and_shown_as_sent(api: Api):
    made = new(api, **FIELDS)

    assert {name: made[name] for name in FIELDS} == FIELDS
    assert (made["created_by"], made["updated_by"]) == ("default_user_id", "default_user_id")
    assert shown(api, "gold") == [made]


def test_an_empty_request_makes_a_tier_without_limits_under_an_id_of_its_own(api: Api):
    first, second = new(api), new(api)

    assert first["budget_id"] != second["budget_id"]
    assert {name: first[name] for name in FIELDS if name != "budget_id"} == {
        **dict.fromkeys(FIELDS.keys() - {"budget_id"}),
        "model_max_budget": {},
    }
    assert (first["budget_reset_at"], first["allowed_models"], first["temp_budget_increase"]) == (None, [], None)


@pytest.mark.parametrize("field", FIELDS)
def test_null_is_as_good_as_not_sent(shared_api: Api, field: str):
    made = new(shared_api, **{field: None})

    assert made[field] == (
        {} if field == "model_max_budget" else made["budget_id"] if field == "budget_id" else None
    )


@pytest.mark.parametrize(("spelling", "reset_at"), WINDOWS.items())
def test_a_duration_sets_the_reset_by_the_calendar(shared_api: Api, spelling: str, reset_at: str):
    assert new(shared_api, budget_duration=spelling)["budget_reset_at"] == reset_at


def test_a_reset_that_is_sent_is_kept(api: Api):
    made = new(api, budget_duration="1d", budget_reset_at="2026-12-24T18:00:00+02:00")

    assert made["budget_reset_at"] == "2026-12-24T16:00:00.000000Z"


@pytest.mark.parametrize("sent", [{}, {"budget_reset_at": "2026-11-20T00:00:00"}])
def test_a_reset_that_has_passed_is_followed_by_the_next_one_without_any_job(
    api: Api, clock: MovableClock, sent: dict[str, Any]
):
    new(api, budget_id="daily", budget_duration="1d", **sent)

    clock.set(datetime.fromisoformat("2026-11-25T10:00:00+00:00"))

    (tier,) = shown(api, "daily")
    assert tier["budget_reset_at"] == "2026-11-26T00:00:00.000000Z"


def test_a_key_is_capped_by_the_tier_it_is_linked_to(api: Api):
    new(api, budget_id="gold", max_budget=3, budget_duration="1d")

    info = api.info(api.generate(budget_id="gold")["key"])

    assert (info["budget_id"], info["litellm_budget_table"]["max_budget"]) == ("gold", 3)
    assert info["budget_reset_at"] == "2026-11-19T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("max_budget", amount) for amount in NO_MONEY),
        *(("soft_budget", amount) for amount in NO_MONEY),
        *(("budget_duration", spelling) for spelling in NO_WINDOWS),
        ("model_max_budget", {"gpt-4o": 1}),
        ("model_max_budget", {"gpt-4o": {"budget_limit": -1}}),
        ("model_max_budget", {"gpt-4o": {"time_period": "soon"}}),
    ],
)
def test_a_limit_that_cannot_be_is_refused_by_name(
    shared_api: Api, shared_services: Services, field: str, value: Any
):
    with unchanged(shared_services.database):
        answer = shared_api.post("/budget/new", {field: value})

    assert answer.summary == (400, "invalid_request_error", field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tpm_limit", -1),
        ("rpm_limit", -1),
        ("tpm_limit", 2**63),
        ("max_parallel_requests", 2**31),
        ("max_parallel_requests", 1.5),
        ("max_budget", []),
        ("budget_id", 7),
        ("budget_id", "x" * 513),
        ("budget_id", "\x00"),
        ("budget_reset_at", "tomorrow"),
        ("model_max_budget", []),
    ],
)
def test_a_value_of_the_wrong_type_does_not_fit_the_schema(shared_api: Api, field: str, value: Any):
    answer = shared_api.post("/budget/new", {field: value})

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["body", field])


def test_an_id_that_exists_is_refused_and_the_tier_stays_as_it_was(api: Api, services: Services):
    new(api, budget_id="gold", max_budget=1)

    with unchanged(services.database):
        answer = api.post("/budget/new", {"budget_id": "gold", "max_budget": 2})

    assert answer.summary == (400, "invalid_request_error", "budget_id")
    assert "already exists" in answer.error["message"]


def test_info_lists_the_tiers_that_exist_once_each_in_the_order_asked_for(api: Api):
    new(api, budget_id="a")
    new(api, budget_id="b")

    assert [tier["budget_id"] for tier in shown(api, "b", "unknown", "a", "b")] == ["b", "a"]


@pytest.mark.parametrize("sent", [{"budgets": []}, {"budgets": None}])
def test_info_of_nothing_is_refused(shared_api: Api, sent: dict[str, Any]):
    assert shared_api.post("/budget/info", sent).summary == (400, "invalid_request_error", "budgets")


@pytest.mark.parametrize(
    ("sent", "kind", "location"),
    [
        ({}, "missing", ["body", "budgets"]),
        ({"budgets": "a"}, "list_type", ["body", "budgets"]),
        ({"budgets": [1]}, "string_type", ["body", "budgets", 0]),
        ({"budgets": ["a"] * 501}, "too_long", ["body", "budgets"]),
    ],
)
def test_info_of_what_is_no_list_does_not_fit_the_schema(
    shared_api: Api, sent: dict[str, Any], kind: str, location: list[str]
):
    answer = shared_api.post("/budget/info", sent)

    assert (answer.status, answer.body["detail"][0]["type"], answer.body["detail"][0]["loc"]) == (
        422,
        kind,
        location,
    )


@pytest.mark.parametrize(("role", "expected"), BY_ROLE)
@pytest.mark.parametrize(("path", "sent"), [("/budget/new", {}), ("/budget/info", {"budgets": ["a"]})])
def test_tiers_are_for_proxy_admins(
    api: Api, services: Services, role: str, expected: int, path: str, sent: dict[str, Any]
):
    key = add_person(api, services.database, "somebody", role)

    assert api.post(path, sent, key=key).status == expected


def test_a_new_tier_is_in_the_audit_with_its_maker(api: Api, services: Services):
    key = add_person(api, services.database, "boss", "proxy_admin")
    api.post("/budget/new", {"budget_id": "gold", "max_budget": 1}, key=key, headers={"litellm-changed-by": "eve"})

    (row,) = rows(services.database, audit, entity="budget")
    assert (row["action"], row["entity_id"], row["actor_user_id"], row["changed_by"]) == (
        "new",
        "gold",
        "boss",
        "eve",
    )
    assert (row["before"], row["after"]["max_budget"], row["after"]["created_by"]) == (None, 1, "boss")


def test_a_tier_is_made_with_redis_away(settings: Settings, clock: MovableClock):
    with without_redis(settings, clock) as api:
        made = new(api, budget_id="gold")

        assert shown(api, "gold") == [made]


def test_statements_do_not_grow_with_the_tiers(api: Api, services: Services):
    for number in range(20):
        new(api, budget_id=f"tier-{number}")

    with statements(services.database) as of_new:
        new(api)
    with statements(services.database) as of_info:
        assert len(shown(api, *(f"tier-{number}" for number in range(20)))) == 20

    assert (len(of_new), len(of_info)) == (3, 1)

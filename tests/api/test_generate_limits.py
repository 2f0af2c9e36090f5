"""POST /key/generate: how long a key lives, what it may spend, and what it belongs to."""

from typing import Any

import pytest

from app.container import Services
from app.models import budgets, events, keys, ledger, object_permissions
from tests.api.settings import (
    LENGTHS,
    NO_LENGTHS,
    NO_MONEY,
    NO_WINDOWS,
    WINDOWS,
)
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import NANOS, add_organization, add_team, add_tier, rows, unchanged
from tests.services.capped import fold

# --- time --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "ends"), LENGTHS.items())
def test_a_duration_ends_after_exactly_that_long(shared_api: Api, length: str, ends: str):
    assert shared_api.generate(duration=length)["expires"] == ends


def test_a_key_is_refused_from_the_instant_of_its_expiry(api: Api, clock: MovableClock):
    key = api.generate(duration="30s")["key"]
    clock.advance(29.999999)
    assert api.get("/key/info", key).status == 200

    clock.advance(0.000001)

    answer = api.get("/key/info", key)
    assert answer.summary == (401, "expired_key", f"sk-...{key[-4:]}")
    assert api.info(key)["status"] == "expired"


@pytest.mark.parametrize("length", ["", "-1", *NO_LENGTHS])
def test_a_duration_that_cannot_be_read_whole_is_refused(shared_api: Api, shared_services: Services, length: str):
    with unchanged(shared_services.database):
        answer = shared_api.post("/key/generate", {"duration": length})

    assert answer.summary == (400, "invalid_request_error", "duration")


@pytest.mark.parametrize(("window", "reset"), WINDOWS.items())
def test_a_budget_duration_is_a_window_of_the_calendar(shared_api: Api, window: str, reset: str):
    made = shared_api.generate(budget_duration=window)

    assert shared_api.info(made["key"])["budget_reset_at"] == reset


@pytest.mark.parametrize("window", NO_WINDOWS)
def test_a_budget_duration_that_is_no_window_is_refused(shared_api: Api, shared_services: Services, window: str):
    with unchanged(shared_services.database):
        answer = shared_api.post("/key/generate", {"budget_duration": window})

    assert answer.summary == (400, "invalid_request_error", "budget_duration")


# --- money -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["max_budget", "soft_budget", "spend"])
@pytest.mark.parametrize("amount", NO_MONEY)
def test_an_amount_that_no_budget_can_be_is_refused(
    shared_api: Api, shared_services: Services, field: str, amount: str
):
    with unchanged(shared_services.database):
        answer = shared_api.call("POST", "/key/generate", data=f'{{"{field}": {amount}}}'.encode())

    assert answer.summary == (400, "invalid_request_error", field)


def test_amounts_keep_every_nano_dollar_up_to_the_largest(api: Api, services: Services):
    for amount, nanos in (
        ("0", 0),
        ("1e-9", 1),
        ("0.1", NANOS // 10),
        ("8999999.999999999", 9_000_000 * NANOS - 1),
    ):
        made = api.generate(max_budget=amount)
        assert api.info(made["key"])["max_budget"] == float(amount)
        assert rows(services.database, keys, key_id=made["key_id"])[0]["max_budget_nanos"] == nanos


def test_spend_at_birth_is_a_correction_in_the_ledger(api: Api, services: Services):
    made = api.generate(spend=2.5)

    (row,) = rows(services.database, ledger)
    assert (row["kind"], row["key_id"], row["amount_nanos"]) == ("correction", made["key_id"], 2_500_000_000)
    info = api.info(made["key"])
    assert (info["spend"], info["total_spend"]) == (2.5, 2.5)


def test_a_soft_budget_is_the_keys_own_and_shown_in_its_budget_table(api: Api, services: Services):
    tier = add_tier(services.database, "gold", max_budget_nanos=50 * NANOS, soft_budget_nanos=40 * NANOS)
    before = rows(services.database, budgets)

    made = api.generate(budget_id=tier, soft_budget=3)

    shown = api.info(made["key"])
    assert (shown["budget_id"], shown["soft_budget"]) == (tier, 3)
    assert shown["litellm_budget_table"]["budget_id"] == tier
    assert shown["litellm_budget_table"]["soft_budget"] == 3
    assert made["litellm_budget_table"] == shown["litellm_budget_table"]
    assert rows(services.database, budgets) == before


def test_a_soft_budget_that_is_reached_leaves_one_event(api: Api, services: Services):
    made = api.generate(soft_budget=1, spend=1)
    api.post("/key/update", {"key": made["key"], "rpm_limit": 1})
    fold(services)

    (event,) = rows(services.database, events, kind="soft_budget_crossed")
    assert event["entity_id"] == made["key_id"]
    assert (event["payload"]["soft_budget"], event["payload"]["spend"]) == (1, 1)


GOOD_MODEL_BUDGETS: list[dict[str, Any]] = [
    {},
    {"m": {}},
    {"m": {"budget_limit": "1.5", "time_period": "1d"}},
    {"m": {"max_budget": 0, "budget_duration": "2mo"}},
    {"m": {"budget_limit": None, "time_period": None, "tpm_limit": 1, "rpm_limit": 0, "other": "kept"}},
]
BAD_MODEL_BUDGETS: list[dict[str, Any]] = [
    {"m": budget}
    for budget in (
        5,
        None,
        [],
        {"budget_limit": -1},
        {"budget_limit": None, "max_budget": -1},
        {"budget_limit": 1, "max_budget": "much"},
        {"time_period": None, "budget_duration": "sometimes"},
        {"budget_limit": True},
        {"budget_limit": "much"},
        {"budget_limit": [1]},
        {"budget_limit": "NaN"},
        {"budget_limit": 9_000_001},
        {"time_period": "sometimes"},
        {"time_period": 5},
        {"time_period": ""},
        {"tpm_limit": -1},
        {"rpm_limit": 1.5},
        {"rpm_limit": "5"},
    )
]


@pytest.mark.parametrize("sent", GOOD_MODEL_BUDGETS)
def test_a_budget_per_model_is_kept_word_by_word(shared_api: Api, sent: dict[str, Any]):
    made = shared_api.generate(model_max_budget=sent)

    assert shared_api.info(made["key"])["model_max_budget"] == sent


@pytest.mark.parametrize("sent", BAD_MODEL_BUDGETS)
def test_a_budget_per_model_that_could_not_be_enforced_is_refused(shared_api: Api, sent: dict[str, Any]):
    answer = shared_api.post("/key/generate", {"model_max_budget": sent})

    assert answer.summary == (400, "invalid_request_error", "model_max_budget")


@pytest.mark.parametrize("path", ["/key/generate", "/team/new", "/organization/new"])
@pytest.mark.parametrize("name", ["model_rpm_limit", "model_tpm_limit"])
@pytest.mark.parametrize(
    "rates", [5, "x", [], True, *({"gpt-4o": rate} for rate in (1.5, "x", -1, True, None, {}))]
)
def test_a_rate_per_model_inside_of_metadata_that_could_not_be_enforced_is_refused(
    shared_api: Api, shared_services: Services, path: str, name: str, rates: Any
):
    with unchanged(shared_services.database):
        answer = shared_api.post(path, {"organization_alias": "o", "metadata": {name: rates}})

    assert answer.summary == (400, "invalid_request_error", "metadata")


def test_a_rate_per_model_inside_of_metadata_is_kept(shared_api: Api):
    metadata = {"model_rpm_limit": {"gpt-4o": 5}, "model_tpm_limit": None}

    assert shared_api.info(shared_api.generate(metadata=metadata)["key"])["metadata"] == metadata


def test_several_windows_are_armed_each_with_its_reset(api: Api):
    windows = [{"budget_duration": "1d", "max_budget": 1}, {"budget_duration": "30d", "max_budget": "10"}]

    made = api.generate(budget_limits=windows)

    assert [(w["budget_duration"], w["max_budget"], w["reset_at"]) for w in made["budget_limits"]] == [
        ("1d", 1, "2026-11-19T00:00:00.000000Z"),
        ("30d", 10, "2026-12-01T00:00:00.000000Z"),
    ]


# --- what it belongs to ------------------------------------------------------------------------------------


def test_a_tier_gives_its_window_and_is_shown(api: Api, services: Services):
    tier = add_tier(services.database, "daily", max_budget_nanos=5 * NANOS, budget_duration="1d")

    made = api.generate(budget_id=tier)

    info = api.info(made["key"])
    assert (info["budget_duration"], info["budget_reset_at"]) == (None, "2026-11-19T00:00:00.000000Z")
    assert info["litellm_budget_table"]["max_budget"] == 5


def test_the_keys_own_window_wins_over_its_tiers(api: Api, services: Services):
    tier = add_tier(services.database, "daily", budget_duration="1d")

    made = api.generate(budget_id=tier, budget_duration="30d")

    assert api.info(made["key"])["budget_reset_at"] == "2026-12-01T00:00:00.000000Z"


@pytest.mark.parametrize("field", ["budget_id", "organization_id"])
def test_what_does_not_exist_cannot_be_referred_to(api: Api, services: Services, field: str):
    with unchanged(services.database):
        answer = api.post(
            "/key/generate", {field: "nothing", "soft_budget": 1, "object_permission": {"models": ["a"]}}
        )

    assert answer.summary == (400, "invalid_request_error", field)


def test_a_key_belongs_to_the_organization_of_its_team(api: Api, services: Services):
    add_organization(services.database, "acme")
    add_organization(services.database, "other")
    add_team(services.database, "team", organization_id="acme")

    made = api.generate(team_id="team", organization_id="other")

    assert made["organization_id"] == "acme"
    assert api.info(made["key"])["org_id"] == "acme"


@pytest.mark.parametrize(
    ("key_type", "routes"),
    [
        ("default", ["/sent"]),
        ("llm_api", ["llm_api_routes"]),
        ("management", ["management_routes"]),
        ("read_only", ["info_routes"]),
    ],
)
def test_a_key_type_becomes_allowed_routes(shared_api: Api, key_type: str, routes: list[str]):
    made = shared_api.generate(key_type=key_type, allowed_routes=["/sent"])

    assert (made["key_type"], made["allowed_routes"]) == (key_type, routes)


PERMISSION = {"vector_stores": ["vs-1"], "mcp_servers": ["m"], "mcp_tool_permissions": {"m": ["t"]}}


def test_an_object_permission_is_stored_with_the_key_and_shown_whole(api: Api):
    made = api.generate(object_permission={**PERMISSION, "agents": None, "unknown": 1})

    info = api.info(made["key"])
    assert {name: info["object_permission"][name] for name in PERMISSION} == PERMISSION
    assert info["object_permission"]["agents"] == []
    assert info["object_permission"]["object_permission_id"] == info["object_permission_id"]


@pytest.mark.parametrize("nothing", [None, {}, {"unknown": 1}])
def test_an_object_permission_of_nothing_is_none(
    shared_api: Api, shared_services: Services, nothing: dict[str, Any] | None
):
    before = rows(shared_services.database, object_permissions)

    made = shared_api.generate(object_permission=nothing)

    assert shared_api.info(made["key"])["object_permission"] is None
    assert rows(shared_services.database, object_permissions) == before


@pytest.mark.parametrize(
    "fields",
    [
        {"auto_rotate": True},
        {"auto_rotate": True, "rotation_interval": ""},
        {"auto_rotate": True, "rotation_interval": "0s"},
        {"auto_rotate": True, "rotation_interval": "59m"},
        {"auto_rotate": True, "rotation_interval": "9999y"},
        {"auto_rotate": True, "rotation_interval": "soon"},
    ],
)
def test_a_rotation_that_would_never_be_due_is_refused(shared_api: Api, fields: dict[str, Any]):
    answer = shared_api.post("/key/generate", fields)

    assert answer.summary == (400, "invalid_request_error", "rotation_interval")

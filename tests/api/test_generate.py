"""POST /key/generate: every field, default, null rule and error of making a key."""

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from app import create_app
from app.config import Settings
from app.container import Services, build
from app.models import audit, budgets, key_secrets, keys, ledger, object_permissions, outbox
from tests.api.settings import (
    DEFAULTS,
    FIELDS,
    FOLDED,
    LENGTHS,
    NO_LENGTHS,
    NO_MONEY,
    NO_WINDOWS,
    PLAIN,
    WINDOWS,
)
from tests.clients import MASTER_KEY, Api
from tests.clocks import MovableClock
from tests.factories import NANOS, add_organization, add_team, add_tier, everything, on_one_store, rows, unchanged

CUSTOM = "sk-chosen-by-hand_0123456789"


# --- what is stored and shown ------------------------------------------------------------------------------


@pytest.mark.parametrize("field", PLAIN)
def test_a_setting_is_stored_and_shown_as_sent(shared_api: Api, field: str):
    made = shared_api.generate(**{field: PLAIN[field]})

    assert shared_api.info(made["key"])[field] == PLAIN[field]
    assert made.get(field, PLAIN[field]) == PLAIN[field]


@pytest.mark.parametrize("field", FOLDED)
def test_a_folded_setting_is_kept_in_the_metadata(shared_api: Api, field: str):
    made = shared_api.generate(**{field: FOLDED[field]}, metadata={field: "beaten", "own": 1})

    assert made["metadata"] == {"own": 1, field: FOLDED[field]}
    assert made[field] is None
    assert shared_api.info(made["key"])["metadata"] == made["metadata"]


def test_every_setting_at_once_is_stored(api: Api):
    made = api.generate(
        **PLAIN, **FOLDED, duration="1d", budget_limits=[{"budget_duration": "1d", "max_budget": 1}]
    )

    info = api.info(made["key"])
    metadata = {**PLAIN["metadata"], **FOLDED}
    assert {name: info[name] for name in PLAIN} == {**PLAIN, "metadata": metadata}


def test_an_empty_request_makes_a_key_with_the_defaults(api: Api):
    made = api.generate()

    info = api.info(made["key"])
    assert {name: info[name] for name in DEFAULTS} == DEFAULTS
    assert (info["expires"], info["budget_reset_at"], info["object_permission"]) == (None, None, None)
    assert (info["status"], info["total_spend"], info["auto_rotate"]) == ("active", 0, False)


@pytest.mark.parametrize("field", [*FIELDS, "key", "key_type"])
def test_null_is_as_good_as_not_sent(shared_api: Api, field: str):
    made = shared_api.generate(**{field: None})

    info = shared_api.info(made["key"])
    assert {name: info[name] for name in DEFAULTS} == DEFAULTS
    assert (info["expires"], info["budget_id"], info["budget_limits"], info["object_permission"]) == (None,) * 4


@pytest.mark.parametrize("field", ["key_alias", "user_id", "team_id", "organization_id", "budget_id"])
def test_an_empty_text_names_nothing(shared_api: Api, field: str):
    made = shared_api.generate(**{field: ""})

    assert shared_api.info(made["key"])[field] is None


@pytest.mark.parametrize("field", ["max_budget", "soft_budget", "spend"])
def test_an_empty_text_is_no_amount(shared_api: Api, field: str):
    made = shared_api.generate(**{field: ""})

    assert shared_api.info(made["key"])[field] == DEFAULTS[field]


def test_texts_that_spell_numbers_and_booleans_are_read_as_such(shared_api: Api):
    made = shared_api.generate(max_budget="1.5", tpm_limit="10", rpm_limit=3.0, blocked="true", spend=True)

    info = shared_api.info(made["key"])
    assert (info["max_budget"], info["tpm_limit"], info["rpm_limit"], info["blocked"]) == (1.5, 10, 3, True)
    assert info["spend"] == 1


# --- the answer --------------------------------------------------------------------------------------------


def test_the_answer_holds_everything_that_clients_read(api: Api):
    made = api.generate(user_id="u", key_alias="a")

    expected = [
        "key",
        "token",
        "token_id",
        "key_name",
        "key_type",
        "key_alias",
        "models",
        "spend",
        "max_budget",
        "user_id",
        "team_id",
        "agent_id",
        "organization_id",
        "project_id",
        "max_parallel_requests",
        "metadata",
        "tpm_limit",
        "rpm_limit",
        "tpd_limit",
        "budget_duration",
        "budget_limits",
        "allowed_cache_controls",
        "config",
        "permissions",
        "model_max_budget",
        "budget_fallbacks",
        "blocked",
        "aliases",
        "budget_id",
        "allowed_routes",
        "router_settings",
        "access_group_ids",
        "duration",
        "object_permission",
        "litellm_budget_table",
        "expires",
        "created_at",
        "updated_at",
        "created_by",
        "updated_by",
    ]
    assert set(expected) | set(FOLDED) <= made.keys()
    assert made["created_at"] == made["updated_at"] == "2026-11-18T13:47:33.000000Z"
    assert made["created_by"] == made["updated_by"] == "default_user_id"


def test_a_key_is_shown_once_and_stored_as_its_digest(api: Api, services: Services):
    made = api.generate()

    plaintext = made["key"]
    assert re.fullmatch(r"sk-[A-Za-z0-9_-]{22}", plaintext)
    assert made["token"] == made["token_id"] == hashlib.sha256(plaintext.encode()).hexdigest()
    assert made["key_name"] == f"sk-...{plaintext[-4:]}"
    assert plaintext not in str(everything(services.database))
    assert plaintext not in str(api.info(made["token"]))


def test_dates_are_the_same_text_in_every_answer(shared_api: Api):
    made = shared_api.generate(duration="1d", budget_duration="1d")

    info = shared_api.info(made["key"])
    query = {"return_full_object": "true", "key_hash": made["token"]}
    (listed,) = shared_api.call("GET", "/key/list", query=query).body["keys"]
    for field in ("expires", "created_at", "updated_at"):
        assert made[field] == info[field] == listed[field]


# --- secrets -----------------------------------------------------------------------------------------------


def test_a_chosen_key_opens_what_was_made_for_it(api: Api):
    made = api.generate(key=CUSTOM, key_alias="chosen")

    assert made["key"] == CUSTOM
    assert api.get("/key/info", CUSTOM).body["info"]["key_alias"] == "chosen"


def test_a_chosen_key_that_was_refused_before_it_existed_opens_at_once(api: Api):
    assert api.get("/key/info", CUSTOM).status == 401

    api.generate(key=CUSTOM)

    assert api.get("/key/info", CUSTOM).status == 200


@pytest.mark.parametrize("length", [16, 256])
def test_a_chosen_key_may_be_as_short_and_as_long_as_this(shared_api: Api, length: int):
    made = shared_api.generate(key="sk-".ljust(length, "x"))

    assert shared_api.get("/key/info", made["key"]).body["key"] == made["token"]


@pytest.mark.parametrize(
    "chosen",
    ["", "sk-", "sk-of-15-chars_", "pk-0123456789abcdef", "SK-0123456789abcdef", "0123456789abcdef"]
    + [f"sk-0123456789{odd}abcdef" for odd in (" ", "?", "/", ".", "é", "\n", "漢")],
)
def test_a_chosen_key_that_could_not_be_used_everywhere_is_refused(
    shared_api: Api, shared_services: Services, chosen: str
):
    with unchanged(shared_services.database):
        answer = shared_api.post("/key/generate", {"key": chosen})

    assert answer.summary == (400, "invalid_request_error", "key")


def test_a_chosen_key_that_exists_is_a_conflict_and_changes_nothing(api: Api, services: Services):
    api.generate(key=CUSTOM, max_budget=1)

    with unchanged(services.database):
        answer = api.post("/key/generate", {"key": CUSTOM, "max_budget": 1000, "key_alias": "thief"})

    assert answer.summary == (409, "bad_request_error", "key")


def test_the_master_key_is_never_a_virtual_key(shared_api: Api, shared_services: Services):
    with unchanged(shared_services.database):
        answer = shared_api.post("/key/generate", {"key": MASTER_KEY})

    assert answer.summary == (400, "invalid_request_error", "key")


# --- aliases -----------------------------------------------------------------------------------------------


def test_a_taken_alias_is_refused_by_name_and_nothing_is_written(api: Api, services: Services):
    api.generate(key_alias="billing")

    with unchanged(services.database):
        answer = api.post(
            "/key/generate", {"key_alias": "billing", "soft_budget": 1, "object_permission": {"models": ["a"]}}
        )

    assert answer.summary == (400, "bad_request_error", "key_alias")
    assert "'billing'" in answer.error["message"]


def test_aliases_differ_by_case_and_keys_without_one_are_many(api: Api):
    for alias in ("Bot", "bot", "", "", None, None):
        api.generate(key_alias=alias)

    assert api.get("/key/list").body["total_count"] == 6


@pytest.mark.parametrize("alias", ["a\nb", "a\tb", "a\x7fb", "a\u2028b", "..", "../a", "a/../b", "a\\..\\b"])
def test_an_alias_that_could_mislead_is_refused(shared_api: Api, alias: str):
    answer = shared_api.post("/key/generate", {"key_alias": alias})

    assert answer.summary == (400, "bad_request_error", "key_alias")


def test_of_many_at_once_with_one_alias_exactly_one_is_made(services: Services):
    app = create_app(services)

    def generate(_: int) -> int:
        headers = {"Authorization": f"Bearer {MASTER_KEY}"}
        return app.test_client().post("/key/generate", json={"key_alias": "one"}, headers=headers).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = sorted(threads.map(generate, range(16)))

    assert statuses == [200, *[400] * 15]


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

    (event,) = rows(services.database, outbox, kind="soft_budget_crossed")
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


def test_several_windows_are_armed_each_with_its_reset(api: Api):
    windows = [{"budget_duration": "1d", "max_budget": 1}, {"budget_duration": "30d", "max_budget": "10"}]

    made = api.generate(budget_limits=windows)

    assert [(w["budget_duration"], w["max_budget"], w["reset_at"]) for w in made["budget_limits"]] == [
        ("1d", 1, "2026-11-19T00:00:00+00:00"),
        ("30d", 10, "2026-12-01T00:00:00+00:00"),
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


def test_rotation_is_due_after_its_interval(api: Api):
    made = api.generate(auto_rotate=True, rotation_interval="30d")

    info = api.info(made["key"])
    assert (info["auto_rotate"], info["rotation_interval"]) == (True, "30d")
    assert info["key_rotation_at"] == "2026-12-18T13:47:33.000000Z"


@pytest.mark.parametrize(
    "fields",
    [
        {"auto_rotate": True},
        {"auto_rotate": True, "rotation_interval": ""},
        {"auto_rotate": True, "rotation_interval": "0s"},
        {"auto_rotate": True, "rotation_interval": "9999y"},
        {"auto_rotate": True, "rotation_interval": "soon"},
    ],
)
def test_a_rotation_that_would_never_be_due_is_refused(shared_api: Api, fields: dict[str, Any]):
    answer = shared_api.post("/key/generate", fields)

    assert answer.summary == (400, "invalid_request_error", "rotation_interval")


# --- what it leaves behind ---------------------------------------------------------------------------------


def test_a_made_key_leaves_one_audit_row_one_event_and_one_secret(api: Api, services: Services):
    made = api.generate(key_alias="a")

    (row,) = rows(services.database, audit)
    assert (row["action"], row["entity"], row["entity_id"]) == ("generate", "key", made["key_id"])
    assert (row["before"], row["after"]["key_alias"]) == (None, "a")
    assert (row["actor_user_id"], row["actor_role"], row["actor_key_id"]) == (
        "default_user_id",
        "proxy_admin",
        None,
    )
    assert [event["kind"] for event in rows(services.database, outbox)] == ["key_created"]
    assert [secret["token"] for secret in rows(services.database, key_secrets)] == [made["token"]]


@pytest.mark.parametrize(("asked", "kinds"), [(True, 1), (False, 0), (None, 0)])
def test_an_invitation_is_an_event_where_it_is_asked_for(
    shared_api: Api, shared_services: Services, asked: bool | None, kinds: int
):
    made = shared_api.generate(send_invite_email=asked, user_id="u")

    assert len(rows(shared_services.database, outbox, kind="invite_mail", entity_id=made["key_id"])) == kinds


@on_one_store
def test_custom_keys_can_be_switched_off(settings: Settings):
    services = build(replace(settings, disable_custom_api_keys=True))

    answer = Api(create_app(services)).post("/key/generate", {"key": CUSTOM})

    services.close()
    assert answer.summary == (403, "auth_error", "key")

"""POST /key/generate: what is stored, shown and left behind; secrets and aliases."""

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from app.config import Settings
from app.container import Services, build
from app.models import audit, events, key_secrets
from tests.api.settings import (
    DEFAULTS,
    FIELDS,
    FOLDED,
    PLAIN,
)
from tests.apps import app_over
from tests.clients import MASTER_KEY, Api
from tests.factories import everything, on_one_store, rows, unchanged

CUSTOM = "sk-chosen-by-hand_0123456789"


# --- what is stored and shown ------------------------------------------------------------------------------


@pytest.mark.parametrize("field", PLAIN)
def test_a_setting_is_stored_and_shown_as_sent(shared_api: Api, field: str):
    made = shared_api.generate(**{field: PLAIN[field]})

    assert shared_api.info(made["key"])[field] == PLAIN[field]
    assert made.get(field, PLAIN[field]) == PLAIN[field]


@pytest.mark.parametrize("field", FOLDED)
def test_a_folded_setting_is_kept_in_the_metadata(shared_api: Api, field: str):
    beaten = type(FOLDED[field])()
    made = shared_api.generate(**{field: FOLDED[field]}, metadata={field: beaten, "own": 1})

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
    app = app_over(services)

    def generate(_: int) -> int:
        headers = {"Authorization": f"Bearer {MASTER_KEY}"}
        return app.test_client().post("/key/generate", json={"key_alias": "one"}, headers=headers).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = sorted(threads.map(generate, range(16)))

    assert statuses == [200, *[400] * 15]


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
    assert [event["kind"] for event in rows(services.database, events)] == ["key_created"]
    assert [secret["token"] for secret in rows(services.database, key_secrets)] == [made["token"]]


@pytest.mark.parametrize(("asked", "kinds"), [(True, 1), (False, 0), (None, 0)])
def test_an_invitation_is_an_event_where_it_is_asked_for(
    shared_api: Api, shared_services: Services, asked: bool | None, kinds: int
):
    made = shared_api.generate(send_invite_email=asked, user_id="u")

    assert len(rows(shared_services.database, events, kind="invite_mail", entity_id=made["key_id"])) == kinds


@on_one_store
def test_custom_keys_can_be_switched_off(settings: Settings):
    services = build(replace(settings, disable_custom_api_keys=True))

    answer = Api(app_over(services)).post("/key/generate", {"key": CUSTOM})

    services.close()
    assert answer.summary == (403, "auth_error", "key")

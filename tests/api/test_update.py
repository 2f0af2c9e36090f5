"""POST /key/update: a merge patch. What is sent changes, null means the default, and what is not sent stays."""

from typing import Any

import pytest

from app.container import Services
from app.models import audit, events
from tests.api.changing import changed, update
from tests.api.settings import DEFAULTS, FOLDED, PLAIN
from tests.clients import MASTER_KEY, Api
from tests.clocks import MovableClock
from tests.factories import add_organization, add_tier, rows, unchanged

# What every write moves.
STAMPS = {"updated_at", "settings_updated_at", "updated_by"}
ALL = {**PLAIN, **FOLDED, "duration": "30d", "budget_duration": "30d"}
ELSEWHERE = {
    "litellm_budget_table",
    "total_spend",
    "budget_reset_at",
    "org_id",
    "status",
    "model_max_budget_usage",
}


def without(info: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in info.items() if name not in STAMPS | ELSEWHERE | set(names)}


# --- sent, null and left out -------------------------------------------------------------------------------


@pytest.mark.parametrize("field", PLAIN)
def test_a_sent_setting_changes_and_nothing_else_does(shared_api: Api, field: str):
    made = shared_api.generate()
    before = shared_api.info(made["key"])

    after = changed(shared_api, made["key"], **{field: PLAIN[field]})

    assert after[field] == PLAIN[field]
    assert without(after, field) == without(before, field)
    changed(shared_api, made["key"], key_alias=None)  # others of this module take the same one


@pytest.mark.parametrize("field", PLAIN)
def test_null_brings_back_the_default(shared_api: Api, field: str):
    made = shared_api.generate(**PLAIN)

    after = changed(shared_api, made["key"], **{field: None})

    assert after[field] == DEFAULTS[field]
    shared_api.post("/key/delete", {"keys": [made["key"]]})


@pytest.mark.parametrize("field", FOLDED)
def test_a_folded_setting_changes_its_own_entry_and_null_removes_it(shared_api: Api, field: str):
    made = shared_api.generate(metadata={"own": 1}, tags=["old"])
    others = {"own": 1, **({} if field == "tags" else {"tags": ["old"]})}

    set_to = changed(shared_api, made["key"], **{field: FOLDED[field]})
    removed = changed(shared_api, made["key"], **{field: None})

    assert set_to["metadata"] == {**others, field: FOLDED[field]}
    assert removed["metadata"] == others


def test_everything_at_once_is_changed_and_then_cleared(api: Api):
    made = api.generate()

    full = changed(api, made["key"], **ALL)
    empty = changed(api, made["key"], **dict.fromkeys(ALL))

    expected = {**PLAIN, "metadata": {**PLAIN["metadata"], **FOLDED}}
    assert {name: full[name] for name in PLAIN} == expected
    assert {name: empty[name] for name in DEFAULTS} == DEFAULTS
    assert (empty["expires"], empty["budget_reset_at"]) == (None, None)


def test_a_request_that_names_a_key_and_nothing_else_changes_nothing_else(api: Api, clock: MovableClock):
    made = api.generate(**PLAIN, **FOLDED)
    before = api.info(made["key"])
    clock.advance(1)

    after = changed(api, made["key"])

    assert without(after) == without(before)
    assert after["updated_at"] == after["settings_updated_at"] == "2026-11-18T13:47:34.000000Z"


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        ("key_alias", None),
        ("user_id", None),
        ("team_id", "the team"),  # as in LiteLLM, "" leaves the team as it is
        ("organization_id", None),
        ("budget_id", None),
        ("max_budget", None),
        ("soft_budget", None),
    ],
)
def test_an_empty_text_clears_but_for_the_team(api: Api, services: Services, field: str, shown: str | None):
    tier, organization = add_tier(services.database, "gold"), add_organization(services.database, "acme")
    made = api.generate(
        key_alias="a", user_id="u", team_id="the team", budget_id=tier, organization_id=organization,
        max_budget=1, soft_budget=1,
    )  # fmt: skip

    after = changed(api, made["key"], **{field: ""})

    assert after[field] == shown


def test_sent_metadata_replaces_the_stored_and_folded_settings_go_on_top(api: Api):
    made = api.generate(metadata={"old": 1}, tags=["old"], guardrails=["old"])

    after = changed(api, made["key"], metadata={"new": 2}, tags=["new"])

    assert after["metadata"] == {"new": 2, "tags": ["new"]}


@pytest.mark.parametrize("empty", [{"tags": []}, {"model_rpm_limit": {}}])
def test_an_empty_folded_setting_is_kept_as_empty(shared_api: Api, empty: dict[str, Any]):
    made = shared_api.generate(tags=["a"], model_rpm_limit={"m": 1})

    after = changed(shared_api, made["key"], **empty)

    assert after["metadata"].items() >= empty.items()


# --- which key ---------------------------------------------------------------------------------------------


def test_a_key_is_found_by_plaintext_hash_and_alias(api: Api):
    made = api.generate(key_alias="bot")

    by_key = update(api, made["key"], rpm_limit=1)
    by_hash = update(api, made["token"], rpm_limit=2)
    by_alias = api.post("/key/update", {"key_alias": "bot", "rpm_limit": 3})
    by_alias_beside_null = api.post("/key/update", {"key": None, "key_alias": "bot", "rpm_limit": 4})

    assert [a.body["key"] for a in (by_key, by_hash)] == [made["key"], made["token"]]
    assert [a.body["key"] for a in (by_alias, by_alias_beside_null)] == [made["token"]] * 2
    assert [a.body["rpm_limit"] for a in (by_key, by_hash, by_alias, by_alias_beside_null)] == [1, 2, 3, 4]
    assert api.info(made["key"])["key_alias"] == "bot"


def test_the_answer_is_the_row_as_it_is_now(api: Api):
    made = api.generate()

    answer = update(api, made["key"], max_budget=2)

    info = api.info(made["key"])
    assert answer.body == {"key": made["key"], "token": made["token"], **info}


@pytest.mark.parametrize(
    ("named", "param"),
    [({"key": "sk-unknown-key-0000"}, "key"), ({"key": "0" * 64}, "key"), ({"key_alias": "nobody"}, "key_alias")],
)
def test_an_unknown_key_is_not_found(shared_api: Api, named: dict[str, str], param: str):
    answer = shared_api.post("/key/update", {**named, "rpm_limit": 1})

    assert answer.summary == (404, "not_found_error", param)
    assert "not found" in answer.error["message"]


def test_the_master_key_is_no_key_to_update(shared_api: Api):
    answer = update(shared_api, MASTER_KEY, rpm_limit=1)

    assert answer.summary == (400, "invalid_request_error", "key")


# --- aliases -----------------------------------------------------------------------------------------------


def test_a_taken_alias_is_refused_by_name_and_nothing_is_changed(api: Api, services: Services):
    api.generate(key_alias="taken")
    made = api.generate(key_alias="mine")

    with unchanged(services.database):
        answer = update(api, made["key"], key_alias="taken", object_permission={"models": ["a"]}, spend=5)

    assert answer.summary == (400, "bad_request_error", "key_alias")
    assert "'taken'" in answer.error["message"]


def test_an_alias_may_be_kept_and_one_that_was_given_up_is_free(api: Api):
    made = api.generate(key_alias="first")

    assert update(api, made["key"], key_alias="first").status == 200
    assert update(api, made["key"], key_alias="second").status == 200
    assert api.generate(key_alias="first")["key_alias"] == "first"


def test_a_misleading_alias_is_refused(shared_api: Api):
    made = shared_api.generate()

    answer = update(shared_api, made["key"], key_alias="a\nb")

    assert answer.summary == (400, "bad_request_error", "key_alias")


# --- effects and records -----------------------------------------------------------------------------------


def test_blocking_by_update_is_felt_by_the_next_request(api: Api):
    key = api.generate()["key"]
    assert api.get("/key/info", key).status == 200

    changed(api, key, blocked=True)
    refused = api.get("/key/info", key)
    changed(api, key, blocked=False)

    assert refused.summary == (401, "auth_error", None)
    assert api.get("/key/info", key).status == 200


def test_routes_that_are_taken_away_are_refused_at_once(api: Api):
    key = api.generate()["key"]
    assert api.get("/key/info", key).status == 200

    changed(api, key, allowed_routes=["/models"])

    assert api.get("/key/info", key).status == 403
    assert api.get("/models", key).status == 200


def test_models_that_change_are_listed_at_once(api: Api):
    key = api.generate(models=["a"])["key"]
    before = api.get("/models", key).body["data"]

    changed(api, key, models=["b", "c"])

    after = api.get("/models", key).body["data"]
    assert ([model["id"] for model in before], [model["id"] for model in after]) == (["a"], ["b", "c"])


@pytest.mark.parametrize("field", ["new_key", "grace_period", "no_such_field"])
def test_what_is_no_field_of_an_update_is_ignored_and_named(shared_api: Api, field: str):
    made = shared_api.generate()

    answer = update(shared_api, made["key"], **{field: "x"})

    assert answer.status == 200
    assert answer.headers["x-keyledger-ignored-fields"] == field


def test_a_key_type_changes_nothing_after_birth(shared_api: Api):
    made = shared_api.generate(key_type="llm_api")

    after = changed(shared_api, made["key"], key_type="management")

    assert (after["key_type"], after["allowed_routes"]) == ("llm_api", ["llm_api_routes"])


def test_an_invitation_that_is_asked_for_is_an_event(api: Api, services: Services):
    made = api.generate()

    changed(api, made["key"], send_invite_email=True)

    kinds = [event["kind"] for event in rows(services.database, events)]
    assert sorted(kinds) == ["invite_mail", "key_created", "key_updated"]


def test_the_audit_holds_the_fields_that_changed_before_and_after(api: Api, services: Services):
    made = api.generate(key_alias="old", rpm_limit=1, tpm_limit=7)

    changed(api, made["key"], key_alias="new", rpm_limit=2, tpm_limit=7)

    row = rows(services.database, audit)[-1]
    assert (row["action"], row["entity_id"]) == ("update", made["key_id"])
    assert row["before"] == {"key_alias": "old", "rpm_limit": 1}
    assert row["after"] == {"key_alias": "new", "rpm_limit": 2}


def test_the_audit_masks_secrets_of_callbacks_and_nothing_else(api: Api, services: Services):
    made = api.generate()
    variables = {"langfuse_secret_key": "very-secret", "langfuse_host": "https://example.com"}

    changed(api, made["key"], metadata={"logging": [{"callback_name": "langfuse", "callback_vars": variables}]})

    shown = rows(services.database, audit)[-1]["after"]["metadata"]["logging"][0]["callback_vars"]
    assert shown == {"langfuse_secret_key": "****", "langfuse_host": "https://example.com"}


def test_a_service_account_stays_what_it_is(api: Api):
    made = api.generate(team_id="t", metadata={"service_account_id": "robot", "a": 1})

    kept = changed(api, made["key"], metadata={"b": 2})
    answer = update(api, made["key"], metadata={"service_account_id": "other"})

    assert kept["metadata"] == {"service_account_id": "robot", "b": 2}
    assert answer.summary == (400, "invalid_request_error", "metadata")

"""POST /key/update: a merge patch. What is sent changes, null means the default, and what is not sent stays."""

from typing import Any

import pytest

from app.container import Services
from app.models import audit, budgets, ledger, object_permissions, outbox
from tests.api.settings import DEFAULTS, FOLDED, LENGTHS, NO_LENGTHS, NO_MONEY, NO_WINDOWS, PLAIN, WINDOWS
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
from tests.factories import NANOS, add_organization, add_team, add_tier, add_user, rows, unchanged

# What every write moves.
STAMPS = {"updated_at", "settings_updated_at", "updated_by"}
ALL = {**PLAIN, **FOLDED, "duration": "30d", "budget_duration": "30d"}
ELSEWHERE = {"litellm_budget_table", "total_spend", "budget_reset_at", "org_id", "status"}


def update(api: Api, key: str, **fields: Any) -> Answer:
    return api.post("/key/update", {"key": key, **fields})


def changed(api: Api, key: str, **fields: Any) -> dict[str, Any]:
    """The key after an update that must succeed."""
    answer = update(api, key, **fields)
    assert answer.status == 200, answer
    return api.info(key)


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

    expected = PLAIN[field] if field == "spend" else DEFAULTS[field]
    assert after[field] == expected
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
    assert {name: empty[name] for name in DEFAULTS} == {**DEFAULTS, "spend": PLAIN["spend"]}
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


# --- time --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "ends"), LENGTHS.items())
def test_a_duration_counts_from_now(shared_api: Api, length: str, ends: str):
    made = shared_api.generate(duration="2d")

    assert changed(shared_api, made["key"], duration=length)["expires"] == ends


@pytest.mark.parametrize(("sent", "expires"), [(None, None), ("-1", None), ("", "2026-11-20T13:47:33.000000Z")])
def test_no_duration_is_no_expiry_and_an_empty_one_no_change(
    shared_api: Api, sent: str | None, expires: str | None
):
    made = shared_api.generate(duration="2d")

    assert changed(shared_api, made["key"], duration=sent)["expires"] == expires


def test_an_expired_key_that_is_given_time_works_again(api: Api, clock: MovableClock):
    key = api.generate(duration="1s")["key"]
    clock.advance(1)
    assert api.get("/key/info", key).status == 401

    update(api, key, duration="1h")

    assert api.get("/key/info", key).status == 200


@pytest.mark.parametrize("length", NO_LENGTHS)
def test_a_duration_that_cannot_be_read_whole_changes_nothing(
    shared_api: Api, shared_services: Services, length: str
):
    made = shared_api.generate(duration="2d")

    with unchanged(shared_services.database):
        answer = update(shared_api, made["key"], duration=length, rpm_limit=5)

    assert answer.summary == (400, "invalid_request_error", "duration")


@pytest.mark.parametrize(("window", "reset"), WINDOWS.items())
def test_a_budget_duration_is_armed_now(shared_api: Api, window: str, reset: str):
    made = shared_api.generate()

    assert changed(shared_api, made["key"], budget_duration=window)["budget_reset_at"] == reset


@pytest.mark.parametrize("window", NO_WINDOWS)
def test_a_budget_duration_that_is_no_window_changes_nothing(
    shared_api: Api, shared_services: Services, window: str
):
    made = shared_api.generate(budget_duration="1d")

    with unchanged(shared_services.database):
        answer = update(shared_api, made["key"], budget_duration=window)

    assert answer.summary == (400, "invalid_request_error", "budget_duration")


def test_the_same_window_again_does_not_drift(api: Api, clock: MovableClock):
    made = api.generate(budget_duration="2d", spend=3)
    clock.advance(3600 * 24)

    after = changed(api, made["key"], budget_duration="2d")

    assert (after["budget_reset_at"], after["spend"]) == ("2026-11-20T00:00:00.000000Z", 3)


# --- money -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["max_budget", "soft_budget", "spend"])
@pytest.mark.parametrize("amount", NO_MONEY)
def test_an_amount_that_no_budget_can_be_changes_nothing(
    shared_api: Api, shared_services: Services, field: str, amount: str
):
    made = shared_api.generate(max_budget=1)

    with unchanged(shared_services.database):
        body = f'{{"key": "{made["key"]}", "{field}": {amount}}}'
        answer = shared_api.call("POST", "/key/update", data=body.encode())

    assert answer.summary == (400, "invalid_request_error", field)


def test_a_set_spend_is_a_correction_and_lifetime_moves_with_it(api: Api, services: Services):
    made = api.generate(spend=2)

    after = changed(api, made["key"], spend=0.5)

    assert (after["spend"], after["total_spend"]) == (0.5, 0.5)
    assert [row["amount_nanos"] for row in rows(services.database, ledger)] == [2 * NANOS, -1_500_000_000]
    assert rows(services.database, ledger)[1]["actor"] == "default_user_id"


def test_a_window_that_is_armed_late_starts_at_zero_and_one_that_goes_leaves_the_spend(api: Api):
    made = api.generate(spend=2)

    armed = changed(api, made["key"], budget_duration="1d")
    spent = changed(api, made["key"], spend=3)
    moved = changed(api, made["key"], budget_duration="30d")
    gone = changed(api, made["key"], budget_duration=None)

    assert [info["spend"] for info in (armed, spent, moved, gone)] == [0, 3, 3, 3]
    assert [info["total_spend"] for info in (armed, spent, moved, gone)] == [2, 5, 5, 5]
    assert gone["budget_reset_at"] is None


def test_a_soft_budget_never_touches_a_shared_tier(api: Api, services: Services):
    tier = add_tier(services.database, "gold", soft_budget_nanos=40 * NANOS)
    made, other = api.generate(budget_id=tier), api.generate(budget_id=tier)
    before = rows(services.database, budgets)

    own = changed(api, made["key"], soft_budget=3)
    cleared = changed(api, made["key"], soft_budget=None)

    assert (own["soft_budget"], own["budget_id"]) == (3, tier)
    assert (cleared["soft_budget"], api.info(other["key"])["soft_budget"]) == (40, 40)
    assert rows(services.database, budgets) == before


def test_a_soft_budget_that_spend_reaches_leaves_one_event_per_threshold(api: Api, services: Services):
    made = api.generate(soft_budget=2)

    for spend in (1, 2, 3):
        changed(api, made["key"], spend=spend)
    changed(api, made["key"], soft_budget=2.5)

    events = rows(services.database, outbox, kind="soft_budget_crossed")
    assert sorted(event["payload"]["soft_budget"] for event in events) == [2, 2.5]


def test_a_window_that_is_kept_runs_on_and_a_new_one_is_armed(api: Api, clock: MovableClock):
    made = api.generate(budget_limits=[{"budget_duration": "2d", "max_budget": 1}])
    clock.advance(3600 * 24)

    limits = [{"budget_duration": "2d", "max_budget": 5}, {"budget_duration": "1d", "max_budget": 2}]
    after = changed(api, made["key"], budget_limits=limits)["budget_limits"]

    assert [(one["max_budget"], one["reset_at"]) for one in after] == [
        (5, "2026-11-20T00:00:00+00:00"),
        (2, "2026-11-20T00:00:00+00:00"),
    ]


@pytest.mark.parametrize("nothing", [None, []])
def test_no_windows_clear_those_there_are(shared_api: Api, nothing: list[Any] | None):
    made = shared_api.generate(budget_limits=[{"budget_duration": "2d", "max_budget": 1}])

    assert changed(shared_api, made["key"], budget_limits=nothing)["budget_limits"] is None


# --- a temporary increase ----------------------------------------------------------------------------------

RAISED = {"temp_budget_increase": 5.5, "temp_budget_expiry": "2026-11-19T00:00:00Z"}


@pytest.mark.parametrize(
    "until", ["2026-11-19T00:00:00Z", "2026-11-19", "2026-11-19T00:00:00", "2026-11-19T02:00:00+02:00"]
)
def test_a_temporary_increase_is_kept_with_its_end_in_utc(shared_api: Api, until: str):
    made = shared_api.generate(max_budget=1, metadata={"own": 1})

    after = changed(shared_api, made["key"], temp_budget_increase=5.5, temp_budget_expiry=until)

    expected = {"own": 1, "temp_budget_increase": 5.5, "temp_budget_expiry": "2026-11-19T00:00:00+00:00"}
    assert after["metadata"] == expected
    assert after["max_budget"] == 1


@pytest.mark.parametrize("field", RAISED)
def test_the_null_of_either_half_ends_a_temporary_increase(shared_api: Api, field: str):
    made = shared_api.generate(max_budget=1)
    changed(shared_api, made["key"], **RAISED)

    assert changed(shared_api, made["key"], **{field: None})["metadata"] == {}


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"temp_budget_increase": 0}, "temp_budget_increase"),
        ({"temp_budget_increase": -1}, "temp_budget_increase"),
        ({"temp_budget_increase": "NaN"}, "temp_budget_increase"),
        ({"temp_budget_increase": 1e7}, "temp_budget_increase"),
        ({"temp_budget_expiry": "2026-11-18T13:47:33Z"}, "temp_budget_expiry"),
        ({"temp_budget_expiry": "2020-01-01"}, "temp_budget_expiry"),
    ],
)
def test_a_temporary_increase_that_raises_nothing_is_refused(shared_api: Api, wrong: dict[str, Any], param: str):
    made = shared_api.generate(max_budget=1)

    answer = update(shared_api, made["key"], **{**RAISED, **wrong})

    assert answer.summary == (400, "invalid_request_error", param)


def test_an_increase_that_hides_in_the_metadata_is_checked_like_the_field(shared_api: Api):
    made = shared_api.generate(max_budget=1)

    half = update(shared_api, made["key"], metadata={"temp_budget_increase": 5})
    unreadable = update(
        shared_api, made["key"], metadata={"temp_budget_increase": 5, "temp_budget_expiry": "whenever"}
    )

    assert (half.status, unreadable.status) == (422, 422)


# --- what it belongs to ------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["budget_id", "organization_id"])
def test_what_does_not_exist_cannot_be_referred_to(api: Api, services: Services, field: str):
    made = api.generate()

    with unchanged(services.database):
        answer = update(api, made["key"], **{field: "nothing"}, rpm_limit=1)

    assert answer.summary == (400, "invalid_request_error", field)


def test_a_tier_that_is_linked_later_gives_its_window(api: Api, services: Services):
    tier = add_tier(services.database, "daily", budget_duration="1d")
    made = api.generate(spend=2)

    linked = changed(api, made["key"], budget_id=tier)

    assert (linked["budget_reset_at"], linked["spend"]) == ("2026-11-19T00:00:00.000000Z", 0)


def test_a_key_of_a_team_without_a_row_can_be_changed_and_freed(api: Api):
    made = api.generate(team_id="no such team")

    assert changed(api, made["key"], rpm_limit=1)["team_id"] == "no such team"
    assert changed(api, made["key"], team_id=None)["team_id"] is None


@pytest.mark.parametrize(
    ("key", "param"),
    [
        ({"models": ["gpt-4o"]}, "models"),
        ({"tpm_limit": 11}, "tpm_limit"),
        ({"rpm_limit": 11}, "rpm_limit"),
        ({"user_id": "stranger"}, "user_id"),
    ],
)
def test_a_key_that_does_not_fit_a_team_stays_out(api: Api, services: Services, key: dict[str, Any], param: str):
    add_team(services.database, "team", {"member": "user"}, models=["o3"], tpm_limit=10, rpm_limit=10)
    made = api.generate(**key)

    with unchanged(services.database):
        answer = update(api, made["key"], team_id="team")

    assert answer.summary == (403, "auth_error", param)


def test_a_key_that_fits_a_team_moves_in(api: Api, services: Services):
    add_user(services.database, "member")
    add_team(services.database, "team", {"member": "user"}, models=["o3"], tpm_limit=10, rpm_limit=10)
    made = api.generate(models=["o3"], tpm_limit=10, rpm_limit=10, user_id="member")

    assert changed(api, made["key"], team_id="team")["team_id"] == "team"


def test_an_object_permission_is_merged_into_the_one_there_is(api: Api, services: Services):
    made = api.generate(object_permission={"vector_stores": ["a"], "models": ["m"]})
    before = api.info(made["key"])["object_permission_id"]

    after = changed(api, made["key"], object_permission={"vector_stores": ["b"], "models": None})

    assert after["object_permission"]["vector_stores"] == ["b"]
    assert after["object_permission"]["models"] == []
    assert after["object_permission_id"] == before
    assert len(rows(services.database, object_permissions)) == 1


@pytest.mark.parametrize("nothing", [None, {}])
def test_an_object_permission_of_nothing_takes_the_one_there_is_away(
    api: Api, services: Services, nothing: dict[str, Any] | None
):
    made = api.generate(object_permission={"vector_stores": ["a"]})

    after = changed(api, made["key"], object_permission=nothing)

    assert (after["object_permission"], after["object_permission_id"]) == (None, None)
    assert rows(services.database, object_permissions) == []


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

    kinds = [event["kind"] for event in rows(services.database, outbox)]
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

"""POST /key/update: how long a key lives, what it may spend, and what it belongs to."""

from typing import Any

import pytest

from app.container import Services
from app.models import budgets, events, ledger, object_permissions
from tests.api.changing import changed, update
from tests.api.settings import LENGTHS, NO_LENGTHS, NO_MONEY, NO_WINDOWS, WINDOWS
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import NANOS, add_team, add_tier, add_user, rows, unchanged
from tests.services.capped import fold, look

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
        fold(services)
    changed(api, made["key"], soft_budget=2.5)
    look(services)

    crossings = rows(services.database, events, kind="soft_budget_crossed")
    assert sorted(event["payload"]["soft_budget"] for event in crossings) == [2, 2.5]


def test_a_window_that_is_kept_runs_on_and_a_new_one_is_armed(api: Api, clock: MovableClock):
    made = api.generate(budget_limits=[{"budget_duration": "2d", "max_budget": 1}])
    clock.advance(3600 * 24)

    limits = [{"budget_duration": "2d", "max_budget": 5}, {"budget_duration": "1d", "max_budget": 2}]
    after = changed(api, made["key"], budget_limits=limits)["budget_limits"]

    assert [(one["max_budget"], one["reset_at"]) for one in after] == [
        (5, "2026-11-20T00:00:00.000000Z"),
        (2, "2026-11-20T00:00:00.000000Z"),
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

    expected = {"own": 1, "temp_budget_increase": 5.5, "temp_budget_expiry": "2026-11-19T00:00:00.000000Z"}
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


@pytest.mark.parametrize(
    ("of_team", "of_key"),
    [
        ([], ["o3"]),
        (["o3"], []),
        (["o3"], ["all-team-models"]),
        (["*"], ["o3"]),
        (["all-proxy-models", "x"], ["o3", "*"]),
        (["gpt-*"], ["gpt-*"]),
    ],
)
def test_models_that_a_team_allows_in_any_form_fit_it(
    shared_api: Api, shared_services: Services, of_team: list[str], of_key: list[str]
):
    team = add_team(shared_services.database, f"team of {of_team} for {of_key}", models=of_team)
    made = shared_api.generate(models=of_key)

    assert changed(shared_api, made["key"], team_id=team)["models"] == of_key


def test_a_key_that_fits_a_team_moves_in(api: Api, services: Services):
    add_user(services.database, "member")
    add_team(services.database, "team", {"member": "user"}, models=["o3"], tpm_limit=10, rpm_limit=10)
    made = api.generate(models=["o3"], tpm_limit=10, rpm_limit=10, user_id="member")

    assert changed(api, made["key"], team_id="team")["team_id"] == "team"


def test_a_key_that_is_put_into_a_team_falls_with_it_and_rises_when_it_leaves(api: Api, services: Services):
    add_team(services.database, "blocked", blocked=True)
    key = api.generate()["key"]
    assert api.get("/key/info", key).status == 200

    changed(api, key, team_id="blocked")
    inside = api.get("/key/info", key)
    changed(api, key, team_id=None)

    assert inside.summary == (401, "auth_error", None)
    assert "Team=blocked is blocked" in inside.error["message"]
    assert api.get("/key/info", key).status == 200


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

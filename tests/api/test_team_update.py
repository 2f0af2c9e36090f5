"""POST /team/update: a merge patch of a team, of what its organization allows and of the tier its members share."""

from typing import Any

import pytest

from app.container import Services
from app.domain.teams import member_id
from app.models import audit, budgets, object_permissions, team_members
from tests.api.counting import statements
from tests.api.identities import TEAM
from tests.api.settings import NO_LENGTHS, NO_MONEY, NO_WINDOWS, WINDOWS
from tests.api.teams import DEFAULTS, FOLDED, PLAIN, add, change, changed, memberships, new, spend
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import (
    add_team,
    add_tier,
    rows,
    unchanged,
)

FIELDS = {**PLAIN, **FOLDED}


def without(team: dict[str, Any], *names: str) -> dict[str, Any]:
    moving = {"updated_at", "budget_reset_at", "model_max_budget_usage", *names}
    return {name: value for name, value in team.items() if name not in moving}


# --- sent, null and left out -------------------------------------------------------------------------------


@pytest.mark.parametrize("field", PLAIN)
def test_a_sent_setting_changes_and_nothing_else_does(shared_api: Api, field: str):
    before = new(shared_api)

    after = changed(shared_api, before["team_id"], **{field: PLAIN[field]})

    assert after[field] == PLAIN[field]
    assert without(after, field) == without(before, field)


@pytest.mark.parametrize("field", PLAIN)
def test_null_brings_back_the_default(shared_api: Api, field: str):
    made = new(shared_api, **PLAIN)

    after = changed(shared_api, made["team_id"], **{field: None})

    assert after[field] == DEFAULTS[field]
    assert without(after, field) == without(made, field)


@pytest.mark.parametrize("field", FOLDED)
def test_a_folded_setting_changes_its_own_entry_and_null_removes_it(shared_api: Api, field: str):
    made = new(shared_api, metadata={"own": 1})

    set_to = changed(shared_api, made["team_id"], **{field: FOLDED[field]})
    removed = changed(shared_api, made["team_id"], **{field: None})

    assert set_to["metadata"] == {"own": 1, field: FOLDED[field]}
    assert removed["metadata"] == {"own": 1}


def test_everything_at_once_is_changed_and_then_cleared(api: Api):
    new(api, team_id=TEAM)

    full = changed(api, TEAM, **FIELDS)
    empty = changed(api, TEAM, **dict.fromkeys(FIELDS))

    assert {name: full[name] for name in PLAIN} == {**PLAIN, "metadata": {**PLAIN["metadata"], **FOLDED}}
    assert {name: empty[name] for name in DEFAULTS} == DEFAULTS


def test_sent_metadata_replaces_the_stored_and_the_members_tier_is_not_taken_from_it(api: Api):
    made = new(api, team_id=TEAM, metadata={"old": 1}, tags=["old"], team_member_budget=1)

    after = changed(api, TEAM, metadata={"new": 2, "team_member_budget_id": "rich"}, tags=["new"])

    kept = made["metadata"]["team_member_budget_id"]
    assert after["metadata"] == {"new": 2, "tags": ["new"], "team_member_budget_id": kept}


def test_model_aliases_and_several_windows_change_and_are_cleared(api: Api):
    new(api, team_id=TEAM)

    full = changed(
        api, TEAM, model_aliases={"fast": "m"}, budget_limits=[{"budget_duration": "1d", "max_budget": 1}]
    )
    running = changed(api, TEAM, budget_limits=[{"budget_duration": "1d", "max_budget": 2}])
    empty = changed(api, TEAM, model_aliases=None, budget_limits=None)

    assert full["litellm_model_table"] == {"model_aliases": {"fast": "m"}}
    reset = full["budget_limits"][0]["reset_at"]
    assert running["budget_limits"] == [{"budget_duration": "1d", "max_budget": 2, "reset_at": reset}]
    assert (empty["litellm_model_table"], empty["budget_limits"]) == (None, None)


def test_an_object_permission_is_patched_entry_by_entry_and_null_removes_its_row(api: Api, services: Services):
    new(api, team_id=TEAM, object_permission={"vector_stores": ["v"], "agents": ["a"]})

    patched = changed(api, TEAM, object_permission={"agents": None, "models": ["m"]})
    removed = changed(api, TEAM, object_permission=None)

    permission = patched["object_permission"]
    assert (permission["vector_stores"], permission["agents"], permission["models"]) == (["v"], [], ["m"])
    assert (removed["object_permission"], removed["object_permission_id"]) == (None, None)
    assert rows(services.database, object_permissions) == []


def test_unknown_and_unenforced_fields_are_named_and_members_are_not_replaced(api: Api):
    new(api, team_id=TEAM, members_with_roles=[{"user_id": "a", "role": "user"}])

    answer = change(api, TEAM, members_with_roles=[], spend=5, team_member_key_duration="1d")

    assert answer.headers["x-keyledger-ignored-fields"] == "members_with_roles,spend"
    assert answer.headers["x-keyledger-unenforced-fields"] == "team_member_key_duration"
    assert answer.body["data"]["members"] == ["a"]


# --- windows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spelling", "reset_at"), WINDOWS.items())
def test_another_duration_arms_the_window_of_the_team(shared_api: Api, spelling: str, reset_at: str):
    made = new(shared_api)

    assert changed(shared_api, made["team_id"], budget_duration=spelling)["budget_reset_at"] == reset_at


def test_an_armed_window_starts_at_zero_and_another_one_takes_its_spend_along(api: Api, services: Services):
    new(api, team_id=TEAM)
    spend(services, "team", TEAM, 2)

    armed = changed(api, TEAM, budget_duration="1d")
    spend(services, "team", TEAM, 3)
    longer = changed(api, TEAM, budget_duration="30d")
    opened = changed(api, TEAM, budget_duration=None)

    assert [team["spend"] for team in (armed, longer, opened)] == [0, 3, 3]
    assert (longer["budget_reset_at"][:10], opened["budget_reset_at"]) == ("2026-12-01", None)


def test_the_same_duration_again_moves_no_window(api: Api, clock: MovableClock):
    new(api, team_id=TEAM, budget_duration="3d")
    clock.advance(24 * 3600)

    again = changed(api, TEAM, budget_duration="3d")

    assert again["budget_reset_at"] == "2026-11-21T00:00:00.000000Z"


# --- the tier that the members share -----------------------------------------------------------------------


def test_the_members_tier_is_patched_and_all_who_share_it_feel_it(api: Api, services: Services):
    new(api, team_id=TEAM, team_member_budget=5, team_member_rpm_limit=3)
    add(api, TEAM, [{"user_id": "sharing", "role": "user"}])
    add(api, TEAM, [{"user_id": "own", "role": "user"}], max_budget_in_team=1)
    spend(services, "member", member_id(TEAM, "sharing"), 2)

    after = changed(api, TEAM, team_member_budget=7, team_member_rpm_limit=None, team_member_budget_duration="1d")

    found = memberships(api, TEAM)
    tier = after["team_member_budget_table"]
    assert (tier["max_budget"], tier["rpm_limit"], tier["budget_duration"]) == (7, None, "1d")
    assert tier["budget_reset_at"] == "2026-11-19T00:00:00.000000Z"
    assert (found["sharing"]["litellm_budget_table"], found["sharing"]["budget_source"]) == (tier, "team")
    assert (found["sharing"]["spend"], found["sharing"]["budget_reset_at"][:10]) == (0, "2026-11-19")
    assert (found["own"]["litellm_budget_table"]["max_budget"], found["own"]["budget_reset_at"]) == (1, None)


def test_a_first_tier_is_that_of_every_member_without_one(api: Api, services: Services):
    new(api, team_id=TEAM)
    add(api, TEAM, [{"user_id": "plain", "role": "user"}])
    add(api, TEAM, [{"user_id": "own", "role": "user"}], max_budget_in_team=1)

    after = changed(api, TEAM, team_member_budget=5, team_member_budget_duration="1d")

    found = memberships(api, TEAM)
    assert after["metadata"] == {"team_member_budget_id": after["team_member_budget_table"]["budget_id"]}
    assert (found["plain"]["budget_source"], found["plain"]["budget_reset_at"][:10]) == ("team", "2026-11-19")
    assert found["own"]["budget_source"] == "member"


def test_nulls_for_a_tier_that_is_not_there_make_none(api: Api, services: Services):
    new(api, team_id=TEAM)

    assert changed(api, TEAM, team_member_budget=None)["team_member_budget_table"] is None
    assert rows(services.database, budgets) == []


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("max_budget", amount) for amount in NO_MONEY),
        *(("soft_budget", amount) for amount in NO_MONEY),
        *(("team_member_budget", amount) for amount in NO_MONEY),
        *(("budget_duration", spelling) for spelling in NO_WINDOWS),
        *(("team_member_budget_duration", spelling) for spelling in NO_WINDOWS),
        *(("team_member_key_duration", spelling) for spelling in NO_LENGTHS if not spelling[:1].isdigit()),
        ("model_max_budget", {"gpt-4o": 1}),
        ("budget_limits", [{"budget_duration": "soon", "max_budget": 1}]),
        ("soft_budget", 3),
        ("organization_id", "nowhere"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name_and_changes_nothing(
    shared_api: Api, shared_services: Services, field: str, value: Any
):
    made = new(shared_api, max_budget=3)

    with unchanged(shared_services.database):
        answer = change(shared_api, made["team_id"], team_alias="other", **{field: value})

    assert answer.summary == (400, "invalid_request_error", field)
    assert field in answer.error["message"]


@pytest.mark.parametrize(
    ("sent", "location"),
    [
        ({}, ["team_id"]),
        ({"team_id": None}, ["team_id"]),
        ({"team_id": 7}, ["team_id"]),
        ({"team_id": TEAM, "models": "m"}, ["models"]),
        ({"team_id": TEAM, "tpm_limit": -1}, ["tpm_limit"]),
        ({"team_id": TEAM, "rpm_limit": 2**63}, ["rpm_limit"]),
        ({"team_id": TEAM, "max_parallel_requests": 2**31}, ["max_parallel_requests"]),
        ({"team_id": TEAM, "blocked": "perhaps"}, ["blocked"]),
        ({"team_id": TEAM, "metadata": []}, ["metadata"]),
        ({"team_id": TEAM, "team_alias": "\x00"}, ["team_alias"]),
        ({"team_id": TEAM, "object_permission": []}, ["object_permission"]),
        ({"team_id": TEAM, "model_rpm_limit": {"m": "x"}}, ["model_rpm_limit", "m"]),
    ],
)
def test_a_value_of_the_wrong_type_does_not_fit_the_schema(
    shared_api: Api, sent: dict[str, Any], location: list[str]
):
    answer = shared_api.post("/team/update", sent)

    assert (answer.status, answer.body["detail"][0]["loc"][: len(location) + 1]) == (422, ["body", *location])


def test_a_soft_budget_stays_below_the_hard_one_that_stands(api: Api):
    new(api, team_id=TEAM, max_budget=5, soft_budget=4)

    assert change(api, TEAM, max_budget=4).summary == (400, "invalid_request_error", "soft_budget")
    assert change(api, TEAM, max_budget=4, soft_budget=3).status == 200


# --- effects and records -----------------------------------------------------------------------------------


def test_blocking_by_update_is_felt_by_the_next_request_of_every_key(api: Api):
    new(api, team_id=TEAM)
    key = api.generate(team_id=TEAM)["key"]
    assert api.get("/models", key).status == 200

    changed(api, TEAM, blocked=True)
    refused = api.get("/models", key)
    changed(api, TEAM, blocked=None)

    assert refused.summary == (401, "auth_error", None)
    assert api.get("/models", key).status == 200


def test_the_audit_holds_the_fields_that_changed_before_and_after(api: Api, services: Services):
    new(api, team_id=TEAM, team_alias="old", rpm_limit=1)

    api.post(
        "/team/update",
        {"team_id": TEAM, "team_alias": "new", "rpm_limit": 1},
        headers={"litellm-changed-by": "eve"},
    )

    row = rows(services.database, audit)[-1]
    assert (row["action"], row["entity"], row["entity_id"], row["changed_by"]) == ("update", "team", TEAM, "eve")
    assert (row["before"], row["after"]) == ({"team_alias": "old"}, {"team_alias": "new"})


@pytest.mark.parametrize("members", [1, 30])
def test_statements_do_not_grow_with_the_members_and_their_windows(api: Api, services: Services, members: int):
    new(api, team_id=TEAM, team_member_budget=1)
    add(api, TEAM, [{"user_id": f"u{number}", "role": "user"} for number in range(members)])

    with statements(services.database) as of_alias:
        changed_alias = change(api, TEAM, team_alias="new")
    with statements(services.database) as of_windows:
        changed_windows = change(api, TEAM, team_member_budget_duration="1d", budget_duration="1d")

    assert (changed_alias.status, changed_windows.status) == (200, 200)
    assert (len(of_alias), len(of_windows)) == (8, 18)
    assert {member["budget_reset_at"][:10] for member in memberships(api, TEAM).values()} == {"2026-11-19"}


def test_a_team_that_only_keys_name_is_not_made_by_an_update(api: Api, services: Services):
    api.generate(team_id="without a row")

    with unchanged(services.database):
        answer = change(api, "without a row", max_budget=1)

    assert answer.summary == (404, "not_found_error", "team_id")


def test_a_tier_of_others_is_never_the_members_of_a_new_team(api: Api, services: Services):
    add_tier(services.database, "gold")
    add_team(services.database, TEAM, {"a": "user"})

    changed(api, TEAM, team_member_budget=1)

    (member,) = rows(services.database, team_members)
    assert member["budget_id"] not in {None, "gold"}

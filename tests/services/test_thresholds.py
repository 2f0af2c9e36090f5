"""Crossed thresholds: each is told once in its window, in the fold that crosses it, whatever is capped."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.container import Services
from app.dispatch import TaskName
from app.models import budget_state, budgets, events, keys, watched
from tests.api.counting import statements
from tests.clients import Api
from tests.clocks import START, MovableClock
from tests.factories import NANOS, add_tier, on_one_store, rows
from tests.services.capped import ALL, CAP, SCOPES, SOFT, STEPS, crossings, fold, look, of_key, settle, told

DAY = timedelta(days=1)
MIDNIGHT = START.replace(hour=0, minute=0, second=0)

each_scope = pytest.mark.parametrize("scope", SCOPES)


# --- each threshold of each scope ----------------------------------------------------------------------------


@each_scope
def test_each_threshold_of_each_scope_is_told_once_and_again_in_the_next_window(
    api: Api, services: Services, clock: MovableClock, scope: str
):
    capped = SCOPES[scope](api, services)
    for window in range(2):
        spent = 0.0
        for number, (spend, _, _) in enumerate(STEPS, start=1):
            settle(api, capped.key, spend - spent)
            spent = spend
            fold(services)

            assert told(services) == ALL * window + ALL[:number]
        settle(api, capped.key, 3)
        fold(services)
        look(services)

        assert told(services) == ALL * (window + 1)
        clock.advance(DAY)

    found = crossings(services)
    assert {(row["entity"], row["entity_id"]) for row in found} == {(capped.entity, capped.entity_id)}
    assert [row["payload"]["spend"] for row in found] == [spend for spend, _, _ in STEPS] * 2
    assert {(row["payload"]["max_budget"], row["payload"]["soft_budget"]) for row in found} == {(CAP, SOFT)}
    assert len({row["payload"]["window_start"] for row in found}) == 2


@each_scope
def test_one_charge_over_everything_tells_each_threshold(api: Api, services: Services, scope: str):
    capped = SCOPES[scope](api, services)

    settle(api, capped.key, 50)
    fold(services)

    assert told(services) == ALL


def test_a_key_tells_whose_it_is_by_the_names_that_people_know(api: Api, services: Services):
    api.post("/team/new", {"team_id": "t", "team_alias": "Search"})
    api.post("/user/new", {"user_id": "u", "user_email": "u@example.com", "auto_create_key": False})
    key = api.generate(key_alias="a", team_id="t", user_id="u", max_budget=CAP)

    settle(api, key["key"], 10)
    fold(services)

    whose = {"key_alias": "a", "team_alias": "Search", "user_email": "u@example.com", "token": key["token"]}
    for row in crossings(services):
        assert row["payload"] | whose == row["payload"]
        assert key["key"] not in str(row["payload"])


def test_a_keys_metadata_says_at_which_percentages_somebody_is_told(api: Api, services: Services):
    emails = {"50": ["a@example.com"], "90": ["b@example.com"]}
    key = api.generate(max_budget=CAP, metadata={"max_budget_alert_emails": emails})

    settle(api, key["key"], 9)
    fold(services)

    alerts = [row["payload"] for row in crossings(services, kind="max_budget_alert")]
    assert [(alert["percentage"], alert["max_budget_alert_emails"]) for alert in alerts] == [
        (50, {"50": ["a@example.com"]}),
        (90, {"90": ["b@example.com"]}),
    ]


def test_a_cap_counts_as_a_verdict_counts_it_with_its_temporary_increase(
    api: Api, services: Services, clock: MovableClock
):
    key = api.generate(max_budget=CAP)
    until = (clock.now() + timedelta(hours=1)).isoformat()
    api.post("/key/update", {"key": key["key"], "temp_budget_increase": 90, "temp_budget_expiry": until})
    settle(api, key["key"], 10)
    fold(services)
    during = told(services)
    clock.advance(timedelta(hours=1))

    services.jobs.run(TaskName.END_INCREASES, lambda: True)
    look(services)

    assert during == []
    assert told(services) == ALL[1:]
    assert len(rows(services.database, events, kind="increase_ended", entity="key")) == 1


@pytest.mark.parametrize("scope", ["member", "organization", "tier"])
def test_the_end_of_a_tiers_increase_tells_what_stands_crossed_of_all_that_it_caps(
    api: Api, services: Services, clock: MovableClock, scope: str
):
    capped = SCOPES[scope](api, services)
    (tier,) = {row["budget_id"] for row in rows(services.database, budgets) if row["max_budget_nanos"]}
    with services.database.transaction() as transaction:
        until = clock.now() + timedelta(hours=1)
        raised = {"temp_budget_increase_nanos": 90 * NANOS, "temp_budget_expiry": until}
        transaction.execute(update(budgets).values(soft_budget_nanos=None, **raised))
    settle(api, capped.key, 10)
    fold(services)
    look(services)
    during = told(services)
    clock.advance(timedelta(hours=1))

    ran = [services.jobs.run(TaskName.END_INCREASES, lambda: True) for _ in range(2)]
    look(services)

    assert (during, ran) == ([], [1, 0])
    assert told(services) == ALL[1:]
    (ended,) = rows(services.database, events, kind="increase_ended")
    assert (ended["entity"], ended["entity_id"]) == ("budget", tier)


# --- corrections -------------------------------------------------------------------------------------------


def test_a_correction_up_crosses_and_one_down_and_up_again_tells_nothing_twice(api: Api, services: Services):
    key = of_key(api, services).key
    for spend in (9, 0, 10, 1, 10):
        assert api.post("/key/update", {"key": key, "spend": spend}).status == 200
        fold(services)

    assert told(services) == ALL


def test_a_spend_that_was_reset_before_it_was_folded_has_crossed_all_the_same(api: Api, services: Services):
    key = of_key(api, services).key
    settle(api, key, 10)
    assert api.post(f"/key/{key}/reset_spend", {"reset_to": 0}).status == 200

    fold(services)

    assert told(services) == ALL


# --- late charges ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moved", [True, False], ids=["moved by the job", "moved by a charge"])
def test_a_charge_that_is_folded_after_its_window_has_passed_crosses_that_windows_thresholds(
    api: Api, services: Services, clock: MovableClock, *, moved: bool
):
    capped = of_key(api, services)
    settle(api, capped.key, 9)
    fold(services)
    settle(api, capped.key, 1)
    clock.set(MIDNIGHT + DAY + timedelta(minutes=1))
    if moved:
        services.jobs.run(TaskName.RESET_BUDGETS, lambda: True)
    settle(api, capped.key, 4)

    fold(services)
    settle(api, capped.key, 2, at=MIDNIGHT + timedelta(hours=23))
    fold(services)

    found = crossings(services)
    assert [(row["kind"], row["payload"]["percentage"]) for row in found] == ALL
    assert {row["payload"]["window_start"] for row in found} == {"2026-11-18T00:00:00.000000Z"}
    (state,) = rows(services.database, budget_state, scope="key")
    assert (state["window_spend_nanos"], state["lifetime_spend_nanos"]) == (4 * NANOS, 16 * NANOS)
    assert (state["previous_start"], state["previous_end"]) == (MIDNIGHT, MIDNIGHT + DAY)
    assert state["previous_spend_nanos"] == 12 * NANOS


@pytest.mark.parametrize("step_by_step", [True, False])
def test_of_several_windows_that_have_passed_the_last_one_is_the_one_before_however_they_were_moved(
    api: Api, services: Services, clock: MovableClock, *, step_by_step: bool
):
    capped = of_key(api, services)
    settle(api, capped.key, 1)
    fold(services)
    for _ in range(3):
        clock.advance(DAY)
        if step_by_step:
            services.jobs.run(TaskName.RESET_BUDGETS, lambda: True)
    services.jobs.run(TaskName.RESET_BUDGETS, lambda: True)

    settle(api, capped.key, 20, at=START)
    settle(api, capped.key, 8, at=START + 2 * DAY)
    fold(services)

    assert told(services) == ALL[:2]
    (state,) = rows(services.database, budget_state, scope="key")
    assert (state["window_spend_nanos"], state["lifetime_spend_nanos"]) == (0, 29 * NANOS)
    assert (state["previous_start"], state["previous_spend_nanos"]) == (MIDNIGHT + 2 * DAY, 8 * NANOS)


def test_what_was_charged_before_a_window_was_armed_belongs_to_none(
    api: Api, services: Services, clock: MovableClock
):
    key = api.generate(max_budget=CAP)["key"]
    clock.advance(2 * DAY)
    api.post("/key/update", {"key": key, "budget_duration": "1d"})

    settle(api, key, 10, at=START + DAY)
    fold(services)

    assert told(services) == []


def test_a_window_that_a_new_spelling_finds_passed_is_the_one_before(
    api: Api, services: Services, clock: MovableClock
):
    capped = of_key(api, services)
    settle(api, capped.key, 2.5)
    fold(services)
    settle(api, capped.key, 2.5)
    clock.advance(DAY)
    api.post("/key/update", {"key": capped.key, "budget_duration": "2d"})

    fold(services)

    assert told(services) == ALL[:1]
    (state,) = rows(services.database, budget_state, scope="key")
    assert (state["previous_start"], state["previous_end"]) == (MIDNIGHT, MIDNIGHT + DAY)
    assert (state["previous_spend_nanos"], state["window_spend_nanos"]) == (5 * NANOS, 0)


# --- changed caps ------------------------------------------------------------------------------------------


LOWER: dict[str, tuple[str, dict[str, Any]]] = {
    "key": ("/key/update", {"max_budget": CAP, "soft_budget": SOFT}),
    "tier": ("/budget/update", {"budget_id": "b", "max_budget": CAP, "soft_budget": SOFT}),
    "team": ("/team/update", {"team_id": "t", "max_budget": CAP, "soft_budget": SOFT}),
    "user": ("/user/update", {"user_id": "u", "max_budget": CAP}),
    "member": ("/team/member_update", {"team_id": "t", "user_id": "u", "max_budget_in_team": CAP}),
    "organization": ("/organization/update", {"max_budget": CAP, "soft_budget": SOFT}),
}


@each_scope
def test_a_cap_that_is_lowered_under_the_spend_tells_what_stands_crossed_of_an_idle_budget(
    api: Api, services: Services, scope: str
):
    capped = SCOPES[scope](api, services)
    path, lowered = LOWER[scope]
    if scope == "key":
        lowered = {"key": capped.key, **lowered}
    if scope == "organization":
        lowered = {"organization_id": capped.entity_id, **lowered}
    cap = "max_budget_in_team" if scope == "member" else "max_budget"
    raised = {name: value for name, value in lowered.items() if name != "soft_budget"} | {cap: 100}
    method = "PATCH" if scope == "organization" else "POST"
    assert api.call(method, path, json=raised).status == 200
    settle(api, capped.key, 10)
    fold(services)
    look(services)
    before = told(services)

    assert api.call(method, path, json=lowered).status == 200
    looks = [look(services) for _ in range(2)]

    assert before == ALL[:1]
    assert looks == [1, 0]
    assert told(services) == ALL
    assert {(row["entity"], row["entity_id"]) for row in crossings(services)} == {
        (capped.entity, capped.entity_id)
    }
    assert rows(services.database, watched) == []


@pytest.mark.parametrize("count", [3, 30])
def test_a_tier_that_is_lowered_tells_of_every_key_that_is_linked_in_as_many_statements(
    api: Api, services: Services, count: int
):
    add_tier(services.database, "gold", max_budget_nanos=100 * NANOS)
    made = [api.generate(budget_id="gold", spend=10) for _ in range(count)]
    own = api.generate(budget_id="gold", max_budget=50, spend=10)
    fold(services)

    with statements(services.database) as sent:
        assert api.post("/budget/update", {"budget_id": "gold", "max_budget": CAP}).status == 200
    # The keys of a batch, the members and organizations.
    assert len([statement for statement in sent if "INSERT INTO watched" in statement]) == 2
    with statements(services.database) as looked:
        look(services)

    for key in made:
        assert told(services, entity_id=key["key_id"]) == ALL[1:]
    assert told(services, entity_id=own["key_id"]) == []
    # Taken out, caps, accounts, what they have spent, events; and the record of the run.
    assert len(looked) == 6


def test_a_change_that_bears_on_no_cap_has_nobody_look(api: Api, services: Services):
    key = of_key(api, services).key
    look(services)

    for change in ({"tags": ["a"]}, {"max_budget": CAP}, {"rpm_limit": 5}, {"metadata": {"a": 1}}):
        assert api.post("/key/update", {"key": key, **change}).status == 200

    assert rows(services.database, watched) == []


def test_a_window_that_takes_its_spend_along_tells_in_its_own_name(
    api: Api, services: Services, clock: MovableClock
):
    capped = of_key(api, services)
    settle(api, capped.key, 10)
    fold(services)
    clock.advance(60)

    assert api.post("/key/update", {"key": capped.key, "budget_duration": "30d"}).status == 200
    look(services)

    assert told(services) == ALL * 2


@on_one_store
def test_what_was_charged_before_a_team_had_a_row_is_told_of_when_it_gets_one(
    api: Api, services: Services, clock: MovableClock
):
    key = api.generate(team_id="t")["key"]
    settle(api, key, 10)
    fold(services)

    assert api.post("/team/new", {"team_id": "t", "max_budget": CAP}).status == 200
    look(services)

    assert told(services, entity="team") == ALL[1:]


@pytest.mark.parametrize("windows", [{}, {"budget_duration": "30d"}])
@on_one_store
def test_a_team_that_is_made_again_under_its_id_tells_of_its_own_thresholds(
    api: Api, services: Services, clock: MovableClock, windows: dict[str, str]
):
    for times in (1, 2):
        assert api.post("/team/new", {"team_id": "t", "max_budget": CAP, **windows}).status == 200
        settle(api, api.generate(team_id="t")["key"], CAP)
        fold(services)
        assert sorted(told(services, entity="team")) == sorted(ALL[1:] * times)
        assert api.post("/team/delete", {"team_ids": ["t"]}).status == 200
        clock.advance(60)


# --- projection --------------------------------------------------------------------------------------------


def test_a_projection_is_told_once_in_a_window_and_not_before_a_tenth_of_it(
    api: Api, services: Services, clock: MovableClock
):
    key = api.generate(soft_budget=100, budget_duration="1d")["key"]
    clock.set(MIDNIGHT + DAY + timedelta(hours=1))
    settle(api, key, 20)
    fold(services)
    early = told(services)
    clock.advance(timedelta(hours=2))

    for _ in range(3):
        settle(api, key, 1)
        fold(services)

    assert early == []
    (row,) = crossings(services)
    assert (row["kind"], row["payload"]["projected_spend"]) == ("projected_limit_exceeded", 168.0)
    assert row["payload"]["projected_exceeded_date"] == "2026-11-19T14:17:08.571428Z"


# --- cost --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 40])
def test_a_fold_takes_as_many_statements_for_forty_keys_as_for_one(api: Api, services: Services, count: int):
    organization = api.post("/organization/new", {"organization_alias": "o", "max_budget": CAP}).body
    api.post("/user/new", {"user_id": "u", "max_budget": CAP, "auto_create_key": False})
    api.post(
        "/team/new",
        {
            "team_id": "t",
            "organization_id": organization["organization_id"],
            "max_budget": CAP,
            "members_with_roles": [{"role": "user", "user_id": "u"}],
            "team_member_budget": CAP,
        },
    )
    for key in [api.generate(team_id="t", user_id="u", max_budget=1)["key"] for _ in range(count)]:
        settle(api, key, 50 / count)

    with statements(services.database) as sent:
        fold(services)

    within = sent[next(i for i, one in enumerate(sent) if one.startswith("DELETE FROM ledger_unfolded")) :]
    assert len([one for one in within if "soft_budget_nanos" in one]) == 5, "caps, by kind of scope"
    assert len([one for one in within if one.startswith("INSERT INTO events")]) == 1
    # Taken, accounts opened, held and added to, the sums of the day, and the record of the run.
    assert len(within) == 5 + 1 + 8
    kinds = {row["entity"] for row in crossings(services, kind="budget_crossed")}
    assert kinds == {"key", "team", "user", "member", "organization"}


def test_a_key_that_is_gone_is_looked_at_in_vain(api: Api, services: Services):
    capped = of_key(api, services)
    settle(api, capped.key, 10)
    assert api.post("/key/update", {"key": capped.key, "max_budget": 5}).status == 200
    api.post("/key/delete", {"keys": [capped.key]})

    fold(services)
    look(services)

    assert told(services) == []
    with services.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(keys)).scalar_one() == 0

"""POST /key/{key}/reset_spend: what a key has spent is set lower, as a row of the ledger."""

from typing import Any

import pytest

from app.container import Services
from app.dispatch import TaskName
from app.models import audit, events, ledger
from tests.api.calls import allowed, refused, settle
from tests.api.changing import changed
from tests.api.identities import without_redis
from tests.api.test_rights import make_target
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
from tests.factories import add_person, add_tier, rows, unchanged

NANOS = 1_000_000_000
BAD = "invalid_request_error"


def reset(api: Api, key: str, to: Any, caller: str = MASTER_KEY) -> Answer:
    return api.post(f"/key/{key}/reset_spend", {"reset_to": to}, key=caller)


def test_the_answer_tells_the_spend_before_and_after(api: Api):
    made = api.generate(spend=3, max_budget=10, budget_duration="1d")

    answer = reset(api, made["key"], 1.25)

    assert answer.body == {
        "key_hash": made["token"],
        "spend": 1.25,
        "previous_spend": 3.0,
        "max_budget": 10.0,
        "budget_reset_at": "2026-11-19T00:00:00.000000Z",
    }
    assert api.info(made["key"])["spend"] == 1.25


@pytest.mark.parametrize(("to", "spend"), [(0, 0.0), (0.5, 0.5), ("0.25", 0.25), (2, 2.0), (1e-9, 1e-9)])
def test_any_amount_up_to_what_was_spent_is_taken(shared_api: Api, to: Any, spend: float):
    made = shared_api.generate(spend=2)

    assert reset(shared_api, made["key"], to).body["spend"] == spend
    assert shared_api.info(made["key"])["spend"] == spend


@pytest.mark.parametrize("to", [-1, -1e-9, 2.000000001, 1e300, "NaN", "Infinity"])
def test_an_amount_that_cannot_be_is_refused_in_both_shapes(shared_api: Api, shared_services: Services, to: Any):
    made = shared_api.generate(spend=2)

    with unchanged(shared_services.database):
        answer = reset(shared_api, made["key"], to)

    assert answer.summary == (400, BAD, "reset_to")
    assert answer.body["detail"] == {"error": answer.error["message"]}


@pytest.mark.parametrize(
    ("own", "tier", "most"), [(1, None, 1), (None, 1, 1), (1, 2, 1), (2, 1, 1), (None, None, 3)]
)
def test_no_amount_above_the_lower_of_both_caps_is_taken(
    api: Api, services: Services, own: int | None, tier: int | None, most: int
):
    cap = None if tier is None else tier * NANOS
    budget_id = add_tier(services.database, "tier", max_budget_nanos=cap)
    made = api.generate(spend=3, max_budget=own, budget_id=budget_id)

    assert reset(api, made["key"], most + 0.000000001).summary == (400, BAD, "reset_to")
    assert reset(api, made["key"], most).status == 200


@pytest.mark.parametrize("to", [True, False, None, "x", "", [], {}])
def test_what_is_no_number_does_not_fit_the_schema(shared_api: Api, to: Any):
    made = shared_api.generate(spend=2)

    answer = reset(shared_api, made["key"], to)

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["body", "reset_to"])
    assert shared_api.post(f"/key/{made['key']}/reset_spend", {}).body["detail"] == [
        {"type": "missing", "loc": ["body", "reset_to"], "msg": "Field required"}
    ]


def test_the_key_is_named_by_plaintext_hash_and_a_secret_in_grace(api: Api):
    made = api.generate(spend=3)
    rotated = api.post("/key/regenerate", {"key": made["key"], "grace_period": "1h"}).body

    answers = [reset(api, name, to) for name, to in ((rotated["key"], 2), (rotated["token"], 1), (made["key"], 0))]

    assert [(answer.status, answer.body["previous_spend"]) for answer in answers] == [(200, 3), (200, 2), (200, 1)]
    assert {answer.body["key_hash"] for answer in answers} == {rotated["token"]}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("sk-unknown-key-0000", (404, "not_found_error", "key")),
        ("f" * 64, (404, "not_found_error", "key")),
        ("an alias", (404, "not_found_error", "key")),
        (MASTER_KEY, (400, BAD, "key")),
    ],
)
def test_what_names_no_virtual_key_is_refused_in_both_shapes(shared_api: Api, key: str, expected: Any):
    answer = reset(shared_api, key, 0)

    assert answer.summary == expected
    assert answer.body["detail"] == {"error": answer.error["message"]}


# --- what is written ---------------------------------------------------------------------------------------------


def test_it_is_told_in_the_ledger_and_lifetime_stays(api: Api, services: Services, clock: MovableClock):
    made = api.generate(spend=3)
    now = clock.advance(60)

    reset(api, made["key"], 1)

    *_, row = rows(services.database, ledger)
    assert (row["kind"], row["key_id"], row["amount_nanos"]) == ("correction", made["key_id"], 0)
    assert (row["actor"], row["occurred_at"], row["recorded_at"]) == ("default_user_id", now, now)
    for _ in range(2):
        assert (api.info(made["key"])["spend"], api.info(made["key"])["total_spend"]) == (1, 3)
        assert services.ledger_check.check(10).drifts == []
        services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)


@pytest.mark.parametrize("folded", [False, True])
def test_the_window_goes_on_from_there_and_the_next_is_as_ever(
    api: Api, services: Services, clock: MovableClock, folded: bool
):
    key = api.generate(max_budget=4, budget_duration="1d")["key"]
    settle(api, allowed(api, key, cost=3), 3)
    if folded:
        services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)

    reset(api, key, 1)
    settle(api, allowed(api, key, cost=2), 2)

    assert (api.info(key)["spend"], api.info(key)["total_spend"]) == (3, 5)
    refused(api, key, cost=1.5)
    clock.advance(24 * 3600)
    assert (api.info(key)["spend"], api.info(key)["total_spend"]) == (0, 5)
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    services.jobs.run(TaskName.RESET_BUDGETS, lambda: True)
    assert services.ledger_check.check(10).drifts == []


def test_the_spend_of_a_window_that_has_passed_is_zero_here_as_well(
    api: Api, services: Services, clock: MovableClock
):
    made = api.generate(spend=3, budget_duration="1d")
    clock.advance(24 * 3600)

    above = reset(api, made["key"], 1)
    with unchanged(services.database):
        answer = reset(api, made["key"], 0)

    assert above.summary == (400, BAD, "reset_to")
    assert (answer.status, answer.body["previous_spend"]) == (200, 0)
    assert answer.body["budget_reset_at"] == "2026-11-20T00:00:00.000000Z"


def test_several_windows_of_a_key_start_anew(api: Api, clock: MovableClock):
    limits = [{"budget_duration": "1h", "max_budget": 5}, {"budget_duration": "5h", "max_budget": 9}]
    made = api.generate(spend=3, budget_limits=limits)
    clock.advance(2 * 3600)

    reset(api, made["key"], 0)

    assert api.info(made["key"])["budget_limits"] == [
        {"budget_duration": "1h", "max_budget": 5.0, "reset_at": "2026-11-18T16:00:00.000000Z"},
        {"budget_duration": "5h", "max_budget": 9.0, "reset_at": "2026-11-18T20:00:00.000000Z"},
    ]


def test_it_is_audited_and_told(api: Api, services: Services):
    made = api.generate(spend=3)

    api.post(f"/key/{made['key']}/reset_spend", {"reset_to": 0}, headers={"litellm-changed-by": "ann"})

    *_, entry = rows(services.database, audit)
    assert (entry["action"], entry["entity_id"], entry["changed_by"]) == ("reset_spend", made["key_id"], "ann")
    assert entry["before"] == {"spend": 3.0}
    assert entry["after"] == {"spend": 0.0}
    assert sorted(event["kind"] for event in rows(services.database, events)) == ["key_created", "key_updated"]


def test_doing_it_again_changes_nothing(api: Api, services: Services, clock: MovableClock):
    made = api.generate(spend=3, budget_duration="1d")
    first = reset(api, made["key"], 1)
    clock.advance(60)

    with unchanged(services.database):
        second = reset(api, made["key"], 1)

    assert second.body == {**first.body, "previous_spend": 1.0}


def test_with_redis_away_nothing_is_reset(api: Api, services: Services, clock: MovableClock):
    made = api.generate(spend=3)

    with without_redis(services.settings, clock) as cut_off, unchanged(services.database):
        answer = reset(cut_off, made["key"], 0)

    assert answer.summary == (503, "no_db_connection", None)
    assert "retry-after" in answer.headers


# --- who may -----------------------------------------------------------------------------------------------------

MANAGERS = (403, "auth_error", None)
NOT_FOUND = (404, "not_found_error", "key")


@pytest.mark.parametrize(
    ("caller", "target", "expected"),
    [
        ("admin", "own", 200),
        ("admin", "foreign", 200),
        ("admin", "team/yours", 200),
        ("lead", "team/own", 200),
        ("lead", "team/yours", 200),
        ("lead", "team/robot", 200),
        ("chief", "team/yours", 200),
        ("lead", "own", MANAGERS),
        ("user", "own", MANAGERS),
        ("user", "given", MANAGERS),
        ("member", "team/own", MANAGERS),
        ("member", "team/yours", MANAGERS),
        ("granted", "team/own", MANAGERS),
        ("user", "foreign", NOT_FOUND),
        ("user", "ownerless", NOT_FOUND),
        ("lead", "other team", NOT_FOUND),
        ("chief", "foreign", NOT_FOUND),
        ("viewer", "own", (403, "auth_error", None)),
        ("robot", "team/robot", (401, "auth_error", None)),
    ],
)
def test_only_who_manages_a_key_resets_it(
    shared_api: Api,
    shared_services: Services,
    company: dict[str, str],
    caller: str,
    target: str,
    expected: Any,
):
    made = make_target(shared_api, shared_services, caller, target)
    changed(shared_api, made["key"], spend=2)

    with_value = reset(shared_api, made["key"], 1, company[caller])

    if expected == 200:
        assert with_value.body["spend"] == 1
        return
    assert with_value.summary == expected
    assert shared_api.info(made["key"])["spend"] == 2
    if expected == MANAGERS and caller != "viewer":
        assert with_value.body["detail"] == {"error": with_value.error["message"]}


def test_who_may_not_learns_nothing_of_the_spend(shared_api: Api, shared_services: Services, company: Any):
    owner = add_person(shared_api, shared_services.database, "owner of one key", spend=2)

    answers = [reset(shared_api, owner, to, owner) for to in (1, 3, -1)]

    assert {answer.summary for answer in answers} == {MANAGERS}
    assert len({str(answer.body) for answer in answers}) == 1

"""POST /team/{team_id}/member/{user_id}/reset_spend and reset_budget: a member is let go on in its team."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from app.container import Services
from app.dispatch import TaskName
from app.domain.teams import member_id
from app.models import audit, budgets, ledger, ledger_unfolded
from app.services.audit.audit import SYSTEM, Act
from tests.api.calls import allowed, limit, refused, spent
from tests.api.counting import statements
from tests.api.identities import MANAGING_THE_TEAM, TEAM, about_the_team, gather, without_redis
from tests.api.teams import add, change, changed, memberships, new
from tests.apps import app_over
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
from tests.factories import add_person, add_team, on_one_store, rows, unchanged

BAD = "invalid_request_error"
ANN = "ann"


def reset(api: Api, to: Any = 0, user_id: str = ANN, team_id: str = TEAM, caller: str = MASTER_KEY) -> Answer:
    return api.post(f"/team/{team_id}/member/{user_id}/reset_spend", {"reset_to": to}, key=caller)


def reset_budget(api: Api, user_id: str = ANN, team_id: str = TEAM, caller: str = MASTER_KEY) -> Answer:
    return api.call("POST", f"/team/{team_id}/member/{user_id}/reset_budget", key=caller)


def fold(services: Services) -> None:
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)


def ann(api: Api) -> tuple[float, float]:
    """What Ann has spent in the present window, and ever."""
    found = memberships(api, TEAM)[ANN]
    return found["spend"], found["total_spend"]


def charged(api: Api, cost: float = 3, **own: Any) -> str:
    """A key of Ann's in the team, which has spent so much there."""
    new(api, team_id=TEAM)
    add(api, TEAM, [{"user_id": ANN, "role": "user"}], **own)
    key: str = api.generate(team_id=TEAM, user_id=ANN)["key"]
    spent(api, key, cost)
    return key


@pytest.fixture(params=["waiting", "folded"])
def settled(request: pytest.FixtureRequest, services: Services) -> Any:
    """Does what happens to charges sooner or later, or leaves them waiting."""
    return (lambda: fold(services)) if request.param == "folded" else (lambda: None)


# --- the spend ---------------------------------------------------------------------------------------------


def test_the_answer_tells_the_spend_before_and_after(api: Api):
    charged(api, max_budget_in_team=10, budget_duration="1d")

    assert reset(api, 1.25).body == {
        "team_id": TEAM,
        "user_id": ANN,
        "spend": 1.25,
        "previous_spend": 3.0,
        "max_budget": 10.0,
        "budget_reset_at": "2026-11-19T00:00:00.000000Z",
    }


@pytest.mark.parametrize("duration", [None, "1d"])
def test_it_sets_the_window_and_keeps_the_lifetime_and_the_balance_still_adds_up(
    api: Api, services: Services, clock: MovableClock, duration: str | None, settled: Any
):
    key = charged(api, max_budget_in_team=10, budget_duration=duration)
    settled()

    assert reset(api, 1).status == 200
    after = [ann(api)]
    fold(services)
    after.append(ann(api))
    spent(api, key, 2)
    after.append(ann(api))
    fold(services)
    after.append(ann(api))

    assert after == [(1, 3), (1, 3), (3, 5), (3, 5)]
    assert services.ledger_check.check(10).drifts == []
    clock.advance(timedelta(days=1))
    assert ann(api) == ((0, 5) if duration else (3, 5))
    spent(api, key, 0.5)
    fold(services)
    assert ann(api) == ((0.5, 5.5) if duration else (3.5, 5.5))
    assert services.ledger_check.check(10).drifts == []


def test_what_the_key_the_team_and_the_user_have_spent_stays(api: Api, services: Services):
    key = charged(api)

    reset(api)

    assert api.info(key)["spend"] == 3
    assert api.get("/team/info", team_id=TEAM).body["team_info"]["spend"] == 3
    assert api.get("/user/info", user_id=ANN).body["user_info"]["spend"] == 3


def test_a_member_that_was_out_of_budget_may_go_on_at_once_and_as_far_as_told(api: Api, settled: Any):
    key = charged(api, 5, max_budget_in_team=5)
    settled()
    before = refused(api, key)

    reset(api, 1)

    assert before["code"] == "budget_exceeded"
    assert limit(allowed(api, key, 4), "member")["used"] == 1
    assert refused(api, key, 1)["code"] == "budget_exceeded"


def test_where_the_counters_could_not_be_set_the_fold_sets_them(api: Api, services: Services):
    key = charged(api, 5, max_budget_in_team=5)
    fold(services)
    refused(api, key)
    # As a process that is killed between its commit and the counters leaves it.
    with services.database.transaction() as transaction:
        act = Act(SYSTEM, services.clock.now())
        services.member_spend._reset(transaction, act, TEAM, ANN, Decimal(0))

    fold(services)

    assert limit(allowed(api, key, 4), "member")["used"] == 0


@pytest.mark.parametrize("to", [-1, -1e-9, 3.000000001, 1e300, "NaN", "Infinity"])
def test_an_amount_that_cannot_be_is_refused_in_both_shapes(api: Api, services: Services, to: Any):
    charged(api)

    with unchanged(services.database):
        answer = reset(api, to)

    assert answer.summary == (400, BAD, "reset_to")
    assert answer.body["detail"] == {"error": answer.error["message"]}


def test_no_amount_above_the_cap_is_taken_be_it_shared_or_the_members_own(api: Api):
    charged(api)
    changed(api, TEAM, team_member_budget=2)
    found = [reset(api, 2.5).summary]
    api.post("/team/member_update", {"team_id": TEAM, "user_id": ANN, "max_budget_in_team": 1})
    found.append(reset(api, 1.5).summary)

    assert found == [(400, BAD, "reset_to")] * 2
    assert reset(api, 1).status == 200


@on_one_store
@pytest.mark.parametrize("to", [True, None, "x", "", []])
def test_what_is_no_number_does_not_fit_the_schema(api: Api, to: Any):
    charged(api)

    assert (reset(api, to).status, ann(api)) == (422, (3, 3))


def test_the_spend_of_a_window_that_has_passed_is_zero_here_as_well(
    api: Api, services: Services, clock: MovableClock
):
    charged(api, max_budget_in_team=10, budget_duration="1d")
    clock.advance(timedelta(days=1))

    above = reset(api, 1)
    with unchanged(services.database):
        answer = reset(api, 0)

    assert above.summary == (400, BAD, "reset_to")
    assert (answer.status, answer.body["previous_spend"]) == (200, 0)


def test_doing_it_again_changes_nothing(api: Api, services: Services):
    charged(api)
    reset(api, 1)

    with unchanged(services.database):
        again = reset(api, 1)

    assert (again.status, again.body["previous_spend"], ann(api)) == (200, 1, (1, 3))


def test_two_at_once_and_charges_meanwhile_lose_nothing(api: Api, services: Services):
    key = charged(api, 8)
    app = app_over(services)

    def work(number: int) -> int:
        client = Api(app)
        if number % 2:
            return reset(client, 0).status
        sent = {"key": key, "request_id": f"meanwhile {number}", "cost": 1, "model": "gpt-4o"}
        return client.post("/key/settle", sent).status

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(work, range(12)))
    fold(services)
    window, lifetime = ann(api)

    assert statuses == [200] * 12
    assert lifetime == 14
    assert 0 <= window <= 6
    assert services.ledger_check.check(10).drifts == []
    assert reset(api, 0).body["previous_spend"] == window


# --- the budget --------------------------------------------------------------------------------------------


def test_a_member_is_put_back_on_what_the_team_shares_and_keeps_its_spend(api: Api, services: Services):
    key = charged(api, max_budget_in_team=4, budget_duration="30d")
    changed(api, TEAM, team_member_budget=9, team_member_budget_duration="30d")

    answer = reset_budget(api)

    found = memberships(api, TEAM)[ANN]
    assert answer.body == found
    assert (found["budget_source"], found["litellm_budget_table"]["max_budget"]) == ("team", 9)
    assert (found["spend"], found["total_spend"]) == (3, 3)
    assert len(rows(services.database, budgets)) == 1
    changed(api, TEAM, team_member_budget=20)
    assert limit(allowed(api, key, 1), "member")["limit"] == 20


def test_without_a_shared_budget_none_is_left(api: Api, services: Services):
    key = charged(api, 5, max_budget_in_team=4)
    refused(api, key)

    assert reset_budget(api).body["litellm_budget_table"] is None
    assert [entry["scope"] for entry in allowed(api, key, 50)["limits"] if entry["scope"] == "member"] == []
    assert rows(services.database, budgets) == []


def test_a_member_that_has_nothing_of_its_own_stays_as_it_is(api: Api, services: Services):
    charged(api)
    changed(api, TEAM, team_member_budget=9)

    with unchanged(services.database):
        answer = reset_budget(api)

    assert (answer.status, answer.body["budget_source"]) == (200, "team")


def test_both_resets_are_audited_by_the_name_of_the_member(api: Api, services: Services):
    charged(api, max_budget_in_team=4)

    api.post(f"/team/{TEAM}/member/{ANN}/reset_spend", {"reset_to": 1}, headers={"litellm-changed-by": "eve"})
    reset_budget(api)

    (spend,) = rows(services.database, audit, action="member_reset_spend")
    (budget,) = rows(services.database, audit, action="member_reset_budget")
    assert (spend["entity"], spend["entity_id"], spend["changed_by"]) == ("team", TEAM, "eve")
    told = [(spend[name]["member"]["user_id"], spend[name]["member"]["spend"]) for name in ("before", "after")]
    assert told == [(ANN, 3), (ANN, 1)]
    assert budget["before"]["member"]["litellm_budget_table"]["max_budget"] == 4
    assert budget["after"]["member"]["litellm_budget_table"] is None


def test_the_ledger_tells_of_a_reset_in_a_row_of_no_amount(api: Api, services: Services, clock: MovableClock):
    charged(api)
    now = clock.advance(60)

    reset(api)

    *_, row = rows(services.database, ledger)
    assert (row["kind"], row["amount_nanos"], row["scopes"]) == (
        "correction",
        0,
        [["member", member_id(TEAM, ANN), ""]],
    )
    assert (row["team_id"], row["user_id"], row["occurred_at"]) == (TEAM, ANN, now)
    assert len(rows(services.database, ledger_unfolded, ledger_id=row["ledger_id"])) == 1


# --- who may -----------------------------------------------------------------------------------------------

CALLS = {
    "spend": lambda api, user_id, team_id, caller: reset(api, 0, user_id, team_id, caller),
    "budget": reset_budget,
}


@on_one_store
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("caller", "expected"), MANAGING_THE_TEAM.items())
def test_members_are_reset_by_those_who_manage_the_team(
    api: Api, services: Services, call: str, caller: str, expected: int
):
    people = gather(api, services.database)

    answer = about_the_team(services, partial(CALLS[call], api, "member"), people[caller])

    assert answer.status == expected


@on_one_store
@pytest.mark.parametrize("call", CALLS)
def test_nobody_but_a_proxy_admin_resets_itself(api: Api, services: Services, call: str):
    people = gather(api, services.database)
    add_team(
        services.database, "of admins", {"proxy admin": "admin", "org admin": "admin"}, organization_id="acme"
    )
    ask = CALLS[call]

    own = [
        ask(api, "team admin", TEAM, people["team admin"]),
        ask(api, "org admin", "of admins", people["org admin"]),
    ]

    assert [answer.summary for answer in own] == [(403, "auth_error", "user_id")] * 2
    assert ask(api, "proxy admin", "of admins", people["proxy admin"]).status == 200
    assert ask(api, "team admin", TEAM, people["org admin"]).status == 200


@on_one_store
@pytest.mark.parametrize("call", CALLS)
def test_who_is_not_in_the_team_is_not_found(api: Api, services: Services, call: str):
    new(api, team_id=TEAM)
    add_person(api, services.database, "outsider")

    for user_id in ("outsider", "nobody"):
        answer = CALLS[call](api, user_id, TEAM, MASTER_KEY)

        assert answer.summary == (404, "not_found_error", "user_id")
        assert answer.body["detail"] == {"error": answer.error["message"]}


# --- costs and outages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [1, 30])
def test_statements_do_not_grow_with_the_team(api: Api, services: Services, members: int):
    charged(api, max_budget_in_team=4)
    add(api, TEAM, [{"user_id": f"u{number}", "role": "user"} for number in range(members)])
    found = {}
    for name, ask in CALLS.items():
        with statements(services.database) as sent:
            assert ask(api, ANN, TEAM, MASTER_KEY).status == 200
        found[name] = len(sent)

    assert found == {"spend": 13, "budget": 10}


@on_one_store
def test_with_redis_away_nothing_is_reset(api: Api, services: Services, clock: MovableClock):
    charged(api, max_budget_in_team=4)

    with without_redis(services.settings, clock) as cut_off, unchanged(services.database):
        answers = [ask(cut_off, ANN, TEAM, MASTER_KEY) for ask in CALLS.values()]

    assert [answer.summary for answer in answers] == [(503, "no_db_connection", None)] * 2
    assert all("retry-after" in answer.headers for answer in answers)


@on_one_store
def test_a_shared_budget_may_be_changed_while_a_member_is_put_back_on_it(api: Api, services: Services):
    charged(api, max_budget_in_team=4)
    changed(api, TEAM, team_member_budget=9)
    app = app_over(services)

    def work(number: int) -> int:
        client = Api(app)
        if number % 3 == 0:
            return change(client, TEAM, team_member_budget=10 + number).status
        if number % 3 == 1:
            sent = {"team_id": TEAM, "user_id": ANN, "max_budget_in_team": number}
            return client.post("/team/member_update", sent).status
        return reset_budget(client).status

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(work, range(12))) == {200}
    assert reset_budget(api).body["budget_source"] == "team"
    assert len(rows(services.database, budgets)) == 1

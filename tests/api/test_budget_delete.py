"""POST /budget/delete: a tier goes, and what was linked to it goes on without its limits."""

from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import insert, update

from app.config import Settings
from app.container import Services
from app.domain.windows import Calendar
from app.models import audit, budget_state, budgets, keys, organization_members, team_members, teams
from app.services.audit.audit import SYSTEM, Act
from app.services.budgets.budget_ends import BudgetEnds
from app.store.connection import HotRedis
from app.store.policies import Policies
from tests.api.budgets import BY_ROLE, FIELDS, new, shown
from tests.api.calls import allowed, refused, spent
from tests.api.counting import statements
from tests.api.identities import ORGANIZATION, TEAM, without_redis
from tests.api.teams import add, memberships, spend
from tests.api.teams import info as team_info
from tests.clients import Answer, Api
from tests.clocks import MovableClock
from tests.factories import add_organization, add_person, add_team, add_user, copy_key, rows, unchanged


def delete(api: Api, budget_id: str = "gold", **kwargs: Any) -> Answer:
    return api.post("/budget/delete", {"id": budget_id}, **kwargs)


# --- what changes ------------------------------------------------------------------------------------------


def test_a_tier_that_is_deleted_is_answered_as_it_was_and_gone(api: Api):
    made = new(api, **FIELDS)

    assert (delete(api).status, shown(api, "gold")) == (200, [])
    assert delete(api).summary == (404, "not_found_error", "id")
    assert new(api, **FIELDS).items() >= {name: made[name] for name in FIELDS}.items()


def test_a_key_goes_on_without_the_limits_of_the_tier_at_once(api: Api):
    new(api, budget_id="gold", max_budget=1, rpm_limit=1)
    key = api.generate(budget_id="gold")["key"]
    spent(api, key, 1)
    assert refused(api, key)["code"] == "budget_exceeded"

    assert delete(api).status == 200

    assert allowed(api, key, 5)["limits"] == []
    shown = api.info(key)
    assert (shown["budget_id"], shown["litellm_budget_table"], shown["spend"]) == (None, None, 1)


def test_a_member_goes_on_without_the_limits_of_the_tier_at_once(api: Api, services: Services):
    new(api, budget_id="gold", max_budget=1)
    add_team(services.database, TEAM)
    add_user(services.database, "bob")
    add(api, TEAM, {"user_id": "bob", "role": "user"})
    with services.database.transaction() as transaction:
        transaction.execute(update(team_members).values(budget_id="gold"))
    key = api.generate(user_id="bob", team_id=TEAM)["key"]
    assert refused(api, key, 2)["code"] == "budget_exceeded"

    assert delete(api).status == 200

    allowed(api, key, 2)
    assert memberships(api, TEAM)["bob"]["budget_id"] is None


def test_the_tier_that_a_teams_members_share_may_go(api: Api, services: Services):
    made = api.post("/team/new", {"team_id": TEAM, "team_member_budget": 1}).body
    budget_id = made["team_member_budget_table"]["budget_id"]
    add(api, TEAM, {"user_id": "bob", "role": "user"})

    assert delete(api, budget_id).status == 200

    shown = team_info(api, TEAM)
    assert (shown["team_info"]["team_member_budget_table"], memberships(api, TEAM)["bob"]["budget_id"]) == (
        None,
        None,
    )
    assert add(api, TEAM, {"user_id": "eve", "role": "user"})["updated_team_memberships"][0]["budget_id"] is None


def test_a_membership_of_an_organization_may_lose_its_tier(api: Api, services: Services):
    new(api, budget_id="gold")
    add_organization(services.database, ORGANIZATION)
    moment = services.clock.now()
    membership = {"organization_id": ORGANIZATION, "user_id": "bob", "budget_id": "gold"}
    with services.database.transaction() as transaction:
        transaction.execute(
            insert(organization_members).values(**membership, created_at=moment, updated_at=moment)
        )

    assert delete(api).status == 200
    assert [row["budget_id"] for row in rows(services.database, organization_members)] == [None]


def test_the_window_of_the_tier_ends_and_a_keys_own_goes_on(api: Api, services: Services, clock: MovableClock):
    new(api, budget_id="gold", max_budget=9, budget_duration="1d")
    tiers = api.generate(budget_id="gold")
    own = api.generate(budget_id="gold", budget_duration="1d")
    for made in (tiers, own):
        spend(services, "key", api.info(made["key"])["key_id"], 2)

    delete(api)
    before = [api.info(made["key"]) for made in (tiers, own)]
    clock.advance(24 * 3600)
    after = [api.info(made["key"]) for made in (tiers, own)]

    assert [(info["spend"], info["budget_reset_at"] is None) for info in before] == [(2, True), (2, False)]
    assert [(info["spend"], info["total_spend"]) for info in after] == [(2, 6), (0, 6)]
    (state,) = rows(services.database, budget_state, scope_id=after[0]["key_id"])
    assert (state["window_start"], state["reset_at"]) == (None, None)


def test_more_keys_than_one_batch_holds_are_all_unlinked(api: Api, services: Services, settings: Settings):
    new(api, budget_id="gold")
    copy_key(services.database, api.info(api.generate(budget_id="gold")["key"])["key_id"], 7)
    other = api.generate(budget_id=new(api, budget_id="silver")["budget_id"])

    with closing(HotRedis(settings.hot_redis_url, seconds=settings.hot_redis_seconds)) as redis:
        store = Policies(redis, change_seconds=settings.change_seconds, commit_seconds=settings.commit_seconds)
        calendar = Calendar(settings.timezone, settings.budget_reset_time)
        ends = BudgetEnds(services.database, store, calendar, batch=3)
        ends.delete(Act(SYSTEM, services.clock.now()), "gold")

    linked = {row["key_id"]: row["budget_id"] for row in rows(services.database, keys)}
    assert linked.pop(api.info(other["key"])["key_id"]) == "silver"
    assert list(linked.values()) == [None] * 8
    told = rows(services.database, audit, entity="key", action="update")
    assert {row["entity_id"] for row in told} == linked.keys()
    assert len(told) == 8


# --- what is refused ---------------------------------------------------------------------------------------


def test_the_tier_of_an_organization_stays(api: Api, services: Services):
    add_organization(services.database, ORGANIZATION)

    with unchanged(services.database):
        answer = delete(api, f"tier of {ORGANIZATION}")

    assert answer.summary == (400, "invalid_request_error", "id")
    assert "organization" in answer.error["message"]


def test_one_that_is_unknown_is_not_found(shared_api: Api, shared_services: Services):
    with unchanged(shared_services.database):
        assert delete(shared_api, "never").summary == (404, "not_found_error", "id")


@pytest.mark.parametrize("sent", [{}, {"id": None}, {"id": 7}, {"id": ["gold"]}])
def test_what_names_no_tier_does_not_fit(shared_api: Api, sent: dict[str, Any]):
    answer = shared_api.post("/budget/delete", sent)

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["body", "id"])


@pytest.mark.parametrize(("role", "expected"), BY_ROLE)
def test_tiers_are_deleted_by_proxy_admins(api: Api, services: Services, role: str, expected: int):
    new(api, budget_id="gold")
    key = add_person(api, services.database, "somebody", role)

    assert delete(api, key=key).status == expected
    assert len(shown(api, "gold")) == (expected != 200)


def test_a_key_that_may_call_the_route_is_no_proxy_admin_by_that(api: Api):
    new(api, budget_id="gold")
    delegate = api.generate(allowed_routes=["/budget/delete"])["key"]

    assert [delete(api, name, key=delegate).status for name in ("gold", "never")] == [403, 403]


# --- what else it does -------------------------------------------------------------------------------------


def test_everything_that_lost_the_tier_is_in_the_audit_with_who_deleted_it(api: Api, services: Services):
    boss = add_person(api, services.database, "boss", "proxy_admin")
    made = api.post("/team/new", {"team_id": TEAM, "team_member_budget": 1}).body
    budget_id = made["team_member_budget_table"]["budget_id"]
    add(api, TEAM, {"user_id": "bob", "role": "user"})
    key_id = api.info(api.generate(budget_id=budget_id)["key"])["key_id"]

    delete(api, budget_id, key=boss, headers={"litellm-changed-by": "eve"})

    told = {row["entity"]: row for row in rows(services.database, audit) if row["actor_user_id"] == "boss"}
    assert {(row["entity"], row["entity_id"], row["action"]) for row in told.values()} == {
        ("budget", budget_id, "delete"),
        ("key", key_id, "update"),
        ("team", TEAM, "update"),
    }
    assert (told["budget"]["before"]["max_budget"], told["budget"]["after"]) == (1, None)
    assert (told["key"]["before"], told["key"]["after"]) == ({"budget_id": budget_id}, {"budget_id": None})
    assert told["team"]["before"] == {"team_member_budget_id": budget_id}
    assert {(row["changed_by"], row["actor_role"], row["request_id"] is None) for row in told.values()} == {
        ("eve", "proxy_admin", False)
    }


def test_without_redis_no_tier_is_deleted(settings: Settings, clock: MovableClock, services: Services, api: Api):
    new(api, budget_id="gold")

    with without_redis(settings, clock) as cut_off, unchanged(services.database):
        assert delete(cut_off).status == 503


@pytest.mark.parametrize("count", [1, 40])
def test_statements_do_not_grow_with_what_is_linked(api: Api, services: Services, count: int):
    new(api, budget_id="gold", budget_duration="1d")
    copy_key(services.database, api.info(api.generate(budget_id="gold")["key"])["key_id"], count)
    add_team(services.database, TEAM, {f"user {number}": "user" for number in range(count)})
    with services.database.transaction() as transaction:
        transaction.execute(update(team_members).values(budget_id="gold"))
        transaction.execute(update(teams).values(member_budget_id="gold"))

    with statements(services.database) as sent:
        assert delete(api).status == 200

    assert len(sent) == 21
    assert rows(services.database, budgets) == []

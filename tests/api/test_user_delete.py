"""POST /user/delete: users, with their keys, memberships, tiers and accounts, all of them or none."""

from typing import Any

import pytest
from sqlalchemy import insert

from app.config import Settings
from app.container import Services
from app.dispatch import TaskName
from app.errors import UnknownKey
from app.models import (
    audit,
    budget_state,
    budgets,
    deleted_keys,
    events,
    keys,
    object_permissions,
    organization_members,
    team_members,
    users,
)
from app.services.audit.audit import Act
from app.services.keys import key_ends
from tests.api.calls import allowed, refused, settle, spent
from tests.api.counting import statements
from tests.api.identities import ORGANIZATION, TEAM, gather, without_redis
from tests.api.teams import add
from tests.api.users import new
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
from tests.factories import (
    add_organization,
    add_person,
    add_team,
    add_tier,
    add_user,
    copy_key,
    everything,
    rows,
    unchanged,
)


def delete(api: Api, *user_ids: str, key: str = MASTER_KEY) -> Answer:
    return api.post("/user/delete", {"user_ids": list(user_ids)}, key=key)


# --- what goes ---------------------------------------------------------------------------------------------


def test_everything_of_a_user_goes_and_nothing_of_anybody_else(api: Api, services: Services):
    database = services.database
    add_organization(database, ORGANIZATION)
    add_team(database, TEAM, {"eve": "user"}, organization_id=ORGANIZATION)
    new(api, user_id="eve", auto_create_key=False)
    before = everything(database)
    new(
        api,
        user_id="bob",
        max_budget=7,
        budget_duration="1d",
        object_permission={"vector_stores": ["v"]},
        organizations=[ORGANIZATION],
        teams=[{"team_id": TEAM, "max_budget_in_team": 3}],
    )
    api.generate(user_id="bob", team_id=TEAM, object_permission={"models": ["m"]}, max_budget=1)

    answer = delete(api, "bob")

    assert (answer.status, answer.body) == (200, 1)
    after = everything(database)
    # The next look at `watched` finds no account of that name.
    left_behind = {"audit", "events", "deleted_keys", "retired_secrets", "watched"}
    assert {name: after[name] for name in after.keys() - left_behind} == {
        name: before[name] for name in before.keys() - left_behind
    }
    assert len(after["deleted_keys"]) == 2
    assert api.get("/user/info", user_id="bob").status == 404


def test_keys_are_archived_like_those_that_are_deleted_one_by_one(api: Api, services: Services):
    made = new(api, user_id="bob", key_alias="bob's")

    delete(api, "bob")

    (archived,) = rows(services.database, deleted_keys)
    assert (archived["key_alias"], archived["user_id"], archived["deleted_by"]) == (
        "bob's",
        "bob",
        "default_user_id",
    )
    assert {row["kind"] for row in rows(services.database, events)} == {"key_created", "key_deleted"}
    assert [row["entity_id"] for row in rows(services.database, audit, action="delete", entity="key")] == [
        archived["key_id"]
    ]
    assert api.post("/key/delete", {"keys": [made["key"]]}).status == 404


def test_more_keys_than_one_batch_holds_are_all_archived(api: Api, services: Services, monkeypatch: Any):
    monkeypatch.setattr(key_ends, "ARCHIVE_BATCH", 2)
    new(api, user_id="bob")
    copy_key(services.database, rows(services.database, keys)[0]["key_id"], 6)

    assert delete(api, "bob").body == 1

    assert rows(services.database, keys) == []
    assert len(rows(services.database, deleted_keys)) == 7


def test_a_call_that_is_asked_for_after_the_answer_is_refused(api: Api):
    key = new(api, user_id="bob")["key"]
    allowed(api, key)
    assert api.get("/user/info", key).status == 200

    delete(api, "bob")

    assert refused(api, key)["code"] == "unknown"
    assert api.get("/user/info", key).status == 401


def test_a_request_that_began_before_leaves_no_key_behind(api: Api, services: Services):
    act = Act(
        services.callers.authenticate(new(api, user_id="bob")["key"], services.clock.now()), services.clock.now()
    )

    delete(api, "bob")

    with unchanged(services.database), pytest.raises(UnknownKey):
        services.keys.generate(act, {}, "/key/generate")


def test_what_was_held_before_is_still_charged_afterwards(api: Api, services: Services):
    verdict = allowed(api, new(api, user_id="bob", max_budget=5)["key"], 2)

    delete(api, "bob")

    assert settle(api, verdict, 2)["duplicate"] is False
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)


def test_a_user_of_the_same_name_begins_at_zero_and_the_ledger_agrees(api: Api, services: Services):
    key = new(api, user_id="bob")["key"]
    spent(api, key, 3)
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    spent(api, key, 2)
    assert api.get("/v2/user/info", user_id="bob").body["total_spend"] == 5

    delete(api, "bob")
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)

    assert new(api, user_id="bob")["total_spend"] == 0
    assert services.ledger_check.check(1_000).drifts == []


def test_a_tier_of_its_own_goes_and_one_that_others_share_stays(api: Api, services: Services):
    add_team(services.database, TEAM)
    for user_id in ("bob", "eve"):
        new(api, user_id=user_id, auto_create_key=False)
    add(api, TEAM, {"user_id": "bob", "role": "user"}, max_budget_in_team=1)
    (own,) = rows(services.database, budgets)
    add(api, TEAM, {"user_id": "eve", "role": "user"}, max_budget_in_team=2)
    api.generate(budget_id=own["budget_id"])
    shared = {row["budget_id"] for row in rows(services.database, budgets)}

    delete(api, "bob")
    assert {row["budget_id"] for row in rows(services.database, budgets)} == shared
    delete(api, "eve")
    assert [row["budget_id"] for row in rows(services.database, budgets)] == [own["budget_id"]]


def test_a_tier_of_an_organizations_member_goes_with_it(api: Api, services: Services):
    add_organization(services.database, ORGANIZATION)
    add_tier(services.database, "its own")
    add_user(services.database, "bob")
    membership = {"organization_id": ORGANIZATION, "user_id": "bob", "budget_id": "its own"}
    moment = services.clock.now()
    with services.database.transaction() as transaction:
        transaction.execute(
            insert(organization_members).values(**membership, created_at=moment, updated_at=moment)
        )

    assert delete(api, "bob").status == 200

    assert rows(services.database, budgets, budget_id="its own") == []


def test_of_many_each_counts_once_however_often_it_is_named(api: Api, services: Services):
    for user_id in ("bob", "eve"):
        new(api, user_id=user_id)

    assert delete(api, "bob", "eve", "bob").body == 2

    assert (
        rows(services.database, users)
        == rows(services.database, keys)
        == rows(services.database, budget_state)
        == []
    )
    assert rows(services.database, object_permissions) == []


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [[], ["bob"]])
def test_one_that_is_unknown_keeps_all_the_others(api: Api, services: Services, others: list[str]):
    new(api, user_id="bob")

    with unchanged(services.database):
        answer = delete(api, *others, "never")

    assert answer.summary == (404, "not_found_error", "user_id")
    assert "never" in answer.error["message"]


def test_the_master_key_is_nobody_to_be_deleted(api: Api):
    api.generate(user_id="default_user_id")

    assert delete(api, "default_user_id").status == 404


@pytest.mark.parametrize("sent", [[], None])
def test_nobody_is_not_enough(shared_api: Api, sent: Any):
    assert shared_api.post("/user/delete", {"user_ids": sent}).summary == (
        400,
        "invalid_request_error",
        "user_ids",
    )


@pytest.mark.parametrize(
    ("sent", "kind"),
    [({}, "missing"), ({"user_ids": "bob"}, "list_type"), ({"user_ids": ["b"] * 1001}, "too_long")],
)
def test_what_is_no_list_of_ids_does_not_fit(shared_api: Api, sent: dict[str, Any], kind: str):
    answer = shared_api.post("/user/delete", sent)

    assert (answer.status, answer.body["detail"][0]["type"]) == (422, kind)


def test_a_thousand_are_deleted_at_once(api: Api, services: Services):
    moment = services.clock.now()
    with services.database.transaction() as transaction:
        transaction.execute(
            insert(users),
            [{"user_id": f"user {n}", "created_at": moment, "updated_at": moment} for n in range(1_000)],
        )

    assert delete(api, *(f"user {n}" for n in range(1_000))).body == 1_000
    assert rows(services.database, users) == []


# --- who may -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "target", "expected"),
    [
        ("master", "member", 200),
        ("proxy admin", "member", 200),
        ("proxy admin", "proxy admin", 200),
        ("viewer", "member", 403),
        ("org admin", "org member", 200),
        ("org admin", "org admin", 200),
        ("org admin", "of both", 403),
        ("org admin", "its viewer", 403),
        ("org admin", "guest elsewhere", 403),
        ("org admin", "in its team", 200),
        ("org admin", "other org admin", 404),
        ("org admin", "member of nothing", 404),
        ("org admin", "never", 404),
        ("other org admin", "org member", 404),
        ("org member", "org member", 401),
        ("team admin", "member", 401),
        ("member", "member", 401),
        ("stranger", "never", 401),
        ("team key", "member", 401),
    ],
)
def test_users_are_deleted_by_administrators_each_in_their_own_realm(
    api: Api, services: Services, caller: str, target: str, expected: int
):
    people = gather(api, services.database)
    moment = services.clock.now()
    add_user(services.database, "of both")
    add_user(services.database, "its viewer", "proxy_admin_viewer")
    add_user(services.database, "guest elsewhere")
    add_user(services.database, "in its team")
    add_user(services.database, "member of nothing")
    inside = [
        (ORGANIZATION, "of both"),
        ("other", "of both"),
        (ORGANIZATION, "its viewer"),
        (ORGANIZATION, "guest elsewhere"),
    ]
    with services.database.transaction() as transaction:
        transaction.execute(
            insert(organization_members),
            [
                {
                    "organization_id": organization_id,
                    "user_id": user_id,
                    "created_at": moment,
                    "updated_at": moment,
                }
                for organization_id, user_id in inside
            ],
        )
        transaction.execute(
            insert(team_members),
            [
                {"team_id": team_id, "user_id": user_id, "role": "user", "created_at": moment}
                for team_id, user_id in (("elsewhere", "guest elsewhere"), (TEAM, "in its team"))
            ],
        )

    if expected == 200:
        assert delete(api, target, key=people[caller]).body == 1
        return
    with unchanged(services.database):
        assert delete(api, target, key=people[caller]).status == expected


def test_a_key_that_may_call_the_route_deletes_nobody_by_that(api: Api, services: Services):
    people = gather(api, services.database)
    delegate = api.generate(user_id="member", allowed_routes=["/user/delete"])["key"]

    answers = [delete(api, user_id, key=delegate) for user_id in ("second", "never", "member")]

    assert [answer.status for answer in answers] == [404, 404, 403]
    assert api.get("/user/info", people["member"]).status == 200


def test_one_out_of_sight_answers_and_costs_what_one_that_does_not_exist_does(api: Api, services: Services):
    people = gather(api, services.database)
    delete(api, "stranger")

    def ask(user_id: str) -> tuple[int, str, int]:
        with statements(services.database) as sent:
            answer = delete(api, user_id, key=people["org admin"])
        return answer.status, answer.error["message"].replace(user_id, "X"), len(sent)

    ask("never")
    assert ask("other org admin") == ask("never") == ask("stranger")


# --- what else it does -------------------------------------------------------------------------------------


def test_each_entity_has_a_row_in_the_audit(api: Api, services: Services):
    add_organization(services.database, ORGANIZATION)
    add_team(services.database, TEAM)
    boss = add_person(api, services.database, "boss", "proxy_admin")
    new(api, user_id="bob", user_email="bob@example.com", teams=[TEAM], organizations=[ORGANIZATION])

    delete(api, "bob", key=boss)

    found = [row for row in rows(services.database, audit) if row["actor_user_id"] == "boss"]
    assert {(row["action"], row["entity"], row["entity_id"]) for row in found} == {
        ("delete", "key", rows(services.database, deleted_keys)[0]["key_id"]),
        ("member_delete", "team", TEAM),
        ("member_delete", "organization", ORGANIZATION),
        ("delete", "user", "bob"),
    }
    told = {row["entity"]: row for row in found}
    assert (told["user"]["before"]["user_email"], told["user"]["after"]) == ("bob@example.com", None)
    for group in ("team", "organization"):
        assert (told[group]["before"]["member"]["user_id"], told[group]["after"]) == ("bob", {"member": None})


def test_sent_again_it_is_not_found(api: Api):
    new(api, user_id="bob")

    assert [delete(api, "bob").status for _ in range(2)] == [200, 404]


def test_without_redis_nobody_is_deleted(settings: Settings, clock: MovableClock, services: Services, api: Api):
    new(api, user_id="bob")

    with without_redis(settings, clock) as cut_off, unchanged(services.database):
        assert delete(cut_off, "bob").status == 503
        assert delete(cut_off, "never").status == 404


@pytest.mark.parametrize("count", [1, 30])
def test_statements_do_not_grow_with_the_users(api: Api, services: Services, count: int):
    add_organization(services.database, ORGANIZATION)
    add_team(services.database, TEAM)
    names = [f"user {number}" for number in range(count)]
    for name in names:
        teams = [{"team_id": TEAM, "max_budget_in_team": 1}]
        new(api, user_id=name, teams=teams, organizations=[ORGANIZATION], object_permission={"agents": ["a"]})

    with statements(services.database) as sent:
        assert delete(api, *names).body == count

    assert len(sent) == 35

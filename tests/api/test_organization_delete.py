"""DELETE /organization/delete."""

from typing import Any

import pytest

from app.config import Settings
from app.container import Services
from app.models import (
    audit,
    budget_state,
    budgets,
    deleted_keys,
    events,
    keys,
    ledger,
    ledger_unfolded,
    object_permissions,
    organization_members,
    organizations,
    team_members,
    teams,
    users,
)
from app.services.keys.key_ends import ARCHIVE_BATCH
from tests.api import calls
from tests.api.counting import statements
from tests.api.identities import ORGANIZATION, gather, without_redis
from tests.api.organizations import info, new
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
from tests.factories import (
    add_organization,
    add_person,
    add_team,
    add_tier,
    change_key,
    copy_key,
    on_one_store,
    rows,
    unchanged,
)


def delete(api: Api, *organization_ids: str, caller: str = MASTER_KEY) -> Answer:
    sent = {"organization_ids": list(organization_ids)}
    return api.call("DELETE", "/organization/delete", key=caller, json=sent)


def make(api: Api, organization_id: str = ORGANIZATION, count: int = 1) -> dict[str, str]:
    """An organization with all that it can have; its keys by what they are to it."""
    new(
        api,
        organization_id=organization_id,
        max_budget=100,
        budget_duration="1d",
        object_permission={"agents": ["a"]},
    )
    found = {}
    for number in range(count):
        team, user = f"{organization_id} team {number}", f"{organization_id} user {number}"
        member = {"user_id": user, "role": "org_admin"}
        api.call(
            "POST",
            "/organization/member_add",
            json={"organization_id": organization_id, "member": member, "max_budget_in_organization": 1},
        )
        roster = [{"user_id": user, "role": "admin"}]
        api.post("/team/new", {"team_id": team, "organization_id": organization_id, "members_with_roles": roster})
        found |= {
            f"of team {number}": api.generate(team_id=team, user_id=user)["key"],
            f"by name {number}": api.generate(organization_id=organization_id)["key"],
            f"of user {number}": api.generate(user_id=user)["key"],
        }
    return found


def test_an_organization_goes_with_its_teams_keys_members_and_tiers(api: Api, services: Services):
    before = new(api, organization_id="other", organization_alias="Other")
    made = make(api)
    shown = {name: value for name, value in info(api).items() if name not in {"members", "teams"}}

    answer = delete(api, ORGANIZATION)

    assert (answer.status, answer.body) == (200, [shown])
    database = services.database
    assert [row["organization_id"] for row in rows(database, organizations)] == ["other"]
    assert [row["budget_id"] for row in rows(database, budgets)] == [before["budget_id"]]
    for table in (organization_members, teams, team_members, object_permissions):
        assert rows(database, table) == [], table
    assert len(rows(database, deleted_keys)) == 2
    assert [row["user_id"] for row in rows(database, users)] == [f"{ORGANIZATION} user 0"]
    assert api.get("/organization/info", organization_id=ORGANIZATION).status == 404
    assert api.info(made["of user 0"])["user_id"] == f"{ORGANIZATION} user 0"


def test_every_key_of_it_is_refused_from_the_answer_on(api: Api):
    made = make(api)
    assert all(calls.allowed(api, key, 1) for key in made.values())

    delete(api, ORGANIZATION)

    codes = {name: calls.verify(api, key)["code"] for name, key in made.items()}
    assert codes == {"of team 0": "unknown", "by name 0": "unknown", "of user 0": "allowed"}
    update = {"organization_id": ORGANIZATION, "organization_alias": "mine"}
    assert api.call("PATCH", "/organization/update", key=made["of user 0"], json=update).status == 401


def test_a_key_that_names_it_and_counts_in_another_goes_too_and_at_once(api: Api, services: Services):
    new(api, organization_id=ORGANIZATION)
    new(api, organization_id="other")
    add_team(services.database, "t", organization_id="other")
    key = api.generate(key_alias="a", team_id="t")["key"]
    change_key(services.database, "a", organization_id=ORGANIZATION)
    calls.allowed(api, key, 1)

    delete(api, ORGANIZATION)

    assert calls.verify(api, key)["code"] == "unknown"
    assert api.get("/team/info", team_id="t").body["keys"] == []


def test_what_was_spent_stays_in_the_ledger_and_one_of_the_same_name_begins_at_zero(api: Api, services: Services):
    made = make(api)
    for name in ("of team 0", "by name 0"):
        calls.spent(api, made[name], 2)
    assert info(api)["spend"] == 4

    delete(api, ORGANIZATION)
    again = new(api, organization_id=ORGANIZATION, max_budget=1)

    assert (again["spend"], again["total_spend"]) == (0, 0)
    charged = [row["amount_nanos"] for row in rows(services.database, ledger) if row["kind"] == "charge"]
    assert sum(charged) == 4_000_000_000
    left = {(row["scope"], row["scope_id"]) for row in rows(services.database, budget_state)}
    assert left == {("organization", ORGANIZATION), ("user", f"{ORGANIZATION} user 0")} | {
        ("key", row["key_id"]) for row in rows(services.database, keys)
    }
    waiting = {row["scope"] for row in rows(services.database, ledger_unfolded)}
    assert waiting.isdisjoint({"organization", "team", "member"})


def test_a_tier_that_something_else_is_linked_to_stays(api: Api, services: Services):
    add_tier(services.database, "gold")
    new(api, organization_id=ORGANIZATION, budget_id="gold")
    api.generate(budget_id="gold")

    delete(api, ORGANIZATION)

    assert [row["budget_id"] for row in rows(services.database, budgets)] == ["gold"]


def test_each_thing_that_went_is_one_row_of_the_audit_and_one_event(api: Api, services: Services):
    make(api)
    with services.database.transaction() as transaction:
        transaction.execute(audit.delete())
        transaction.execute(events.delete())

    delete(api, ORGANIZATION)

    found = rows(services.database, audit)
    assert sorted(row["entity"] for row in found) == ["key", "key", "organization", "team"]
    assert {row["action"] for row in found} == {"delete"}
    assert all(row["before"] is not None and row["after"] is None for row in found)
    told = sorted(row["kind"] for row in rows(services.database, events))
    assert told == ["key_deleted", "key_deleted", "organization_deleted", "team_deleted"]
    (event,) = rows(services.database, events, kind="organization_deleted")
    assert event["payload"] | {"organization_id": ORGANIZATION, "organization_alias": "Acme"} == event["payload"]


def test_all_of_them_go_or_none(api: Api, services: Services):
    for name in ("a", "b"):
        new(api, organization_id=name)

    with unchanged(services.database):
        refused = delete(api, "a", "unknown", "b")
    removed = delete(api, "b", "a", "b")

    assert refused.summary == (404, "not_found_error", "organization_id")
    assert [row["organization_id"] for row in removed.body] == ["b", "a"]
    assert rows(services.database, organizations) == []
    assert delete(api, "a").status == 404


@on_one_store
@pytest.mark.parametrize(
    ("caller", "expected"),
    [("proxy admin", 200), ("viewer", 403), ("org admin", 401), ("team admin", 401), ("team key", 401)],
)
def test_organizations_are_deleted_by_proxy_admins(api: Api, services: Services, caller: str, expected: int):
    people = gather(api, services.database)

    assert delete(api, ORGANIZATION, caller=people[caller]).status == expected
    assert len(rows(services.database, organizations)) == (1 if expected == 200 else 2)


@on_one_store
def test_a_route_that_a_key_was_granted_does_not_make_it_an_admin(api: Api, services: Services):
    add_organization(services.database, ORGANIZATION)
    bob = add_person(api, services.database, "bob", allowed_routes=["management_routes"])

    with unchanged(services.database):
        assert delete(api, ORGANIZATION, caller=bob).summary == (401, "auth_error", None)


@pytest.mark.parametrize(
    ("sent", "location"),
    [
        ({}, ["organization_ids"]),
        ({"organization_ids": None}, ["organization_ids"]),
        ({"organization_ids": ORGANIZATION}, ["organization_ids"]),
        ({"organization_ids": [1]}, ["organization_ids", 0]),
        ({"organization_ids": [None]}, ["organization_ids", 0]),
        ({"organization_ids": ["o"] * 101}, ["organization_ids"]),
    ],
)
def test_a_wrong_request_does_not_fit_the_schema(shared_api: Api, sent: dict[str, Any], location: list[str | int]):
    answer = shared_api.call("DELETE", "/organization/delete", json=sent)

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["body", *location])


@on_one_store
def test_without_redis_nothing_is_deleted(api: Api, services: Services, settings: Settings, clock: MovableClock):
    make(api)

    with without_redis(settings, clock) as cut_off, unchanged(services.database):
        assert delete(cut_off, ORGANIZATION).status == 503


def test_statements_do_not_grow_with_what_goes(api: Api, services: Services):
    make(api, "few")
    make(api, "many", 4)

    def sent(*organization_ids: str) -> int:
        with statements(services.database) as found:
            assert delete(api, *organization_ids).status == 200
        return len(found)

    assert (sent("few"), sent("many")) == (54, 54)


@on_one_store
def test_more_keys_than_are_archived_at_once_go_all(api: Api, services: Services):
    new(api, organization_id=ORGANIZATION)
    key_id = api.generate(organization_id=ORGANIZATION)["key_id"]
    copy_key(services.database, key_id, ARCHIVE_BATCH)

    assert delete(api, ORGANIZATION).status == 200

    assert rows(services.database, keys) == []
    assert len(rows(services.database, deleted_keys)) == ARCHIVE_BATCH + 1


@on_one_store
def test_a_deletion_that_names_none_is_refused(api: Api):
    assert delete(api).summary == (400, "invalid_request_error", "organization_ids")

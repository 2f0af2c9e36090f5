"""POST /team/delete: a team goes with its keys, members, tiers and accounts, in one transaction, and at once."""

from typing import Any

import pytest
from sqlalchemy import func, select

from app.container import Services
from app.dispatch import TaskName
from app.domain.teams import member_id
from app.models import (
    audit,
    budget_state,
    budgets,
    deleted_keys,
    deleted_teams,
    events,
    key_secrets,
    keys,
    ledger,
    object_permissions,
    team_members,
    teams,
)
from app.services.keys import key_ends
from app.services.ledger.ledger_check import Checked
from tests.api.calls import allowed, refused, settle
from tests.api.counting import statements
from tests.api.identities import TEAM, gather, without_redis
from tests.api.teams import add, info, new
from tests.clients import Answer, Api
from tests.clocks import MovableClock
from tests.factories import add_team, add_user, copy_key, rows, unchanged


def delete(api: Api, *team_ids: str, **kwargs: Any) -> Answer:
    return api.post("/team/delete", {"team_ids": list(team_ids)}, **kwargs)


def furnished(api: Api, team_id: str = TEAM) -> str:
    """A team with all that a team can have, and the plaintext of a key of a member of it."""
    new(
        api,
        team_id=team_id,
        team_alias=f"The {team_id}",
        max_budget=50,
        team_member_budget=5,
        object_permission={"agents": ["m"]},
    )
    add(api, team_id, [{"user_id": "ann", "role": "admin"}])
    add(api, team_id, [{"user_id": "bob", "role": "user"}], max_budget_in_team=20)
    return str(api.generate(team_id=team_id, user_id="bob", object_permission={"agents": ["k"]})["key"])


def checked(services: Services) -> Checked:
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    return services.ledger_check.check(10)


# --- what goes, and what stays -----------------------------------------------------------------------------


def test_a_team_goes_with_everything_that_belonged_to_it_alone(api: Api, services: Services):
    new(api, team_id="other", team_member_budget=7, object_permission={"models": ["o"]})
    add(api, "other", [{"user_id": "ann", "role": "user"}])
    others = api.generate(team_id="other")["key"]
    tables = (keys, key_secrets, teams, team_members, budgets, object_permissions, budget_state)
    before = [rows(services.database, table) for table in tables]
    furnished(api)

    answer = delete(api, TEAM)

    assert (answer.status, answer.body) == (200, {"deleted_teams": [TEAM]})
    gone = {("user", "bob")}  # bob, a user by now, has an account of his own
    after = [rows(services.database, table) for table in tables]
    assert after[:-1] == before[:-1]
    assert [row for row in after[-1] if (row["scope"], row["scope_id"]) not in gone] == before[-1]
    assert api.get("/models", others).status == 200


def test_a_team_that_is_deleted_is_not_found(api: Api):
    furnished(api)
    delete(api, TEAM)

    for answer in (
        api.get("/team/info", team_id=TEAM),
        api.post("/team/update", {"team_id": TEAM}),
        api.post("/team/block", {"team_id": TEAM}),
        delete(api, TEAM),
    ):
        assert answer.summary == (404, "not_found_error", "team_id")


def test_a_key_of_the_team_is_refused_by_the_next_request(api: Api):
    key = furnished(api)
    allowed(api, key)
    assert api.get("/models", key).status == 200

    delete(api, TEAM)

    assert api.get("/models", key).status == 401
    assert refused(api, key)["code"] == "unknown"


def test_the_archive_holds_the_team_as_it_was_and_who_deleted_it(api: Api, services: Services):
    furnished(api)
    shown = info(api, TEAM)

    delete(api, TEAM, headers={"litellm-changed-by": "eve"})

    (row,) = rows(services.database, deleted_teams)
    assert (row["fields"], row["team_memberships"]) == (shown["team_info"], shown["team_memberships"])
    assert (row["members"], row["max_budget_nanos"]) == (["ann", "bob"], 50 * 10**9)
    assert (row["deleted_at"], row["deleted_by"], row["changed_by"]) == (
        services.clock.now(), "default_user_id", "eve",
    )  # fmt: skip
    (key,) = rows(services.database, deleted_keys)
    assert (key["team_id"], key["user_id"], key["changed_by"]) == (TEAM, "bob", "eve")


def test_every_entity_has_its_audit_row_and_its_event(api: Api, services: Services):
    furnished(api)
    shown = info(api, TEAM)["team_info"]

    delete(api, TEAM, headers={"litellm-changed-by": "eve"})

    records = {row["entity"]: row for row in rows(services.database, audit, action="delete")}
    assert records.keys() == {"team", "key"}
    assert (records["team"]["entity_id"], records["team"]["changed_by"]) == (TEAM, "eve")
    assert (records["team"]["before"], records["team"]["after"]) == (shown, None)
    told = {event["kind"]: event for event in rows(services.database, events)}
    assert {"team_deleted", "key_deleted"} <= told.keys()
    payloads = [told[kind]["payload"] for kind in ("team_deleted", "key_deleted")]
    named = {"team_id": TEAM, "team_alias": f"The {TEAM}", "organization_id": None}
    assert payloads[0] | named == payloads[0]
    assert payloads[0].keys() == payloads[1].keys(), "receivers read all events alike"


def test_a_tier_that_something_else_is_linked_to_stays(api: Api, services: Services):
    furnished(api)
    (shared,) = [row["member_budget_id"] for row in rows(services.database, teams)]
    api.generate(budget_id=shared)

    delete(api, TEAM)

    assert [row["budget_id"] for row in rows(services.database, budgets)] == [shared]


def test_users_stay_and_are_in_no_team_any_more(api: Api, services: Services):
    add_user(services.database, "ann")
    furnished(api)

    delete(api, TEAM)

    assert api.get("/user/info", user_id="ann").body["teams"] == []


# --- the ledger --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folded", [True, False])
def test_a_team_of_the_same_name_begins_at_zero_and_no_balance_drifts(api: Api, services: Services, folded: bool):
    key = furnished(api)
    settle(api, allowed(api, key), 2)
    late = allowed(api, key)
    if folded:
        assert checked(services).drifts == []

    delete(api, TEAM)
    settle(api, late, 1)
    assert checked(services).drifts == []
    furnished(api)

    assert checked(services).drifts == []
    found = info(api, TEAM)
    assert found["team_info"]["spend"] in {0, 1}  # the call that was under way is the name's own
    charged = [row["amount_nanos"] for row in rows(services.database, ledger, kind="charge")]
    assert charged == [2 * 10**9, 10**9]


def test_accounts_that_were_never_charged_leave_no_entry(api: Api, services: Services):
    furnished(api)

    delete(api, TEAM)

    assert rows(services.database, ledger) == []
    assert rows(services.database, budget_state, scope="team") == []
    assert rows(services.database, budget_state, scope="member", scope_id=member_id(TEAM, "bob")) == []


# --- all or none -------------------------------------------------------------------------------------------


def test_a_name_that_stands_twice_is_deleted_once(api: Api, services: Services):
    for team_id in ("b", "a"):
        new(api, team_id=team_id)

    assert delete(api, "b", "a", "b").body == {"deleted_teams": ["b", "a"]}
    assert len(rows(services.database, deleted_teams)) == 2


def test_one_unknown_team_and_nothing_is_deleted(api: Api, services: Services):
    furnished(api)

    with unchanged(services.database):
        answer = delete(api, TEAM, "unknown")

    assert answer.summary == (404, "not_found_error", "team_id")
    assert "unknown" in answer.error["message"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({}, 422),
        ({"team_ids": None}, 422),
        ({"team_ids": "crew"}, 422),
        ({"team_ids": [None]}, 422),
        ({"team_ids": ["t"] * 1_001}, 422),
        ({"team_ids": []}, 400),
    ],
)
def test_what_names_no_teams_is_refused(shared_api: Api, sent: dict[str, Any], status: int):
    assert shared_api.post("/team/delete", sent).status == status


def test_with_redis_away_nothing_is_deleted(api: Api, services: Services, clock: MovableClock):
    furnished(api)

    with without_redis(services.settings, clock) as lonely, unchanged(services.database):
        assert delete(lonely, TEAM).status == 503


# --- who may -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        ("master", 200),
        ("proxy admin", 200),
        ("org admin", 200),
        ("team admin", 401),  # an administrator may list the route on a key, see below
        ("member", 401),
        ("team key", 401),
        ("org member", 401),
        ("stranger", 401),
        ("viewer", 403),
        ("other org admin", 404),
    ],
)
def test_a_team_is_deleted_by_those_above_it(api: Api, services: Services, caller: str, expected: int):
    people = gather(api, services.database)
    delete(api, "warm-up", key=people[caller])

    with statements(services.database) as of_unknown:
        unknown = delete(api, "hidden", key=people[caller])
    with statements(services.database) as of_known:
        answer = delete(api, TEAM, key=people[caller])

    assert answer.status == expected
    assert unknown.status == (404 if expected == 200 else expected)
    assert len(rows(services.database, teams, team_id=TEAM)) == (0 if expected == 200 else 1)
    if expected == 404:
        assert answer.summary == unknown.summary == (404, "not_found_error", "team_id")
        assert answer.error["message"].replace(TEAM, "hidden") == unknown.error["message"]
        assert len(of_known) == len(of_unknown) == 2


@pytest.mark.parametrize(("user", "expected"), [("team admin", 200), ("member", 403), ("stranger", 404)])
def test_a_key_that_an_administrator_opened_the_route_to_deletes_the_teams_of_its_owner(
    api: Api, services: Services, user: str, expected: int
):
    gather(api, services.database)
    key = api.generate(user_id=user, allowed_routes=["/team/delete"])["key"]

    assert delete(api, TEAM, key=key).status == expected


def test_a_mixture_of_own_and_foreign_teams_deletes_none(api: Api, services: Services):
    people = gather(api, services.database)

    with unchanged(services.database):
        answer = delete(api, TEAM, "elsewhere", key=people["org admin"])

    assert answer.summary == (404, "not_found_error", "team_id")


# --- costs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 30])
def test_statements_do_not_grow_with_the_teams_their_keys_and_their_members(
    api: Api, services: Services, count: int
):
    names = [f"t{number}" for number in range(count)]
    for name in names:
        new(api, team_id=name, team_member_budget=1, object_permission={"agents": ["m"]})
        add(api, name, [{"user_id": f"u{number}", "role": "user"} for number in range(count)], rpm_limit=1)
        api.generate(team_id=name, object_permission={"agents": ["m"]})

    with statements(services.database) as sent:
        assert delete(api, *names).status == 200

    assert len(sent) == 28


def test_more_keys_than_a_batch_holds_go_with_their_team(api: Api, services: Services):
    add_team(services.database, TEAM)
    api.generate(team_id=TEAM)
    (key,) = rows(services.database, keys)
    count = 2 * key_ends.ARCHIVE_BATCH
    copy_key(services.database, key["key_id"], count)

    assert delete(api, TEAM).status == 200

    with services.database.read() as connection:
        counted = [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (keys, key_secrets, deleted_keys, deleted_teams)
        ]
    assert counted == [0, 0, count + 1, 1]

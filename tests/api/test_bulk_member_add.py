"""POST /team/bulk_member_add: many users join a team in one request, which tells of each what came of it."""

from typing import Any

import pytest

from app.container import Services
from app.models import audit, team_members, users
from tests.api.counting import statements
from tests.api.identities import MANAGING_THE_TEAM, TEAM, gather, without_redis
from tests.api.teams import info, memberships, new, roles
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
from tests.factories import add_user, rows, unchanged


def post(
    api: Api, *members: dict[str, Any], caller: str = MASTER_KEY, team_id: str = TEAM, **fields: Any
) -> Answer:
    sent = {"team_id": team_id, **({"members": list(members)} if members else {}), **fields}
    return api.post("/team/bulk_member_add", sent, key=caller)


def outcomes(answer: Answer) -> list[tuple[str | None, bool, str | None]]:
    assert answer.status == 200, answer
    return [(each["user_id"], each["success"], each["error"]) for each in answer.body["results"]]


def test_everybody_joins_and_each_is_told_of(api: Api):
    new(api, team_id=TEAM)

    answer = post(
        api,
        {"user_id": "ann", "role": "admin"},
        {"user_email": "Bob@example.com", "role": "user"},
        max_budget_in_team=3,
    )

    ann, bob = answer.body["results"]
    assert {name: answer.body[name] for name in ("total_requested", "successful_additions", "failed_additions")} == {
        "total_requested": 2, "successful_additions": 2, "failed_additions": 0,
    }  # fmt: skip
    assert answer.body["updated_team"] == info(api, TEAM)["team_info"]
    members = memberships(api, TEAM)
    for result in (ann, bob):
        assert result["updated_team_membership"] == members[result["user_id"]]
        assert result["updated_user"]["user_id"] == result["user_id"]
        assert result["updated_team_membership"]["litellm_budget_table"]["max_budget"] == 3
    assert (ann["user_id"], bob["user_email"]) == ("ann", "Bob@example.com")


def test_sent_again_it_changes_nothing_and_tells_the_same(api: Api, services: Services):
    new(api, team_id=TEAM)
    sent = ({"user_id": "ann", "role": "admin"}, {"user_email": "bob@example.com", "role": "user"})
    first = post(api, *sent)

    with unchanged(services.database):
        again = post(api, *sent)

    assert outcomes(again) == outcomes(first)


def test_an_entry_that_cannot_be_followed_keeps_none_of_the_others(api: Api, services: Services):
    people = gather(api, services.database)
    add_user(services.database, "ann")

    answer = post(
        api,
        {"user_id": "ann", "role": "user"},
        {"user_id": "nobody", "role": "user"},
        {"user_id": "second", "role": "admin"},
        caller=people["team admin"],
    )

    assert outcomes(answer) == [
        ("ann", True, None), ("nobody", False, "user_id names nothing that exists"), ("second", True, None),
    ]  # fmt: skip
    assert (answer.body["successful_additions"], answer.body["failed_additions"]) == (2, 1)
    assert roles(answer.body["updated_team"])["second"] == "user"
    assert rows(services.database, users, user_id="nobody") == []


def test_an_address_belongs_to_one_user(api: Api, services: Services):
    new(api, team_id=TEAM)
    add_user(services.database, "ann", user_email="ann@example.com", email_folded="ann@example.com")

    answer = post(
        api,
        {"user_id": "other", "user_email": "Ann@example.com", "role": "user"},
        {"user_id": "bob", "user_email": "bob@example.com", "role": "user"},
        {"user_id": "bobby", "user_email": "bob@example.com", "role": "user"},
    )

    assert [(user, success) for user, success, _ in outcomes(answer)] == [
        ("other", False), ("bob", True), ("bobby", False),
    ]  # fmt: skip
    assert roles(answer.body["updated_team"]) == {"bob": "user"}


def test_one_user_named_twice_joins_once(api: Api, services: Services):
    new(api, team_id=TEAM)

    answer = post(api, {"user_id": "ann", "role": "user"}, {"user_id": "ann", "role": "admin"})

    assert outcomes(answer) == [("ann", True, None)] * 2
    assert roles(answer.body["updated_team"]) == {"ann": "user"}


def test_all_users_are_those_that_are_not_in_the_team_yet(api: Api, services: Services):
    new(api, team_id=TEAM, members_with_roles=[{"user_id": "ann", "role": "admin"}])
    for name in ("bob", "carl"):
        add_user(services.database, name)

    answer = post(api, all_users=True)
    again = post(api, all_users=True)

    assert sorted(outcomes(answer)) == [("bob", True, None), ("carl", True, None)]
    assert roles(answer.body["updated_team"]) == {"ann": "admin", "bob": "user", "carl": "user"}
    assert (again.status, again.body["total_requested"]) == (200, 0)


def test_all_users_are_added_by_administrators_alone(api: Api, services: Services):
    people = gather(api, services.database)

    with unchanged(services.database):
        answer = post(api, caller=people["team admin"], all_users=True)

    assert answer.summary == (403, "auth_error", "all_users")


@pytest.mark.parametrize("fields", [{}, {"members": None}, {"members": []}, {"all_users": False}])
def test_somebody_has_to_be_named(api: Api, fields: dict[str, Any]):
    new(api, team_id=TEAM)

    assert post(api, **fields).summary == (400, "invalid_request_error", "members")


def test_no_more_than_five_hundred_join_at_once(api: Api, services: Services):
    new(api, team_id=TEAM)
    members = [{"user_id": f"u{number}", "role": "user"} for number in range(501)]

    with unchanged(services.database):
        answer = post(api, *members)
    full = post(api, *members[:500])

    assert answer.summary == (400, "invalid_request_error", "members")
    assert (full.status, full.body["successful_additions"]) == (200, 500)


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"team_id": TEAM, "members": [{"user_id": "a"}]},
        {"team_id": TEAM, "members": [{"role": "user"}]},
        {"team_id": TEAM, "members": {"user_id": "a", "role": "user"}},
    ],
)
def test_what_is_no_list_of_members_does_not_fit_the_schema(shared_api: Api, sent: dict[str, Any]):
    assert shared_api.post("/team/bulk_member_add", sent).status == 422


def test_a_bad_budget_is_named_and_nobody_joins(api: Api, services: Services):
    new(api, team_id=TEAM)

    with unchanged(services.database):
        answer = post(api, {"user_id": "ann", "role": "user"}, max_budget_in_team=-1)

    assert answer.summary == (400, "invalid_request_error", "max_budget_in_team")


@pytest.mark.parametrize(("caller", "expected"), MANAGING_THE_TEAM.items())
def test_members_are_added_by_those_who_manage_the_team(api: Api, services: Services, caller: str, expected: int):
    people = gather(api, services.database)
    add_user(services.database, "ann")
    post(api, {"user_id": "ann", "role": "user"}, caller=people[caller], team_id="warm-up")

    with statements(services.database) as of_unknown:
        unknown = post(api, {"user_id": "ann", "role": "user"}, caller=people[caller], team_id="hidden")
    with statements(services.database) as of_known:
        answer = post(api, {"user_id": "ann", "role": "user"}, caller=people[caller])

    assert answer.status == expected
    if expected == 404:
        assert answer.summary == unknown.summary == (404, "not_found_error", "team_id")
        assert len(of_known) == len(of_unknown) == 1


def test_the_audit_names_who_was_added(api: Api, services: Services):
    new(api, team_id=TEAM)

    post(api, {"user_id": "ann", "role": "user"}, {"user_id": "bob", "role": "user"})

    (row,) = rows(services.database, audit, action="bulk_member_add")
    assert (row["entity"], row["entity_id"]) == ("team", TEAM)
    assert {member["user_id"] for member in row["after"]["members_added"]} == {"ann", "bob"}


def test_with_redis_away_nobody_joins(api: Api, services: Services, clock: MovableClock):
    new(api, team_id=TEAM)

    with without_redis(services.settings, clock) as lonely, unchanged(services.database):
        assert post(lonely, {"user_id": "ann", "role": "user"}).status == 503


@pytest.mark.parametrize("count", [1, 50])
def test_statements_do_not_grow_with_the_members(api: Api, services: Services, count: int):
    new(api, team_id=TEAM)
    for number in range(count):
        add_user(services.database, f"known{number}")
    members = [
        {"user_id": f"{kind}{number}", "role": "user"} for number in range(count) for kind in ("known", "new")
    ]

    with statements(services.database) as sent:
        assert post(api, *members, max_budget_in_team=1).status == 200

    assert len(rows(services.database, team_members)) == 2 * count
    assert len(sent) == 17

"""GET /organization/list."""

from typing import Any

import pytest
from sqlalchemy import insert

from app.container import Services
from app.models import organization_members, teams
from app.services.organizations.organization_lists import MOST_SHOWN
from tests.api.counting import statements
from tests.api.identities import ORGANIZATION, TEAM, gather
from tests.api.organizations import info, new
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import START, MovableClock
from tests.factories import add_organization, add_team, add_user, on_one_store


def listed(api: Api, caller: str = MASTER_KEY, **query: Any) -> Answer:
    answer = api.get("/organization/list", caller, **query)
    assert answer.status == 200, answer
    return answer


def ids(answer: Answer) -> list[str]:
    return [organization["organization_id"] for organization in answer.body]


def many(api: Api, clock: MovableClock, count: int) -> list[str]:
    """So many organizations, newest first."""
    made = []
    for number in range(count):
        clock.advance(60)
        made.append(
            new(api, organization_id=f"o{number}", organization_alias=f"Number {number}")["organization_id"]
        )
    return made[::-1]


def test_without_organizations_the_list_is_empty(api: Api):
    assert listed(api).body == []


def test_an_organization_is_listed_as_info_shows_it(api: Api):
    new(api, organization_id=ORGANIZATION, max_budget=7, models=["gpt-4o"], object_permission={"agents": ["a"]})
    api.post("/user/new", {"user_id": "bob", "organizations": [ORGANIZATION]})
    api.post("/team/new", {"team_id": TEAM, "organization_id": ORGANIZATION, "members_with_roles": []})

    (found,) = listed(api).body

    shown = info(api)
    for team in shown["teams"]:
        for roster in ("admins", "members", "members_with_roles"):
            del team[roster]
    assert found == {**shown, "more_members": False, "more_teams": False}
    assert [member["user_id"] for member in found["members"]] == ["bob"]
    assert [team["team_id"] for team in found["teams"]] == [TEAM]


def test_the_newest_come_first_a_page_at_a_time(api: Api, clock: MovableClock):
    newest_first = many(api, clock, 5)

    first = listed(api, page_size=2)
    new(api, organization_id="later")
    second = listed(api, page_size=2, cursor=first.headers["x-keyledger-next-cursor"])
    third = listed(api, page_size=2, cursor=second.headers["x-keyledger-next-cursor"])

    assert ids(first) + ids(second) + ids(third) == newest_first
    assert "x-keyledger-next-cursor" not in third.headers
    assert ids(listed(api, page_size=2, page=3)) == newest_first[3:]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"org_id": "o1"}, ["o1"]),
        ({"org_id": "o"}, []),
        ({"org_alias": "NUMBER 2"}, ["o2"]),
        ({"org_alias": "umb"}, ["o2", "o1", "o0"]),
        ({"org_alias": "%"}, []),
        ({"org_alias": "_umber"}, []),
        ({"org_id": "o1", "org_alias": "number 1"}, ["o1"]),
        ({"org_id": "o1", "org_alias": "number 2"}, []),
        ({"org_id": "", "org_alias": ""}, ["o2", "o1", "o0"]),
    ],
)
def test_organizations_are_found_by_id_and_by_a_part_of_the_alias(
    api: Api, clock: MovableClock, query: dict[str, str], expected: list[str]
):
    many(api, clock, 3)

    assert ids(listed(api, **query)) == expected


def test_a_cursor_is_good_for_the_list_that_it_comes_from(api: Api, clock: MovableClock):
    many(api, clock, 3)
    cursor = listed(api, page_size=1).headers["x-keyledger-next-cursor"]

    for wrong in ({"org_alias": "number", "cursor": cursor}, {"cursor": "made-up"}):
        answer = api.get("/organization/list", page_size=1, **wrong)
        assert answer.summary == (400, "invalid_request_error", "cursor")


@on_one_store
@pytest.mark.parametrize(
    ("query", "location"),
    [({"page": 0}, "page"), ({"page_size": 101}, "page_size"), ({"org_id": "x" * 513}, "org_id")],
)
def test_a_wrong_query_does_not_fit_the_schema(api: Api, query: dict[str, Any], location: str):
    answer = api.get("/organization/list", **query)

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["query", location])


@pytest.mark.parametrize(
    ("caller", "organizations", "teams"),
    [
        ("master", {ORGANIZATION, "other"}, {TEAM, "second team", "elsewhere"}),
        ("viewer", {ORGANIZATION, "other"}, {TEAM, "second team", "elsewhere"}),
        ("org admin", {ORGANIZATION}, {TEAM, "second team"}),
        ("org member", {ORGANIZATION}, set()),
        ("other org admin", {"other"}, {"elsewhere"}),
        ("team admin", set(), set()),
        ("stranger", set(), set()),
        ("team key", set(), set()),
    ],
)
def test_everybody_sees_the_organizations_that_it_belongs_to_and_there_the_teams_that_it_may_see(
    api: Api, services: Services, caller: str, organizations: set[str], teams: set[str]
):
    people = gather(api, services.database)
    add_team(services.database, "second team", organization_id=ORGANIZATION)

    found = listed(api, people[caller])

    assert set(ids(found)) == organizations
    assert {team["team_id"] for organization in found.body for team in organization["teams"]} == teams
    # What it does not see, it does not find either.
    hidden = {ORGANIZATION, "other"} - organizations
    assert all(listed(api, people[caller], org_id=organization_id).body == [] for organization_id in hidden)


def test_a_plain_member_sees_its_own_teams_and_of_the_others_who_they_are(api: Api, services: Services):
    people = gather(api, services.database)
    add_team(services.database, "of the member", {"org member": "user"}, organization_id=ORGANIZATION)

    (found,) = listed(api, people["org member"]).body

    assert [team["team_id"] for team in found["teams"]] == ["of the member"]
    users = {member["user_id"]: member["user"] for member in found["members"]}
    assert users["org admin"] == {"user_id": "org admin", "user_email": None, "user_alias": None}
    assert "max_budget" in users["org member"]


def test_somebody_in_several_organizations_is_listed_in_each_with_its_role_there(api: Api, services: Services):
    names = ['a "quoted", ünusual [name]', "plain"]
    add_organization(services.database, "o1", {names[0]: "org_admin", names[1]: None})
    add_organization(services.database, 'o"2', {names[0]: "internal_user"})

    found = {
        organization["organization_id"]: {
            member["user_id"]: member["user_role"] for member in organization["members"]
        }
        for organization in listed(api).body
    }

    assert found == {"o1": {names[0]: "org_admin", names[1]: None}, 'o"2': {names[0]: "internal_user"}}


def test_of_a_large_organization_the_first_are_shown_and_that_there_are_more(api: Api, services: Services):
    add_organization(services.database, "large")
    add_organization(services.database, "small", {"user 0": None})
    share = MOST_SHOWN // 2
    names = [f"{number:03}" for number in range(share + 1)]
    made = {"created_at": START, "updated_at": START}
    with services.database.transaction() as transaction:
        transaction.execute(
            insert(organization_members), [{"organization_id": "large", "user_id": name, **made} for name in names]
        )
        transaction.execute(
            insert(teams), [{"organization_id": "large", "team_id": name, **made} for name in names]
        )

    found = {organization["organization_id"]: organization for organization in listed(api).body}
    (alone,) = listed(api, org_id="large").body

    large, small = found["large"], found["small"]
    assert [member["user_id"] for member in large["members"]] == names[:share]
    assert [team["team_id"] for team in large["teams"]] == names[:share]
    assert (large["more_members"], large["more_teams"]) == (True, True)
    assert (len(small["members"]), small["more_members"], small["more_teams"]) == (1, False, False)
    assert (len(alone["members"]), len(alone["teams"]), alone["more_members"]) == (share + 1, share + 1, False)


def test_statements_do_not_grow_with_organizations_members_and_teams(api: Api, services: Services):
    for number in range(3):
        members = {f"user {number}.{place}": "org_admin" for place in range(number + 1)}
        add_organization(services.database, f"o{number}", members)
        for user_id in members:
            add_user(services.database, user_id)
            add_team(services.database, f"of {user_id}", {user_id: "admin"}, organization_id=f"o{number}")

    def sent(**query: Any) -> tuple[int, str | None]:
        with statements(services.database) as found:
            answer = listed(api, **query)
        return len(found), answer.headers.get("x-keyledger-next-cursor")

    few, cursor = sent(page_size=1)
    assert (few, sent()[0], sent(page_size=1, cursor=cursor)[0]) == (7, 7, 6)
    assert sent(org_id="unknown")[0] == 2

"""GET /user/list: filters, order, pages, and whom each caller gets to see; GET /v2/user/info; the roles."""

from typing import Any

import pytest
from sqlalchemy import insert

from app.container import Services
from app.dispatch import TaskName
from app.models import organization_members
from app.services.users.user_filters import SORTS
from tests.api.calls import spent
from tests.api.counting import statements
from tests.api.identities import ORGANIZATION, TEAM, gather
from tests.api.users import info, new
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
from tests.factories import add_organization, add_person, add_team, add_user


def listed(api: Api, key: str = MASTER_KEY, **query: Any) -> Answer:
    return api.call("GET", "/user/list", key=key, query=query)


def ids(api: Api, key: str = MASTER_KEY, **query: Any) -> list[str]:
    """The ids of the listed users, in their order."""
    answer = listed(api, key, **{"page_size": 100, **query})
    assert answer.status == 200, answer
    return [user["user_id"] for user in answer.body["users"]]


def make(api: Api, clock: MovableClock, **people: dict[str, Any]) -> None:
    """Make users without keys, a second apart."""
    for user_id, fields in people.items():
        new(api, user_id=user_id, auto_create_key=False, **fields)
        clock.advance(1)


# --- shape and pages ---------------------------------------------------------------------------------------


def test_nothing_is_an_empty_list_of_no_pages(api: Api):
    assert listed(api).body == {"users": [], "total": 0, "page": 1, "page_size": 25, "total_pages": 0}


def test_a_row_is_what_info_shows_with_the_number_of_keys(api: Api):
    new(api, user_id="bob", max_budget=1)
    api.generate(user_id="bob")
    api.generate(user_id="bob", team_id="litellm-dashboard")
    new(api, user_id="eve", auto_create_key=False)

    found = {user["user_id"]: user for user in listed(api).body["users"]}

    assert found["bob"] == {**info(api, "bob")["user_info"], "key_count": 2}
    assert found["eve"]["key_count"] == 0


@pytest.mark.parametrize(
    "query", [{}, *({"sort_by": name, "sort_order": way} for name in SORTS for way in ("asc", "desc"))]
)
def test_a_walk_by_pages_and_one_by_cursor_meet_everybody_once_in_one_order(
    api: Api, clock: MovableClock, query: dict[str, str]
):
    for number in range(7):
        fields = {"user_email": f"{number}@example.com", "sso_user_id": f"s{number}", "user_role": "internal_user"}
        new(api, user_id=f"user {number}", **({**fields, "max_budget": number % 2} if number % 3 else {}))
        clock.advance(number % 2)

    by_page = [listed(api, page=page, page_size=3, **query) for page in (1, 2, 3)]
    by_cursor = [listed(api, page_size=3, **query)]
    while "x-keyledger-next-cursor" in by_cursor[-1].headers:
        cursor = by_cursor[-1].headers["x-keyledger-next-cursor"]
        by_cursor.append(listed(api, page_size=3, cursor=cursor, **query))

    walks = [[user["user_id"] for page in walk for user in page.body["users"]] for walk in (by_page, by_cursor)]
    assert walks[0] == walks[1]
    assert sorted(walks[0]) == [f"user {number}" for number in range(7)]
    assert {(page.body["total"], page.body["total_pages"]) for page in (*by_page, *by_cursor)} == {(7, 3)}


# --- filters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"role": "internal_user_viewer"}, ["eve"]),
        ({"role": "king"}, []),
        ({"user_ids": "bob,eve , never,"}, ["eve", "bob"]),
        ({"user_ids": "O"}, ["bob"]),
        ({"user_ids": "_"}, ["100%_me"]),
        ({"user_ids": ","}, ["100%_me", "eve", "bob"]),
        ({"sso_user_ids": "s-1,s-9"}, ["bob"]),
        ({"user_email": "EXAMPLE"}, ["eve", "bob"]),
        ({"user_email": "%"}, []),
        ({"search": "eVe"}, ["eve"]),
        ({"search": "example.com"}, ["eve", "bob"]),
        ({"search": "100%_"}, ["100%_me"]),
        ({"team": TEAM}, ["bob"]),
        ({"team": "never"}, []),
        ({"organization_ids": f"{ORGANIZATION},never"}, ["bob"]),
        ({"organization_ids": "never"}, []),
        ({"role": "internal_user_viewer", "team": TEAM}, []),
        ({"role": "", "user_ids": "", "search": "", "team": "", "user_email": ""}, ["100%_me", "eve", "bob"]),
    ],
)
def test_filters_narrow_the_list_and_its_total(
    api: Api, services: Services, clock: MovableClock, query: dict[str, str], expected: list[str]
):
    add_organization(services.database, ORGANIZATION)
    add_team(services.database, TEAM)
    bob = {"user_email": "Bob@Example.com", "sso_user_id": "s-1", "teams": [TEAM], "organizations": [ORGANIZATION]}
    eve = {"user_email": "eve@example.com", "user_role": "internal_user_viewer"}
    make(api, clock, **{"bob": bob, "eve": eve, "100%_me": {}})

    answer = listed(api, **query)

    assert [user["user_id"] for user in answer.body["users"]] == expected
    assert answer.body["total"] == len(expected)
    assert "x-keyledger-total-count-capped" not in answer.headers


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"sort_by": "metadata"}, "sort_by"),
        ({"sort_by": "status"}, "sort_by"),
        ({"sort_by": "key_count"}, "sort_by"),
        ({"sort_by": "spend", "sort_order": "up"}, "sort_order"),
        ({"cursor": "x"}, "cursor"),
    ],
)
def test_a_sort_or_a_cursor_that_does_not_exist_is_refused(shared_api: Api, query: dict[str, str], param: str):
    answer = listed(shared_api, **query)

    assert answer.summary == (400, "invalid_request_error", param)
    if param == "sort_by":
        assert all(name in answer.error["message"] for name in SORTS)


@pytest.mark.parametrize(
    ("name", "value"),
    [("page", "0"), ("page_size", "101"), ("page_size", "0"), ("page_size", "many"), ("user_ids", "a," * 501)],
)
def test_a_parameter_that_is_wrong_does_not_fit(shared_api: Api, name: str, value: str):
    answer = listed(shared_api, **{name: value})

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["query", name])


# --- order -------------------------------------------------------------------------------------------------

FIRST_SECOND_NONE: dict[str, tuple[Any, Any]] = {
    "user_email": ("a@example.com", "b@example.com"),
    "user_alias": ("a", "b"),
    "user_role": ("customer", "team"),
    "max_budget": (1, 2),
    "sso_user_id": ("a", "b"),
}


@pytest.mark.parametrize("column", FIRST_SECOND_NONE)
def test_missing_values_come_last_in_both_directions(api: Api, column: str):
    for user_id, value in zip(("first", "second", "none"), (*FIRST_SECOND_NONE[column], None), strict=True):
        new(api, user_id=user_id, **{column: value})

    assert ids(api, sort_by=column) == ["first", "second", "none"]
    assert ids(api, sort_by=column, sort_order="DESC") == ["second", "first", "none"]


def test_every_other_column_sorts_too(api: Api, services: Services, clock: MovableClock):
    make(api, clock, b={}, a={})
    spent(api, api.generate(user_id="b")["key"], 2)
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)

    for column, expected in {
        "user_id": ["a", "b"],
        "created_at": ["b", "a"],
        "updated_at": ["b", "a"],
        "spend": ["a", "b"],
    }.items():
        assert ids(api, sort_by=column) == expected
        assert ids(api, sort_by=column, sort_order="desc") == expected[::-1]
    assert ids(api, sort_order="up") == ["a", "b"]


# --- who may see whom --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        ("master", 200),
        ("proxy admin", 200),
        ("viewer", 200),
        ("org admin", 200),
        ("other org admin", 200),
        ("org member", 403),
        ("team admin", 403),
        ("member", 403),
        ("team key", 403),
        ("stranger", 403),
    ],
)
def test_users_are_listed_by_administrators(api: Api, services: Services, caller: str, expected: int):
    people = gather(api, services.database)

    answer = listed(api, people[caller])

    assert answer.status == expected
    if caller in {"master", "proxy admin", "viewer"}:
        assert answer.body["total"] == 9


def test_an_org_admin_sees_the_members_of_its_organizations_and_no_others(api: Api, services: Services):
    people = gather(api, services.database)

    assert sorted(ids(api, people["org admin"])) == ["org admin", "org member"]
    assert ids(api, people["org admin"], organization_ids=ORGANIZATION, sort_by="user_id") == [
        "org admin",
        "org member",
    ]
    assert sorted(ids(api, people["org admin"], organization_ids=f"other,{ORGANIZATION}")) == [
        "org admin",
        "org member",
    ]
    assert (
        ids(api, people["org admin"], search="stranger") == ids(api, people["org admin"], team="elsewhere") == []
    )
    assert ids(api, people["other org admin"]) == ["other org admin"]


def test_asking_for_a_foreign_organization_answers_like_asking_for_one_that_is_not_there(
    api: Api, services: Services
):
    people = gather(api, services.database)

    answers = [listed(api, people["org admin"], organization_ids=name) for name in ("other", "never")]

    assert answers[0].summary == (403, "auth_error", "organization_ids")
    assert answers[0].body == answers[1].body


def test_an_org_admin_is_not_told_of_teams_beyond_its_organizations(api: Api, services: Services):
    people = gather(api, services.database)
    add_team(services.database, "of nobody", {"org member": "user"})
    add_team(services.database, "inside", {"org member": "user"}, organization_id=ORGANIZATION)
    add_team(services.database, "outside", {"org member": "user"}, organization_id="other")

    def teams_told(caller: str) -> list[str]:
        (found,) = listed(api, people[caller], search="org member").body["users"]
        return sorted(found["teams"])

    assert teams_told("org admin") == ["inside"]
    assert teams_told("viewer") == ["inside", "of nobody", "outside"]


def test_a_page_of_many_takes_as_many_statements_as_one_of_a_few(api: Api, services: Services):
    people = gather(api, services.database)
    moment = services.clock.now()
    for number in range(60):
        add_user(services.database, f"user {number}")
        add_team(services.database, f"team {number}", {f"user {number}": "user"}, organization_id=ORGANIZATION)
    with services.database.transaction() as transaction:
        transaction.execute(
            insert(organization_members),
            [
                {
                    "organization_id": ORGANIZATION,
                    "user_id": f"user {number}",
                    "created_at": moment,
                    "updated_at": moment,
                }
                for number in range(60)
            ],
        )

    def ask(caller: str, size: int, **query: Any) -> int:
        listed(api, people[caller])
        with statements(services.database) as sent:
            assert len(listed(api, people[caller], page_size=size, **query).body["users"]) == size
        return len(sent)

    for caller in ("master", "org admin"):
        assert [ask(caller, size) for size in (1, 60)] == [4, 4]
    cursor = listed(api, page_size=1).headers["x-keyledger-next-cursor"]
    assert ask("master", 60, cursor=cursor) == 3


# --- one user alone ----------------------------------------------------------------------------------------


def test_a_user_is_read_alone_with_the_ids_of_its_teams(api: Api, services: Services):
    add_team(services.database, TEAM)
    own = new(api, user_id="bob", user_email="bob@example.com", sso_user_id="s", max_budget=2, teams=[TEAM])["key"]

    shown = api.get("/v2/user/info", user_id="bob").body

    assert shown == info(api, "bob")["user_info"]
    assert (shown["teams"], shown["sso_user_id"], shown["max_budget"], shown["spend"]) == ([TEAM], "s", 2, 0)
    assert "keys" not in shown
    assert api.get("/v2/user/info", own).body == shown


@pytest.mark.parametrize("caller", ["self", "proxy_admin", "proxy_admin_viewer", "internal_user", "org_admin"])
def test_a_user_alone_is_shown_to_itself_and_to_those_who_see_all(api: Api, services: Services, caller: str):
    own = new(api, user_id="bob")["key"]
    key = own if caller == "self" else add_person(api, services.database, "somebody", caller)

    answer = api.get("/v2/user/info", key, user_id="bob")
    unknown = api.get("/v2/user/info", key, user_id="eve")

    if caller in {"internal_user", "org_admin"}:
        assert answer.summary == (404, "not_found_error", "user_id")
        assert answer.error["message"].replace("bob", "eve") == unknown.error["message"]
    else:
        assert answer.body["user_id"] == "bob"
    assert unknown.status == 404


def test_the_master_key_and_a_key_without_an_owner_are_no_users(api: Api):
    for key in (MASTER_KEY, api.generate()["key"], api.generate(user_id="no row")["key"]):
        assert api.get("/v2/user/info", key).summary == (404, "not_found_error", "user_id")


def test_a_user_alone_takes_one_statement(api: Api, services: Services):
    new(api, user_id="bob")

    with statements(services.database) as sent:
        api.get("/v2/user/info", user_id="bob")

    assert len(sent) == 1


# --- the roles ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["proxy_admin", "internal_user_viewer", None])
def test_the_roles_that_can_be_chosen_are_described_to_everybody(api: Api, services: Services, role: str | None):
    key = MASTER_KEY if role is None else add_person(api, services.database, "somebody", role)

    roles = api.get("/user/available_roles", key).body

    assert roles.keys() == {"proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer"}
    assert all(role.keys() == {"description", "ui_label"} and all(role.values()) for role in roles.values())
    assert all(new(api, user_role=role)["user_role"] == role for role in roles)

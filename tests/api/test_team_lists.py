"""GET /team/list and GET /v2/team/list: which teams a caller gets to see, in which order, and how much of each."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from app.container import Services
from app.models import team_members
from app.services.teams.team_lists import MEMBERS_OF_EACH
from tests.api.counting import statements
from tests.api.identities import TEAM, gather
from tests.api.teams import add, info, new, spend
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import START, MovableClock
from tests.factories import add_organization, add_team, rows

PATHS = ("/team/list", "/v2/team/list")


def listed(api: Api, path: str, caller: str = MASTER_KEY, **query: Any) -> list[str]:
    """The ids of the listed teams, in their order."""
    answer = api.call("GET", path, key=caller, query=query)
    assert answer.status == 200, answer
    found: list[dict[str, Any]] = answer.body if path == "/team/list" else answer.body["teams"]
    return [team["team_id"] for team in found]


def walk(api: Api, path: str, **query: Any) -> list[str]:
    """The same, page by page along the cursors."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = api.call("GET", path, query={**query, **cursor})
        teams = answer.body if path == "/team/list" else answer.body["teams"]
        found += [team["team_id"] for team in teams]
        if "x-keyledger-next-cursor" not in answer.headers:
            return found
        cursor = {"cursor": answer.headers["x-keyledger-next-cursor"]}


# --- what is shown -----------------------------------------------------------------------------------------


def test_a_listed_team_is_the_team_of_info_with_its_memberships_and_keys(api: Api):
    new(api, team_id=TEAM, team_alias="Crew", max_budget=9, team_member_budget=5)
    add(api, TEAM, [{"user_id": "ann", "role": "admin"}])
    api.generate(team_id=TEAM)
    shown = info(api, TEAM)

    (team,) = api.get("/team/list").body
    body = api.get("/v2/team/list").body

    of_team = shown["team_info"]
    assert team == {
        **of_team,
        "members_count": 1,
        "team_memberships": shown["team_memberships"],
        "keys": shown["keys"],
    }
    assert team["team_memberships"][0]["litellm_budget_table"]["max_budget"] == 5
    assert body == {
        "teams": [{**of_team, "members_count": 1}], "total": 1, "page": 1, "page_size": 10, "total_pages": 1,
    }  # fmt: skip


def test_a_team_is_listed_with_its_newest_keys_and_those_who_joined_first(
    api: Api, services: Services, clock: MovableClock
):
    for team in ("a", "b"):
        add_team(services.database, team)
        for number in range(3):
            api.generate(team_id=team, key_alias=f"{team}{number}")
            clock.advance(timedelta(seconds=1))
    count = MEMBERS_OF_EACH + 5
    joined = [
        {"team_id": "a", "user_id": f"u{number:04}", "role": "user", "created_at": START + timedelta(0, number)}
        for number in range(count)
    ]
    with services.database.transaction() as transaction:
        transaction.execute(insert(team_members), joined)

    (a, b) = api.get("/team/list", key_limit=2).body
    (bare, _) = api.get("/team/list", key_limit=0).body

    assert [key["key_alias"] for key in a["keys"] + b["keys"]] == ["a2", "a1", "b2", "b1"]
    assert bare["keys"] == []
    assert (a["members_count"], b["members_count"]) == (count, 0)
    assert a["members"] == [each["user_id"] for each in joined[:MEMBERS_OF_EACH]]
    assert len(a["team_memberships"]) == MEMBERS_OF_EACH


# --- order and filters -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(shared_api: Api, shared_services: Services) -> Api:
    """Teams a to e; every order of them is another."""
    clock = shared_services.clock
    assert isinstance(clock, MovableClock)
    add_organization(shared_services.database, "acme")
    for team, alias, budget, spent in (
        ("a", "Eels", 3, 4), ("b", None, 1, 2), ("c", "100% Apes", None, 1), ("d", "apes", 2, 5), ("e", None, None, 3),
    ):  # fmt: skip
        clock.advance(timedelta(seconds=1))
        fields = {"organization_id": "acme"} if team in "ad" else {}
        new(shared_api, team_id=team, team_alias=alias, max_budget=budget, **fields)
        spend(shared_services, "team", team, spent)
    add(shared_api, "b", [{"user_id": "ann", "role": "user"}])
    add(shared_api, "d", [{"user_id": "ann", "role": "admin"}])
    clock.advance(timedelta(seconds=1))
    assert shared_api.post("/team/update", {"team_id": "a", "tpm_limit": 1}).status == 200
    return shared_api


def test_the_plain_list_is_in_the_order_of_the_aliases(many: Api):
    assert listed(many, "/team/list") == ["c", "a", "d", "b", "e"]
    assert walk(many, "/team/list", page_size=2) == ["c", "a", "d", "b", "e"]
    assert listed(many, "/team/list", page_size=2, page=2) == ["d", "b"]


@pytest.mark.parametrize(
    ("sort_by", "ascending", "descending"),
    [
        ("team_id", "abcde", "edcba"),
        ("team_alias", "cadbe", "daceb"),
        ("created_at", "abcde", "edcba"),
        ("updated_at", "bcdea", "aedcb"),
        ("max_budget", "bdace", "adbec"),
        ("spend", "cbead", "daebc"),
        ("total_spend", "cbead", "daebc"),
    ],
)
def test_every_order_is_kept_along_the_cursors(many: Api, sort_by: str, ascending: str, descending: str):
    for order, expected in (("asc", ascending), ("desc", descending)):
        query = {"sort_by": sort_by, "sort_order": order}
        assert "".join(listed(many, "/v2/team/list", **query)) == expected
        assert "".join(walk(many, "/v2/team/list", page_size=2, **query)) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "edcba"),
        ({"user_id": "ann"}, "db"),
        ({"user_id": "nobody"}, ""),
        ({"organization_id": "acme"}, "da"),
        ({"organization_id": "default_organization"}, "ecb"),
        ({"organization_id": "nothing"}, ""),
        ({"team_id": "c"}, "c"),
        ({"team_id": "c", "user_id": "ann"}, ""),
        ({"team_alias": "APES"}, "dc"),
        ({"team_alias": "%"}, "c"),
        ({"team_alias": "_"}, ""),
        ({"search": "ape"}, "dc"),
        ({"search": "E"}, "edca"),
        ({"user_id": "", "team_alias": "", "organization_id": ""}, "edcba"),
    ],
)
def test_filters_narrow_the_list_and_the_total(many: Api, query: dict[str, str], expected: str):
    answer = many.get("/v2/team/list", **query)

    assert "".join(team["team_id"] for team in answer.body["teams"]) == expected
    assert answer.body["total"] == len(expected)
    if not {"team_id", "team_alias", "search"} & query.keys():
        assert sorted(listed(many, "/team/list", **query)) == sorted(expected)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"sort_by": "models"}, "sort_by"),
        ({"sort_by": "deleted_at"}, "sort_by"),
        ({"sort_by": "team_id", "sort_order": "up"}, "sort_order"),
        ({"status": "blocked"}, "status"),
        ({"cursor": "made up"}, "cursor"),
    ],
)
def test_what_no_list_has_is_refused_by_name(many: Api, query: dict[str, str], param: str):
    assert many.get("/v2/team/list", **query).summary == (400, "invalid_request_error", param)


@pytest.mark.parametrize("query", [{"page": 0}, {"page_size": 0}, {"page_size": 101}, {"page": "x"}])
@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_bounded(many: Api, path: str, query: dict[str, Any]):
    assert many.get(path, **query).status == 422


def test_a_cursor_belongs_to_its_own_list(many: Api):
    cursor = many.get("/v2/team/list", page_size=2).headers["x-keyledger-next-cursor"]

    assert many.get("/v2/team/list", page_size=2, sort_by="team_id", cursor=cursor).status == 400


# --- deleted teams -----------------------------------------------------------------------------------------


def test_deleted_teams_are_listed_as_they_were(api: Api, services: Services, clock: MovableClock):
    for team in ("a", "b", "c"):
        new(
            api,
            team_id=team,
            team_alias=team.upper(),
            members_with_roles=[{"user_id": f"of {team}", "role": "user"}],
        )
    shown = info(api, "a")["team_info"]
    for team in ("b", "a"):
        clock.advance(timedelta(seconds=1))
        assert api.post("/team/delete", {"team_ids": [team]}).status == 200

    answer = api.get("/v2/team/list", status="deleted", sort_by="deleted_at", sort_order="desc")

    first, second = answer.body["teams"]
    assert {name: first[name] for name in shown} == shown
    assert (first["team_id"], first["deleted_by"], first["members_count"]) == ("a", "default_user_id", 1)
    assert (second["team_id"], answer.body["total"]) == ("b", 2)
    assert listed(api, "/v2/team/list") == ["c"]
    assert listed(api, "/v2/team/list", status="deleted", user_id="of b") == ["b"]
    assert listed(api, "/v2/team/list", status="deleted", team_alias="a") == ["a"]
    for sort in ("team_id", "team_alias", "created_at", "updated_at", "max_budget", "spend", "total_spend"):
        assert sorted(walk(api, "/v2/team/list", status="deleted", sort_by=sort, page_size=1)) == ["a", "b"]


def test_deleted_teams_are_for_those_above_them(api: Api, services: Services):
    people = gather(api, services.database)
    api.post("/team/delete", {"team_ids": [TEAM]})

    living = people.keys.keys() - {"team key"}
    seen = {name for name in living if listed(api, "/v2/team/list", people[name], status="deleted") == [TEAM]}

    assert seen == {"master", "proxy admin", "viewer", "org admin"}


# --- who sees what -----------------------------------------------------------------------------------------


SEEN = {
    "master": {TEAM, "elsewhere"},
    "proxy admin": {TEAM, "elsewhere"},
    "viewer": {TEAM, "elsewhere"},
    "org admin": {TEAM},
    "other org admin": {"elsewhere"},
    "team admin": {TEAM},
    "member": {TEAM},
    "team key": {TEAM},
    "org member": set(),
    "stranger": {"elsewhere"},
}


@pytest.mark.parametrize("path", PATHS)
def test_everybody_lists_the_teams_that_it_may_see_whatever_it_asks_for(api: Api, services: Services, path: str):
    people = gather(api, services.database)

    for name, seen in SEEN.items():
        assert set(listed(api, path, people[name])) == seen, name
        assert set(listed(api, path, people[name], organization_id="acme")) == seen & {TEAM}, name
        infos = {
            team for team in (TEAM, "elsewhere") if api.get("/team/info", people[name], team_id=team).status == 200
        }
        assert infos == seen, name


def test_a_team_key_of_nobody_sees_its_own_key_and_a_member_every_key(api: Api, services: Services):
    people = gather(api, services.database)
    api.generate(team_id=TEAM, key_alias="other")

    def aliases(name: str) -> list[str | None]:
        (team,) = api.get("/team/list", people[name]).body
        return sorted(str(key["key_alias"]) for key in team["keys"])

    assert aliases("team key") == ["None"]
    assert aliases("member") == aliases("org admin") == ["None", "other"]


@pytest.mark.parametrize("path", PATHS)
def test_the_teams_of_somebody_else_are_asked_for_by_those_above(api: Api, services: Services, path: str):
    people = gather(api, services.database)

    def asked(name: str, user_id: str) -> Answer:
        return api.call("GET", path, key=people[name], query={"user_id": user_id})

    assert asked("member", "member").status == 200
    for name in ("member", "team admin", "stranger", "team key"):
        known, unknown = asked(name, "second"), asked(name, "nobody")
        assert known.summary == unknown.summary == (401, "auth_error", "user_id"), name
        assert known.error == unknown.error
    for name in ("master", "viewer", "org admin"):
        assert listed(api, path, people[name], user_id="second") == [TEAM]
    assert listed(api, path, people["org admin"], user_id="stranger") == []


# --- costs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 40])
def test_statements_do_not_grow_with_the_teams(api: Api, services: Services, count: int):
    people = gather(api, services.database)
    for number in range(count):
        add_team(services.database, f"t{number}", {"member": "user"})
        api.generate(team_id=f"t{number}")
    api.get("/models", people["member"])
    cursor = api.get("/team/list", page_size=1).headers["x-keyledger-next-cursor"]

    counts = []
    for path, caller, query in (
        ("/team/list", "master", {}),
        ("/team/list", "member", {}),
        ("/team/list", "master", {"page_size": 1, "cursor": cursor}),
        ("/v2/team/list", "master", {"page_size": 100, "sort_by": "max_budget"}),
        ("/v2/team/list", "member", {"page_size": 100}),
        ("/v2/team/list", "master", {"status": "deleted"}),
    ):
        with statements(services.database) as sent:
            api.call("GET", path, key=people[caller], query=query)
        counts.append(len(sent))

    assert len(rows(services.database, team_members, user_id="member")) == count + 1
    assert counts == [6, 7, 5, 5, 5, 3]

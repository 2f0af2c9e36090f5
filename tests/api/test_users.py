"""POST /user/new and GET /user/info."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.config import Settings
from app.container import Services
from app.models import audit, budget_state, events, keys, organization_members, team_members, users
from tests.api.counting import statements
from tests.api.identities import ORGANIZATION, TEAM, gather, without_redis
from tests.api.settings import LENGTHS, NO_LENGTHS, NO_MONEY, NO_WINDOWS, WINDOWS
from tests.api.users import DEFAULTS, ELSEWHERE, PLAIN, info, new
from tests.clients import MASTER_KEY, Api
from tests.clocks import MovableClock
from tests.factories import (
    NANOS,
    add_organization,
    add_person,
    add_team,
    add_user,
    rows,
    unchanged,
)

# --- new: the user -----------------------------------------------------------------------------------------


def test_every_setting_at_once_is_stored_and_shown_as_sent(api: Api):
    made = new(api, **PLAIN)

    assert {name: made[name] for name in PLAIN} == PLAIN
    shown = info(api, "bob")["user_info"]
    assert {name: shown[name] for name in PLAIN} == PLAIN
    assert (shown["spend"], shown["total_spend"], shown["teams"]) == (0, 0, [])


def test_an_empty_request_makes_a_user_with_the_defaults_under_an_id_of_its_own(api: Api):
    first, second = new(api), new(api)

    assert first["user_id"] != second["user_id"]
    shown = info(api, first["user_id"])["user_info"]
    assert {name: shown[name] for name in DEFAULTS} == DEFAULTS
    assert (shown["object_permission"], shown["budget_reset_at"]) == (None, None)


@pytest.mark.parametrize("field", [*PLAIN, *ELSEWHERE])
def test_null_is_as_good_as_not_sent(shared_api: Api, field: str):
    made = new(shared_api, **{field: None})

    assert {name: made[name] for name in DEFAULTS} == DEFAULTS
    assert made["user_id"]
    assert made["key"].startswith("sk-")


@pytest.mark.parametrize(("spelling", "reset_at"), WINDOWS.items())
def test_a_budget_duration_arms_the_window_of_the_user(shared_api: Api, spelling: str, reset_at: str):
    assert new(shared_api, budget_duration=spelling)["budget_reset_at"] == reset_at


def test_the_spend_of_a_user_is_that_of_its_present_window(api: Api, services: Services, clock: MovableClock):
    new(api, user_id="bob", budget_duration="1d")
    with services.database.transaction() as transaction:
        spent = {"window_spend_nanos": 2 * NANOS, "lifetime_spend_nanos": 6 * NANOS}
        transaction.execute(update(budget_state).where(budget_state.c.scope == "user").values(spent))

    during = info(api, "bob")["user_info"]
    clock.advance(24 * 3600)
    after = info(api, "bob")["user_info"]

    assert (during["spend"], during["total_spend"], during["budget_reset_at"][:10]) == (2, 6, "2026-11-19")
    assert (after["spend"], after["total_spend"], after["budget_reset_at"][:10]) == (0, 6, "2026-11-20")


def test_an_object_permission_is_the_users_own(api: Api):
    made = new(api, user_id="bob", object_permission={"vector_stores": ["v"]})

    assert made["object_permission"]["vector_stores"] == ["v"]
    assert info(api, "bob")["user_info"]["object_permission"] == made["object_permission"]


# --- new: the first key ------------------------------------------------------------------------------------


def test_a_new_user_has_a_key_that_works_and_is_shown_once(api: Api, services: Services):
    made = new(api, user_id="bob", key_alias="bob's first", duration="daily", aliases={"fast": "gpt-4o-mini"})

    assert re.fullmatch(r"sk-[A-Za-z0-9_-]{22}", made["key"])
    assert (made["token"], made["token_id"], made["key_name"]) == (None, None, f"sk-...{made['key'][-4:]}")
    assert (made["key_alias"], made["expires"]) == ("bob's first", LENGTHS["daily"])
    own = api.info(made["key"], caller=made["key"])
    assert (own["user_id"], own["aliases"], own["created_by"]) == (
        "bob",
        {"fast": "gpt-4o-mini"},
        "default_user_id",
    )
    assert [key["key_alias"] for key in info(api, "bob")["keys"]] == ["bob's first"]
    assert made["key"] not in str(
        [info(api, "bob"), rows(services.database, audit), rows(services.database, events)]
    )


def test_the_limits_of_a_user_are_not_repeated_on_its_first_key(api: Api):
    made = new(api, **PLAIN)

    own = api.info(made["key"])
    assert {name: own[name] for name in ("max_budget", "tpm_limit", "rpm_limit", "models", "metadata")} == {
        "max_budget": None,
        "tpm_limit": None,
        "rpm_limit": None,
        "models": [],
        "metadata": {},
    }


def test_the_first_key_is_made_like_any_other(api: Api, services: Services):
    new(api, user_id="bob", send_invite_email=True)

    (key,) = rows(services.database, keys)
    assert [row["entity_id"] for row in rows(services.database, audit, action="generate")] == [key["key_id"]]
    kinds = sorted(row["kind"] for row in rows(services.database, events))
    assert kinds == ["invite_mail", "key_created"]


def test_without_auto_create_key_only_the_user_is_made(api: Api, services: Services):
    made = new(api, user_id="bob", auto_create_key=False)

    assert (made["key"], made["expires"], made["token"]) == ("", None, None)
    assert rows(services.database, keys) == []
    assert info(api, "bob")["keys"] == []


def test_an_alias_that_is_taken_makes_no_user_either(api: Api, services: Services):
    api.generate(key_alias="taken")

    with unchanged(services.database):
        answer = api.post("/user/new", {"user_id": "bob", "teams": [], "key_alias": "taken"})

    assert answer.summary == (400, "bad_request_error", "key_alias")
    assert "'taken'" in answer.error["message"]


# --- new: memberships --------------------------------------------------------------------------------------


def test_teams_are_joined_with_the_role_and_the_budget_asked_for(api: Api, services: Services):
    for team_id in ("plain", "led"):
        add_team(services.database, team_id)

    made = new(
        api,
        user_id="bob",
        user_email="bob@example.com",
        teams=["plain", {"team_id": "led", "user_role": "admin", "max_budget_in_team": 3}, "plain"],
    )

    assert sorted(made["teams"]) == ["led", "plain"]
    found = info(api, "bob")
    assert sorted(found["user_info"]["teams"]) == ["led", "plain"]
    roles = {team["team_id"]: team["members_with_roles"] for team in found["teams"]}
    bob = {"user_id": "bob", "user_email": "bob@example.com"}
    assert roles == {"plain": [{**bob, "role": "user"}], "led": [{**bob, "role": "admin"}]}
    (membership,) = api.get("/team/info", team_id="led").body["team_memberships"]
    assert membership["litellm_budget_table"]["max_budget"] == 3


@pytest.mark.parametrize(
    ("user_role", "role"),
    [(None, "internal_user"), ("org_admin", "org_admin"), ("internal_user_viewer", "internal_user_viewer")],
)
def test_organizations_are_joined_with_the_role_that_fits(
    api: Api, services: Services, user_role: str | None, role: str
):
    add_organization(services.database, ORGANIZATION)

    made = new(api, user_id="bob", user_role=user_role, organizations=[ORGANIZATION, ORGANIZATION])

    (membership,) = rows(services.database, organization_members)
    assert (membership["user_id"], membership["organization_id"]) == ("bob", ORGANIZATION)
    assert membership["user_role"] == role
    administers = api.post("/team/new", {"organization_id": ORGANIZATION}, key=made["key"]).status == 200
    assert administers == (role == "org_admin")


@pytest.mark.parametrize("field", ["teams", "organizations"])
def test_what_is_to_be_joined_must_exist(api: Api, services: Services, field: str):
    with unchanged(services.database):
        answer = api.post("/user/new", {field: ["unknown"]})

    assert answer.summary == (400, "invalid_request_error", field)


# --- new: what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("max_budget", amount) for amount in NO_MONEY),
        *(("soft_budget", amount) for amount in NO_MONEY),
        *(("budget_duration", spelling) for spelling in NO_WINDOWS),
        *(("duration", spelling) for spelling in NO_LENGTHS),
        ("model_max_budget", {"gpt-4o": 1}),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(
    shared_api: Api, shared_services: Services, field: str, value: Any
):
    with unchanged(shared_services.database):
        answer = shared_api.post("/user/new", {field: value})

    assert answer.summary == (400, "invalid_request_error", field)


@pytest.mark.parametrize(
    ("sent", "location"),
    [
        ({"user_id": 7}, ["user_id"]),
        ({"user_id": "x" * 513}, ["user_id"]),
        ({"user_email": "a@example.com\r\nBcc: all@example.com"}, ["user_email"]),
        ({"user_role": "king"}, ["user_role"]),
        ({"tpm_limit": -1}, ["tpm_limit"]),
        ({"teams": "a"}, ["teams"]),
        ({"teams": [7]}, ["teams", 0]),
        ({"teams": [{}]}, ["teams", 0, "team_id"]),
        ({"teams": [{"team_id": "a", "user_role": "king"}]}, ["teams", 0, "user_role"]),
        ({"teams": ["a"] * 501}, ["teams"]),
        ({"organizations": ["a"] * 501}, ["organizations"]),
        ({"auto_create_key": "maybe"}, ["auto_create_key"]),
        ({"password": "hunter2"}, ["password"]),
        ({"password": ""}, ["password"]),
    ],
)
def test_a_value_of_the_wrong_type_does_not_fit_the_schema(
    shared_api: Api, sent: dict[str, Any], location: list[str | int]
):
    answer = shared_api.post("/user/new", sent)

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["body", *location])
    assert "hunter2" not in str(answer)
    assert "Role." not in str(answer)


@pytest.mark.parametrize("role", ["proxy_admin", "team", "customer", "internal_user"])
def test_an_admin_gives_any_role(shared_api: Api, role: str):
    assert new(shared_api, user_role=role)["user_role"] == role


@pytest.mark.parametrize(
    ("field", "first", "second"),
    [
        ("user_id", "bob", "bob"),
        ("user_email", "bob@example.com", "bob@example.com"),
        ("user_email", "Stra\u00dfe@example.com", " STRASSE@EXAMPLE.COM "),
        ("sso_user_id", "sso-1", "sso-1"),
    ],
)
def test_a_user_that_exists_is_a_conflict(api: Api, services: Services, field: str, first: str, second: str):
    new(api, **{field: first})

    with unchanged(services.database):
        answer = api.post("/user/new", {field: second, "max_budget": 7})

    assert answer.summary == (409, "bad_request_error", field)
    assert "already exists" in answer.error["message"]


def test_an_empty_address_is_nobodys(api: Api):
    assert [new(api, user_email=" ")["user_email"] for _ in range(2)] == [None, None]


def test_of_many_at_once_with_one_address_exactly_one_makes_the_user(api: Api, services: Services):
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: api.post("/user/new", {"user_email": "one@example.com"}), range(8)))

    assert sorted(answer.status for answer in answers) == [200] + [409] * 7
    assert len(rows(services.database, users)) == len(rows(services.database, keys)) == 1


# --- new: who may ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "organizations", "expected"),
    [
        ("master", None, 200),
        ("proxy admin", [ORGANIZATION], 200),
        ("viewer", None, 403),
        ("org admin", [ORGANIZATION], 200),
        ("org admin", None, 403),
        ("org admin", [ORGANIZATION, "other"], 403),
        ("org member", [ORGANIZATION], 401),
        ("team admin", None, 401),
        ("member", None, 401),
        ("team key", None, 401),
    ],
)
def test_users_are_made_by_administrators_each_in_their_own_realm(
    api: Api, services: Services, caller: str, organizations: list[str] | None, expected: int
):
    people = gather(api, services.database)

    answer = api.post("/user/new", {"organizations": organizations}, key=people[caller])

    assert answer.status == expected


def test_what_an_org_admin_cannot_see_cannot_be_joined_and_answers_like_what_is_not_there(
    api: Api, services: Services
):
    people = gather(api, services.database)
    delegate = api.generate(user_id="member", allowed_routes=["/user/new"])["key"]

    def ask(key: str, **fields: Any) -> tuple[int, Any]:
        answer = api.post("/user/new", fields, key=key)
        return answer.status, answer.body

    own = {"organizations": [ORGANIZATION]}
    assert ask(people["org admin"], **own, teams=[TEAM])[0] == 200
    assert ask(people["org admin"], **own, teams=["elsewhere"]) == ask(people["org admin"], **own, teams=["never"])
    assert ask(delegate, organizations=["other"]) == ask(delegate, organizations=["never"])
    assert ask(delegate, teams=["elsewhere"])[0] == 400
    assert ask(delegate, teams=[TEAM])[0] == 403


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_role", "proxy_admin"),
        ("user_role", "proxy_admin_viewer"),
        ("permissions", {"a": True}),
        ("object_permission", {"vector_stores": ["v"]}),
    ],
)
def test_an_org_admin_gives_nothing_that_is_the_proxy_admins_to_give(
    api: Api, services: Services, field: str, value: Any
):
    people = gather(api, services.database)

    with unchanged(services.database):
        answer = api.post("/user/new", {"organizations": [ORGANIZATION], field: value}, key=people["org admin"])

    assert answer.summary == (403, "auth_error", field)


@pytest.mark.parametrize(
    "user_id",
    ["second", "owner of a key", "owner of an archived key", "only a member", "default_user_id", "system"],
)
def test_an_org_admin_cannot_become_somebody_that_something_names_already(
    api: Api, services: Services, user_id: str
):
    people = gather(api, services.database)
    api.generate(user_id="owner of a key")
    api.post("/key/delete", {"keys": [api.generate(user_id="owner of an archived key")["key"]]})
    add_team(services.database, "more", {"only a member": "user"})
    sent = {"user_id": user_id, "organizations": [ORGANIZATION]}

    with unchanged(services.database):
        answer = api.post("/user/new", sent, key=people["org admin"])

    assert answer.summary == (409, "bad_request_error", "user_id")
    assert answer.error["message"] == f"User with id {user_id} already exists."


# --- new: what else it does --------------------------------------------------------------------------------


def test_keys_that_named_the_user_before_it_existed_have_its_rights_at_once(api: Api):
    key = api.generate(user_id="bob")["key"]
    assert api.post("/budget/new", key=key).status == 401

    new(api, user_id="bob", user_role="proxy_admin")

    assert api.post("/budget/new", key=key).status == 200


def test_a_new_user_is_in_the_audit_with_its_maker(api: Api, services: Services):
    new(api, user_id="bob", max_budget=1, auto_create_key=False)

    (row,) = rows(services.database, audit)
    assert (row["action"], row["entity"], row["entity_id"]) == ("new", "user", "bob")
    assert (row["actor_user_id"], row["before"], row["after"]["max_budget"]) == ("default_user_id", None, 1)


def test_without_redis_no_user_is_made(settings: Settings, clock: MovableClock, services: Services):
    with without_redis(settings, clock) as api, unchanged(services.database):
        assert api.post("/user/new", {"user_id": "bob"}).status == 503
        assert api.get("/user/info", user_id="bob").status == 404


def test_statements_of_new_do_not_grow_with_the_memberships(api: Api, services: Services):
    names = [f"group {number}" for number in range(20)]
    for name in names:
        add_team(services.database, name)
        add_organization(services.database, name)

    def make(count: int) -> int:
        teams = [{"team_id": name, "max_budget_in_team": 1} for name in names[:count]]
        with statements(services.database) as sent:
            new(api, teams=teams, organizations=names[:count], object_permission={"agents": ["a"]})
        return len(sent)

    assert make(1) == make(20) == 21


# --- info --------------------------------------------------------------------------------------------------


def test_info_shows_the_newest_keys_of_the_user_and_of_nobody_else(api: Api, clock: MovableClock):
    new(api, user_id="bob", key_alias="first")
    clock.advance(1)
    api.generate(user_id="bob", key_alias="second")
    api.generate(user_id="eve")

    assert [key["key_alias"] for key in info(api, "bob")["keys"]] == ["second", "first"]


@pytest.mark.parametrize("caller", ["self", "viewer", "proxy_admin", "internal_user", "org_admin"])
def test_a_user_is_shown_to_itself_and_to_those_who_see_all(api: Api, services: Services, caller: str):
    own = new(api, user_id="bob", teams=[])["key"]
    role = {"viewer": "proxy_admin_viewer"}.get(caller, caller)
    key = own if caller == "self" else add_person(api, services.database, "somebody", role)

    answer = api.get("/user/info", key, user_id="bob")
    unknown = api.get("/user/info", key, user_id="eve")

    if caller in {"internal_user", "org_admin"}:
        assert answer.summary == unknown.summary == (404, "not_found_error", "user_id")
        assert answer.error["message"].replace("bob", "eve") == unknown.error["message"]
    else:
        assert answer.body["user_info"]["user_id"] == "bob"
        assert unknown.status == 404


@pytest.mark.parametrize("query", [{}, {"user_id": ""}])
def test_without_an_id_the_caller_sees_itself(api: Api, query: dict[str, str]):
    key = new(api, user_id="bob")["key"]

    answer = api.get("/user/info", key, **query)

    assert (answer.body["user_id"], answer.body["user_info"]["user_id"]) == ("bob", "bob")


def test_the_master_key_is_nobody_with_the_keys_that_name_it(api: Api):
    api.generate(user_id="default_user_id", key_alias="its own")

    answer = api.get("/user/info", MASTER_KEY)

    assert (answer.body["user_id"], answer.body["user_info"]) == ("default_user_id", None)
    assert [key["key_alias"] for key in answer.body["keys"]] == ["its own"]


def test_a_key_without_an_owner_or_with_one_without_a_row_has_no_user_info(api: Api):
    for key in (api.generate()["key"], api.generate(user_id="no row")["key"]):
        assert api.get("/user/info", key).summary == (404, "not_found_error", "user_id")


def test_the_owner_of_a_listed_key_is_shown_as_in_its_own_info(api: Api):
    new(api, user_id="bob", max_budget=1)

    (listed,) = api.get("/key/list", return_full_object=True, expand="user").body["keys"]

    assert listed["user"] == info(api, "bob")["user_info"]


def test_info_shows_the_newest_of_many_teams_and_the_ids_of_all(api: Api, services: Services, clock: MovableClock):
    new(api, user_id="bob")
    for number in range(103):
        add_team(services.database, f"team {number:03}", {"bob": "user"})
    with services.database.transaction() as transaction:
        newer = update(team_members).where(team_members.c.team_id > "team 002")
        transaction.execute(newer.values(created_at=clock.now() + timedelta(days=1)))

    found = info(api, "bob")

    assert [team["team_id"] for team in found["teams"]] == [f"team {number:03}" for number in range(3, 103)]
    assert len(found["user_info"]["teams"]) == 103


def test_the_owner_of_a_listed_key_is_shown_as_far_as_the_caller_may_see_it(api: Api, services: Services):
    add_team(services.database, TEAM, {"ann": "admin", "bob": "user"})
    ann = add_person(api, services.database, "ann")
    new(api, user_id="bob", user_email="bob@example.com", max_budget=1, auto_create_key=False)
    api.generate(team_id=TEAM, user_id="bob", caller=MASTER_KEY)

    query = {"expand": "user", "include_team_keys": True}
    owners = {key["user"]["user_id"]: key["user"] for key in api.get("/key/list", ann, **query).body["keys"]}

    assert owners["bob"] == {"user_id": "bob", "user_email": "bob@example.com", "user_alias": None}
    assert owners["ann"] == info(api, "ann")["user_info"]


def test_statements_of_info_do_not_grow_with_keys_and_teams(api: Api, services: Services):
    add_user(services.database, "plain")
    add_user(services.database, "busy")
    for number in range(10):
        add_team(services.database, f"team {number}", {"busy": "user"})
        api.generate(user_id="busy")

    def ask(user_id: str) -> int:
        with statements(services.database) as sent:
            info(api, user_id)
        return len(sent)

    assert (ask("plain"), ask("busy")) == (3, 4)

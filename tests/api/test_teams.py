"""POST /team/new, GET /team/info and POST /team/member_add."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.config import Settings
from app.container import Services
from app.domain.teams import member_id
from app.models import audit, budget_state, budgets, team_members, teams, users
from tests.api.counting import statements
from tests.api.identities import MANAGING_THE_TEAM, ORGANIZATION, TEAM, gather, without_redis
from tests.api.settings import NO_LENGTHS, NO_MONEY, NO_WINDOWS, WINDOWS
from tests.api.teams import DEFAULTS, ELSEWHERE, FOLDED, PLAIN, add, info, memberships, new, roles, row_of, spend
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import (
    NANOS,
    add_organization,
    add_person,
    add_team,
    add_tier,
    add_user,
    on_one_store,
    rows,
    unchanged,
)

# --- new: what is stored and shown -------------------------------------------------------------------------


def test_every_setting_at_once_is_stored_and_shown_as_sent(api: Api):
    made = new(api, team_id=TEAM, **PLAIN, **FOLDED)

    assert {name: made[name] for name in PLAIN} == {**PLAIN, "metadata": {**PLAIN["metadata"], **FOLDED}}
    assert row_of(info(api, TEAM)["team_info"]) == made


def test_an_empty_request_makes_a_team_with_the_defaults_under_an_id_of_its_own(api: Api):
    first, second = new(api), new(api)

    assert first["team_id"] != second["team_id"]
    assert {name: first[name] for name in DEFAULTS} == DEFAULTS
    assert (first["spend"], first["total_spend"], first["budget_reset_at"]) == (0, 0, None)
    assert (first["members_with_roles"], first["admins"], first["members"]) == ([], [], [])
    assert (first["object_permission"], first["litellm_model_table"], first["team_member_budget_table"]) == (
        None,
        None,
        None,
    )


@pytest.mark.parametrize("field", [*PLAIN, *FOLDED, *ELSEWHERE])
def test_null_is_as_good_as_not_sent(shared_api: Api, field: str):
    made = new(shared_api, **{field: None})

    assert {name: made[name] for name in DEFAULTS} == DEFAULTS
    assert (made["organization_id"], made["members_with_roles"], made["budget_limits"]) == (None, [], None)
    assert (made["object_permission"], made["team_member_budget_table"]) == (None, None)


@pytest.mark.parametrize(("spelling", "reset_at"), WINDOWS.items())
def test_a_budget_duration_arms_the_window_of_the_team(shared_api: Api, spelling: str, reset_at: str):
    assert new(shared_api, budget_duration=spelling)["budget_reset_at"] == reset_at


def test_several_windows_are_stored_with_their_resets(api: Api):
    made = new(api, budget_limits=[{"budget_duration": "1d", "max_budget": 1}])

    (limit,) = made["budget_limits"]
    assert (limit["budget_duration"], limit["max_budget"]) == ("1d", 1)
    assert limit["reset_at"] == "2026-11-19T00:00:00.000000Z"


def test_model_aliases_are_shown_where_the_reference_keeps_them(api: Api):
    made = new(api, model_aliases={"fast": "gpt-4o-mini"})

    assert made["litellm_model_table"] == {"model_aliases": {"fast": "gpt-4o-mini"}}


def test_an_object_permission_is_the_teams_own(api: Api):
    made = new(api, object_permission={"vector_stores": ["v"]})

    assert made["object_permission"]["vector_stores"] == ["v"]
    assert made["object_permission"]["object_permission_id"] == made["object_permission_id"]


def test_what_nothing_enforces_yet_is_named(api: Api):
    answer = api.post(
        "/team/new", {"team_member_key_duration": "1d", "default_team_member_models": ["m"], "max_bugdet": 1}
    )

    assert answer.headers["x-keyledger-unenforced-fields"] == "default_team_member_models,team_member_key_duration"
    assert answer.headers["x-keyledger-ignored-fields"] == "max_bugdet"


def test_the_spend_of_a_team_is_that_of_its_present_window(api: Api, services: Services, clock: MovableClock):
    new(api, team_id=TEAM, budget_duration="1d")
    spend(services, "team", TEAM, 2)

    during = info(api, TEAM)["team_info"]
    clock.advance(24 * 3600)
    after = info(api, TEAM)["team_info"]

    assert (during["spend"], during["total_spend"], during["budget_reset_at"][:10]) == (2, 6, "2026-11-19")
    assert (after["spend"], after["total_spend"], after["budget_reset_at"][:10]) == (0, 6, "2026-11-20")


def test_what_a_team_spent_before_it_had_a_row_stays_unless_it_gets_a_window(api: Api, services: Services):
    charged = {"scope": "team", "sub": "", "window_spend_nanos": NANOS, "lifetime_spend_nanos": NANOS}
    with services.database.transaction() as transaction:
        transaction.execute(
            budget_state.insert(), [{**charged, "scope_id": "open"}, {**charged, "scope_id": "armed"}]
        )

    lasting = new(api, team_id="open")
    armed = new(api, team_id="armed", budget_duration="1d")

    assert (lasting["spend"], lasting["total_spend"]) == (1, 1)
    assert (armed["spend"], armed["total_spend"]) == (0, 1)


# --- new: members ------------------------------------------------------------------------------------------


def test_members_become_rows_users_among_them(api: Api, services: Services):
    add_user(services.database, "known", user_email="Known@Example.com", email_folded="known@example.com")

    made = new(
        api,
        team_id=TEAM,
        members_with_roles=[
            {"user_id": "new", "role": "admin"},
            {"user_email": "KNOWN@example.com", "role": "user"},
            {"user_email": " fresh@example.com ", "role": "user"},
            {"user_email": "FRESH@example.com", "role": "admin"},
        ],
    )

    fresh = rows(services.database, users, email_folded="fresh@example.com")[0]["user_id"]
    assert roles(made) == {"new": "admin", "known": "user", fresh: "user"}
    assert {member["user_id"]: member["user_email"] for member in made["members_with_roles"]} == {
        "new": None,
        "known": "Known@Example.com",
        fresh: "fresh@example.com",
    }
    assert made["admins"] == ["new"]
    assert sorted(made["members"]) == sorted(["new", "known", fresh])
    assert api.get("/user/info", user_id="new").body["user_info"]["teams"] == [TEAM]


def test_the_master_key_is_no_member_of_the_teams_it_makes(api: Api):
    assert new(api)["members_with_roles"] == []


@pytest.mark.parametrize(("listed", "role"), [([], "admin"), ([{"user_id": "boss", "role": "user"}], "user")])
def test_a_user_that_makes_a_team_is_its_admin_unless_listed_otherwise(
    api: Api, services: Services, listed: list[Any], role: str
):
    key = add_person(api, services.database, "boss", "proxy_admin")

    made = api.post("/team/new", {"members_with_roles": listed}, key=key).body

    assert roles(made) == {"boss": role}


def test_members_share_the_tier_that_the_team_describes(api: Api, services: Services):
    made = new(
        api,
        team_id=TEAM,
        members_with_roles=[{"user_id": "a", "role": "user"}, {"user_id": "b", "role": "user"}],
        team_member_budget=5,
        team_member_budget_duration="1d",
        team_member_tpm_limit=100,
        team_member_rpm_limit=10,
    )

    tier = made["team_member_budget_table"]
    assert (tier["max_budget"], tier["budget_duration"]) == (5, "1d")
    assert (tier["tpm_limit"], tier["rpm_limit"]) == (100, 10)
    assert made["metadata"] == {"team_member_budget_id": tier["budget_id"]}
    for member in memberships(api, TEAM).values():
        assert (member["litellm_budget_table"], member["budget_source"]) == (tier, "team")
        assert member["budget_reset_at"] == "2026-11-19T00:00:00.000000Z"
    assert len(rows(services.database, budgets)) == 1


def test_the_id_of_the_members_tier_cannot_be_chosen(api: Api, services: Services):
    add_tier(services.database, "rich")

    made = new(api, metadata={"team_member_budget_id": "rich", "own": 1})

    assert made["metadata"] == {"own": 1}


def test_an_address_of_somebody_else_makes_no_second_user(api: Api, services: Services):
    add_user(services.database, "known", user_email="a@example.com", email_folded="a@example.com")
    members = [{"user_id": "a", "role": "user"}, {"user_id": "b", "user_email": "A@example.com", "role": "user"}]

    with unchanged(services.database):
        answer = api.post("/team/new", {"members_with_roles": members})

    assert answer.summary == (409, "bad_request_error", "user_email")


@pytest.mark.parametrize("user_id", ["000", "zzz"])
def test_an_address_alone_means_the_new_user_that_has_it_in_the_same_request(api: Api, user_id: str):
    made = new(
        api,
        members_with_roles=[
            {"user_email": "a@example.com", "role": "admin"},
            {"user_id": user_id, "user_email": "A@example.com", "role": "user"},
        ],
    )

    assert roles(made) == {user_id: "admin"}


# --- new: what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("max_budget", amount) for amount in NO_MONEY),
        *(("soft_budget", amount) for amount in NO_MONEY),
        *(("team_member_budget", amount) for amount in NO_MONEY),
        *(("budget_duration", spelling) for spelling in NO_WINDOWS),
        *(("team_member_budget_duration", spelling) for spelling in NO_WINDOWS),
        *(("team_member_key_duration", spelling) for spelling in NO_LENGTHS if not spelling[:1].isdigit()),
        ("model_max_budget", {"gpt-4o": 1}),
        ("budget_limits", [{"budget_duration": "soon", "max_budget": 1}]),
        ("budget_limits", [{"budget_duration": None, "max_budget": 1}]),
        ("budget_limits", [{"budget_duration": "1d", "max_budget": None}]),
        ("budget_limits", [{"budget_duration": "1d", "max_budget": -1}]),
        ("organization_id", "unknown"),
        ("team_id", "litellm-dashboard"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(
    shared_api: Api, shared_services: Services, field: str, value: Any
):
    with unchanged(shared_services.database):
        answer = shared_api.post("/team/new", {field: value})

    assert answer.summary == (400, "invalid_request_error", field)
    assert field in answer.error["message"] or field == "team_id"


@pytest.mark.parametrize(
    ("sent", "location"),
    [
        ({"team_id": 7}, ["team_id"]),
        ({"team_id": "x" * 513}, ["team_id"]),
        ({"tpm_limit": -1}, ["tpm_limit"]),
        ({"team_member_rpm_limit": -1}, ["team_member_rpm_limit"]),
        ({"models": [None]}, ["models", 0]),
        ({"tags": "a"}, ["tags"]),
        ({"model_rpm_limit": {"m": -1}}, ["model_rpm_limit", "m"]),
        ({"members_with_roles": {}}, ["members_with_roles"]),
        ({"members_with_roles": ["a"]}, ["members_with_roles", 0]),
        ({"members_with_roles": [{"user_id": "a"}]}, ["members_with_roles", 0, "role"]),
        ({"members_with_roles": [{"user_id": "a", "role": None}]}, ["members_with_roles", 0, "role"]),
        ({"members_with_roles": [{"user_id": "a", "role": "king"}]}, ["members_with_roles", 0, "role"]),
        ({"members_with_roles": [{"role": "user"}]}, ["members_with_roles", 0]),
        ({"members_with_roles": [{"user_id": "", "user_email": " ", "role": "user"}]}, ["members_with_roles", 0]),
        ({"members_with_roles": [{"user_id": "a", "role": "user"}] * 501}, ["members_with_roles"]),
    ],
)
def test_a_value_of_the_wrong_type_does_not_fit_the_schema(
    shared_api: Api, sent: dict[str, Any], location: list[str | int]
):
    answer = shared_api.post("/team/new", sent)

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["body", *location])


@pytest.mark.parametrize(("soft", "hard"), [(1, 1), (2, 1)])
def test_a_soft_budget_must_warn_before_the_hard_one(shared_api: Api, soft: float, hard: float):
    answer = shared_api.post("/team/new", {"soft_budget": soft, "max_budget": hard})

    assert answer.summary == (400, "invalid_request_error", "soft_budget")


def test_an_id_that_exists_is_refused_and_leaves_nothing_behind(api: Api, services: Services):
    new(api, team_id=TEAM)

    with unchanged(services.database):
        answer = api.post(
            "/team/new",
            {
                "team_id": TEAM,
                "members_with_roles": [{"user_id": "new", "role": "user"}],
                "team_member_budget": 1,
                "object_permission": {"agents": ["a"]},
            },
        )

    assert answer.summary == (400, "invalid_request_error", "team_id")
    assert "already exists" in answer.error["message"]


def test_of_many_at_once_with_one_id_exactly_one_makes_the_team(api: Api, services: Services):
    with ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(
                lambda number: api.post(
                    "/team/new",
                    {"team_id": TEAM, "members_with_roles": [{"user_id": f"user {number}", "role": "user"}]},
                ),
                range(8),
            )
        )

    assert sorted(answer.status for answer in answers) == [200] + [400] * 7
    assert len(rows(services.database, users)) == 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_budget": 10.01}, "max_budget"),
        ({"tpm_limit": 1001}, "tpm_limit"),
        ({"rpm_limit": 101}, "rpm_limit"),
        ({"models": ["gpt-4o", "claude"]}, "models"),
        ({"max_budget": 10, "tpm_limit": 1000, "rpm_limit": 100, "models": ["gpt-4o"]}, None),
        ({}, None),
    ],
)
def test_a_team_stays_within_its_organization(
    shared_api: Api, shared_services: Services, fields: dict[str, Any], param: str | None
):
    made = shared_api.post(
        "/organization/new",
        {"organization_alias": "a", "max_budget": 10, "tpm_limit": 1000, "rpm_limit": 100, "models": ["gpt-4o"]},
    )

    answer = shared_api.post("/team/new", {"organization_id": made.body["organization_id"], **fields})

    if param is None:
        assert (answer.status, answer.body["organization_id"]) == (200, made.body["organization_id"])
    else:
        assert answer.summary == (400, "invalid_request_error", param)


@on_one_store
@pytest.mark.parametrize(
    ("limits", "sent", "shown"),
    [
        ({"max_budget": 5}, {"max_budget": 6}, (400, "max_budget")),
        ({"max_budget": 5}, {"max_budget": 4}, {"max_budget": 4}),
        ({"max_budget": 5}, {"max_budget": 0}, {"max_budget": 0}),
        ({"max_budget": 5}, {}, {"max_budget": 5}),
        ({"models": ["gpt-4o"]}, {"models": ["claude"]}, (403, "models")),
        ({"models": ["gpt-4o"]}, {"models": []}, {"models": ["gpt-4o"]}),
        ({"tpm_limit": 7, "rpm_limit": 8}, {}, {"tpm_limit": 7, "rpm_limit": 8}),
        ({"tpm_limit": 7}, {"tpm_limit": 8}, (400, "tpm_limit")),
        ({"rpm_limit": 7}, {"rpm_limit": 8}, (400, "rpm_limit")),
    ],
)
@pytest.mark.parametrize("path", ["/team/new", "/user/new"])
def test_nobody_grants_a_team_or_a_user_more_than_the_own_key_holds(
    api: Api,
    services: Services,
    path: str,
    limits: dict[str, Any],
    sent: dict[str, Any],
    shown: dict[str, Any] | tuple[int, str],
):
    add_organization(services.database, ORGANIZATION, {"boss": "org_admin"})
    key = add_person(api, services.database, "boss", **limits)
    place = {"organization_id": ORGANIZATION} if path == "/team/new" else {"organizations": [ORGANIZATION]}

    answer = api.post(path, {**place, **sent}, key=key)

    if isinstance(shown, tuple):
        assert (answer.status, answer.error["param"]) == shown
    else:
        assert {name: answer.body[name] for name in shown} == shown


# --- new: who may ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "organization_id", "expected"),
    [
        ("master", None, 200),
        ("master", ORGANIZATION, 200),
        ("proxy admin", ORGANIZATION, 200),
        ("viewer", None, 403),
        ("org admin", ORGANIZATION, 200),
        ("org admin", None, 403),
        ("org admin", "other", 403),
        ("org admin", "unknown", 403),
        ("org member", ORGANIZATION, 401),
        ("team admin", ORGANIZATION, 401),
        ("member", None, 401),
        ("team key", None, 401),
    ],
)
def test_teams_are_made_by_administrators_each_in_their_own_realm(
    api: Api, services: Services, caller: str, organization_id: str | None, expected: int
):
    people = gather(api, services.database)

    answer = api.post("/team/new", {"organization_id": organization_id}, key=people[caller])

    assert answer.status == expected


def test_a_foreign_organization_answers_like_an_unknown_one(api: Api, services: Services):
    people = gather(api, services.database)
    delegate = api.generate(user_id="member", allowed_routes=["/team/new"])["key"]

    for key in (people["org admin"], delegate):
        foreign = api.post("/team/new", {"organization_id": "other"}, key=key)
        unknown = api.post("/team/new", {"organization_id": "never"}, key=key)

        assert (foreign.status, foreign.body) == (unknown.status, unknown.body)


def test_an_org_admin_cannot_take_over_keys_by_the_id_of_a_team_without_a_row(api: Api, services: Services):
    people = gather(api, services.database)
    api.generate(team_id="claimed")
    archived = api.generate(team_id="archived")
    api.post("/key/delete", {"keys": [archived["key"]]})

    for team_id in ("claimed", "archived", TEAM):
        with unchanged(services.database):
            answer = api.post(
                "/team/new", {"team_id": team_id, "organization_id": ORGANIZATION}, key=people["org admin"]
            )
        assert answer.summary == (400, "invalid_request_error", "team_id")
        assert answer.error["message"] == f"Team id = {team_id} already exists. Use a different team id."
    assert api.post("/team/new", {"team_id": "claimed"}).status == 200


# --- new: what else it does --------------------------------------------------------------------------------


def test_keys_that_named_the_team_before_it_existed_see_it_at_once(api: Api):
    key = api.generate(team_id=TEAM)["key"]
    assert api.get("/key/info", key).status == 200

    new(api, team_id=TEAM, blocked=True)

    assert api.get("/key/info", key).summary == (401, "auth_error", None)


def test_a_new_team_is_in_the_audit_and_so_are_the_users_made_for_it(api: Api, services: Services):
    api.post(
        "/team/new",
        {"team_id": TEAM, "max_budget": 1, "members_with_roles": [{"user_id": "new", "role": "user"}]},
        headers={"litellm-changed-by": "eve"},
    )

    found = {row["entity"]: row for row in rows(services.database, audit)}
    assert {(row["action"], row["changed_by"], row["before"]) for row in found.values()} == {("new", "eve", None)}
    assert (found["team"]["entity_id"], found["user"]["entity_id"]) == (TEAM, "new")
    assert found["team"]["after"]["max_budget"] == 1
    assert found["team"]["after"]["members"] == ["new"]


def test_without_redis_no_team_is_made_and_no_member_added(
    api: Api, services: Services, settings: Settings, clock: MovableClock
):
    new(api, team_id=TEAM)

    with without_redis(settings, clock) as cut_off, unchanged(services.database):
        assert cut_off.post("/team/new", {"team_id": "other"}).status == 503
        assert cut_off.post("/team/member_add", MEMBER).status == 503
        assert info(cut_off, TEAM)["team_id"] == TEAM


def test_statements_of_new_do_not_grow_with_the_members(api: Api, services: Services):
    def members(count: int) -> list[dict[str, str]]:
        known = [{"user_email": f"{count}-{number}@example.com", "role": "user"} for number in range(count)]
        return [*known, *({"user_id": f"{count}-{number}", "role": "user"} for number in range(count))]

    with statements(services.database) as of_few:
        new(api, members_with_roles=members(1), team_member_budget=1)
    with statements(services.database) as of_many:
        new(api, members_with_roles=members(30), team_member_budget=1)

    assert len(of_few) == len(of_many) == 16


# --- info --------------------------------------------------------------------------------------------------


def test_info_shows_the_team_its_members_and_its_keys(api: Api, services: Services):
    new(api, team_id=TEAM, members_with_roles=[{"user_id": "a", "role": "user"}], team_member_budget=5)
    made = api.generate(team_id=TEAM, key_alias="of the crew")
    api.generate(key_alias="not of the crew")

    found = info(api, TEAM)

    assert found["team_id"] == found["team_info"]["team_id"] == TEAM
    assert [key["key_alias"] for key in found["keys"]] == ["of the crew"]
    assert found["keys"][0]["token"] == made["token"]
    assert made["key"] not in str(found)
    assert [(member["user_id"], member["team_id"]) for member in found["team_memberships"]] == [("a", TEAM)]


def test_info_shows_the_newest_keys_up_to_the_limit(api: Api, clock: MovableClock):
    for number in range(3):
        api.generate(team_id=TEAM, key_alias=f"key {number}")
        clock.advance(1)
    new(api, team_id=TEAM)

    assert [key["key_alias"] for key in info(api, TEAM, key_limit=2)["keys"]] == ["key 2", "key 1"]
    assert info(api, TEAM, key_limit=0)["keys"] == []
    assert len(info(api, TEAM)["keys"]) == 3


@pytest.mark.parametrize(
    ("team_id", "user_id"), [(TEAM, "a"), ("a:b", "c:d"), ("caf\u00e9 \U0001f511", "\u6f22"), ("%_", "_%")]
)
def test_a_members_spend_is_that_of_its_own_account(api: Api, services: Services, team_id: str, user_id: str):
    new(api, team_id=team_id, members_with_roles=[{"user_id": user_id, "role": "user"}])
    add(api, team_id, {"user_id": "other", "role": "user"})
    spend(services, "member", member_id(team_id, user_id), 2)

    found = memberships(api, team_id)

    assert (found[user_id]["spend"], found[user_id]["total_spend"]) == (2, 6)
    assert (found["other"]["spend"], found["other"]["total_spend"]) == (0, 0)


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ({}, "team_id"),
        ({"team_id": TEAM, "key_limit": "many"}, "key_limit"),
        ({"team_id": TEAM, "key_limit": -1}, "key_limit"),
        ({"team_id": TEAM, "key_limit": 1001}, "key_limit"),
        ({"team_id": "x" * 513}, "team_id"),
    ],
)
def test_a_wrong_query_does_not_fit_the_schema(shared_api: Api, query: dict[str, Any], location: str):
    answer = shared_api.get("/team/info", **query)

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["query", location])


@pytest.mark.parametrize(
    ("caller", "seen"),
    [
        ("master", {"of member", "of second", "of nobody"}),
        ("viewer", {"of member", "of second", "of nobody"}),
        ("org admin", {"of member", "of second", "of nobody"}),
        ("team admin", {"of member", "of second", "of nobody"}),
        ("member", {"of member", "of second", "of nobody"}),
        ("team key", {None}),
        ("outsider", {"of outsider"}),
        ("org member", None),
        ("other org admin", None),
        ("stranger", None),
    ],
)
def test_info_shows_a_team_to_those_who_may_see_it_and_each_key_to_those_who_may_see_that(
    api: Api, services: Services, caller: str, seen: set[str | None] | None
):
    people = gather(api, services.database)
    for user_id in ("member", "second"):
        api.generate(team_id=TEAM, user_id=user_id, key_alias=f"of {user_id}")
    api.generate(team_id=TEAM, key_alias="of nobody")
    outsider = api.generate(team_id=TEAM, user_id="outsider", key_alias="of outsider")["key"]
    key = outsider if caller == "outsider" else people[caller]

    answer = api.get("/team/info", key, team_id=TEAM)
    unknown = api.get("/team/info", key, team_id="hidden")

    if seen is None:
        assert answer.summary == unknown.summary == (404, "not_found_error", "team_id")
        assert answer.error["message"].replace(TEAM, "hidden") == unknown.error["message"]
    else:
        assert answer.status == 200
        everyone = {key["key_alias"] for key in answer.body["keys"]}
        assert everyone == (seen if len(seen) == 1 else seen | {None, "of outsider"})
        assert unknown.status == 404


def test_statements_of_info_do_not_grow_with_members_and_keys(api: Api, services: Services):
    new(api, team_id="few", members_with_roles=[{"user_id": "a", "role": "user"}])
    new(
        api,
        team_id="many",
        members_with_roles=[{"user_id": f"user {number}", "role": "user"} for number in range(30)],
    )
    for number in range(10):
        api.generate(team_id="many", user_id=f"user {number}")

    with statements(services.database) as of_few:
        info(api, "few")
    with statements(services.database) as of_many:
        info(api, "many")

    assert len(of_few) == len(of_many) == 4


# --- member_add --------------------------------------------------------------------------------------------

MEMBER = {"team_id": TEAM, "member": {"user_id": "new", "role": "user"}}


def test_one_member_is_added_with_a_row_of_its_own(api: Api, services: Services):
    new(api, team_id=TEAM)

    added = add(api, TEAM, {"user_id": "new", "user_email": "new@example.com", "role": "admin"})

    assert roles(added) == {"new": "admin"}
    assert [(user["user_id"], user["user_email"], user["teams"]) for user in added["updated_users"]] == [
        ("new", "new@example.com", [TEAM])
    ]
    assert [member["user_id"] for member in added["updated_team_memberships"]] == ["new"]
    assert info(api, TEAM)["team_memberships"] == added["updated_team_memberships"]
    assert len(rows(services.database, budget_state, scope="member")) == 1
    assert len(rows(services.database, budget_state, scope="user")) == 1


def test_of_several_members_those_that_are_there_already_are_passed_over(api: Api):
    new(api, team_id=TEAM, members_with_roles=[{"user_id": "there", "role": "admin"}])

    added = add(
        api,
        TEAM,
        [
            {"user_id": "there", "role": "user"},
            {"user_id": "new", "role": "user"},
            {"user_id": "new", "role": "admin"},
        ],
    )

    assert roles(added) == {"there": "admin", "new": "user"}
    assert [member["user_id"] for member in added["updated_team_memberships"]] == ["new"]
    again = add(api, TEAM, [{"user_id": "there", "role": "user"}, {"user_id": "new", "role": "user"}])
    assert (again["updated_users"], again["updated_team_memberships"]) == ([], [])


@pytest.mark.parametrize("member", [{"user_id": "there"}, {"user_email": "THERE@example.com"}])
def test_one_member_that_is_there_already_is_refused(api: Api, services: Services, member: dict[str, str]):
    new(
        api,
        team_id=TEAM,
        members_with_roles=[{"user_id": "there", "user_email": "there@example.com", "role": "user"}],
    )

    with unchanged(services.database):
        answer = api.post("/team/member_add", {"team_id": TEAM, "member": {**member, "role": "user"}})

    assert answer.summary == (400, "team_member_already_in_team", "user_id")


def test_a_budget_in_the_team_is_a_tier_of_the_members_own(api: Api, services: Services):
    new(api, team_id=TEAM)

    added = add(
        api,
        TEAM,
        [{"user_id": "a", "role": "user"}, {"user_id": "b", "role": "user"}],
        max_budget_in_team=2.5,
        budget_duration="1d",
        allowed_models=["gpt-4o"],
    )

    first, second = added["updated_team_memberships"]
    assert first["budget_id"] != second["budget_id"]
    for member in (first, second):
        tier = member["litellm_budget_table"]
        assert (tier["max_budget"], tier["budget_duration"], tier["allowed_models"]) == (2.5, "1d", ["gpt-4o"])
        assert (member["budget_source"], member["budget_reset_at"]) == ("member", "2026-11-19T00:00:00.000000Z")
    assert len(rows(services.database, budgets)) == 2


def test_a_tier_of_ones_own_keeps_what_the_shared_one_says_of_the_rest(api: Api):
    new(api, team_id=TEAM, team_member_budget=5, team_member_budget_duration="1d", team_member_rpm_limit=3)

    add(api, TEAM, {"user_id": "sharing", "role": "user"})
    add(api, TEAM, {"user_id": "poor", "role": "user"}, max_budget_in_team=0)

    found = memberships(api, TEAM)
    shared, own = (found[name]["litellm_budget_table"] for name in ("sharing", "poor"))
    assert (found["sharing"]["budget_source"], found["poor"]["budget_source"]) == ("team", "member")
    assert (shared["max_budget"], own["max_budget"]) == (5, 0)
    assert (own["rpm_limit"], own["budget_duration"]) == (3, "1d")
    assert found["poor"]["budget_reset_at"] == "2026-11-19T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("max_budget_in_team", amount) for amount in NO_MONEY),
        *(("budget_duration", spelling) for spelling in NO_WINDOWS),
    ],
)
def test_a_budget_in_the_team_that_cannot_be_is_refused_by_name(
    shared_api: Api, shared_services: Services, field: str, value: str
):
    if not rows(shared_services.database, teams, team_id=TEAM):
        add_team(shared_services.database, TEAM)

    with unchanged(shared_services.database):
        answer = shared_api.post("/team/member_add", {**MEMBER, field: value})

    assert answer.summary == (400, "invalid_request_error", field)
    assert field in answer.error["message"]


@pytest.mark.parametrize(
    ("sent", "location"),
    [
        ({"member": MEMBER["member"]}, ["team_id"]),
        ({"team_id": None, "member": MEMBER["member"]}, ["team_id"]),
        ({"team_id": TEAM}, ["member"]),
        ({"team_id": TEAM, "member": None}, ["member"]),
        ({"team_id": TEAM, "member": "a"}, ["member"]),
        ({"team_id": TEAM, "member": {"user_id": "a"}}, ["member", "role"]),
        ({"team_id": TEAM, "member": {"role": "user"}}, ["member"]),
        ({"team_id": TEAM, "member": [{"user_id": "a", "role": "king"}]}, ["member", 0, "role"]),
        ({"team_id": TEAM, "member": [{"user_id": "a", "role": "user"}] * 501}, ["member"]),
        ({**MEMBER, "allowed_models": "gpt-4o"}, ["allowed_models"]),
    ],
)
def test_a_wrong_request_for_members_does_not_fit_the_schema(
    shared_api: Api, sent: dict[str, Any], location: list[str | int]
):
    answer = shared_api.post("/team/member_add", sent)

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["body", *location])


@pytest.mark.parametrize(
    ("caller", "expected"),
    MANAGING_THE_TEAM.items(),
)
def test_members_are_added_by_those_who_manage_the_team(api: Api, services: Services, caller: str, expected: int):
    people = gather(api, services.database)

    def ask(team_id: str) -> Any:
        sent = {"team_id": team_id, "member": {"user_id": "stranger", "role": "admin"}}
        return api.post("/team/member_add", sent, key=people[caller])

    unknown, answer = ask("hidden"), ask(TEAM)

    assert answer.status == expected
    assert unknown.status == (403 if caller == "viewer" else 404)
    if expected == 404:
        assert answer.error["message"].replace(TEAM, "hidden") == unknown.error["message"]
        assert answer.summary == unknown.summary


def test_only_proxy_admins_make_users_by_id_but_an_address_makes_one_for_whoever_may_add(
    api: Api, services: Services
):
    people = gather(api, services.database)
    by_id = {"team_id": TEAM, "member": {"user_id": "nobody yet", "role": "user"}}
    by_email = {"team_id": TEAM, "member": {"user_email": "new@example.com", "role": "user"}}

    with unchanged(services.database):
        refused = api.post("/team/member_add", by_id, key=people["team admin"])
    assert refused.summary == (400, "invalid_request_error", "user_id")
    assert api.post("/team/member_add", by_email, key=people["team admin"]).status == 200
    assert api.post("/team/member_add", by_id).status == 200


def test_a_team_admin_learns_no_more_of_a_user_than_the_name(api: Api, services: Services):
    people = gather(api, services.database)
    api.post("/user/new", {"user_id": "rich", "max_budget": 1000, "metadata": {"salary": 7}})

    added = api.post(
        "/team/member_add",
        {"team_id": TEAM, "member": {"user_id": "rich", "role": "user"}},
        key=people["team admin"],
    )

    assert added.body["updated_users"] == [{"user_id": "rich", "user_email": None, "user_alias": None}]


def test_adding_members_is_in_the_audit_with_who_was_added(api: Api, services: Services):
    new(api, team_id=TEAM)

    add(api, TEAM, [{"user_id": "a", "role": "user"}], max_budget_in_team=1)

    (row,) = rows(services.database, audit, action="member_add")
    (member,) = row["after"]["members_added"]
    assert (row["entity"], row["entity_id"]) == ("team", TEAM)
    assert (member["user_id"], member["role"], member["litellm_budget_table"]["max_budget"]) == ("a", "user", 1)


def test_a_member_lists_the_keys_of_the_team_from_the_moment_of_joining(api: Api, services: Services):
    key = add_person(api, services.database, "joining")
    new(api, team_id=TEAM, team_member_permissions=["/key/list"])
    team_key = api.generate(team_id=TEAM, user_id="other")
    assert api.get("/team/info", key, team_id=TEAM).status == 404

    add(api, TEAM, {"user_id": "joining", "role": "user"})

    listed = api.get("/key/list", key, include_team_keys=True).body["keys"]
    assert team_key["token"] in listed
    assert api.get("/team/info", key, team_id=TEAM).status == 200


def test_of_many_at_once_who_add_one_member_exactly_one_does(api: Api, services: Services):
    new(api, team_id=TEAM)

    with ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(
                lambda _: api.post(
                    "/team/member_add",
                    {"team_id": TEAM, "member": {"user_email": "one@example.com", "role": "user"}},
                ),
                range(8),
            )
        )

    assert sorted(answer.status for answer in answers) == [200] + [400] * 7
    assert len(rows(services.database, users)) == len(rows(services.database, team_members)) == 1


def test_teams_that_add_one_new_address_at_once_get_one_user(api: Api, services: Services):
    names = [f"team {number}" for number in range(6)]
    for name in names:
        new(api, team_id=name)

    with ThreadPoolExecutor(6) as threads:
        answers = list(
            threads.map(lambda name: add(api, name, [{"user_email": "one@example.com", "role": "user"}]), names)
        )

    (user,) = rows(services.database, users)
    assert [roles(answer) for answer in answers] == [{user["user_id"]: "user"}] * 6


def test_statements_of_member_add_do_not_grow_with_the_members(api: Api, services: Services):
    new(api, team_id=TEAM, team_member_budget=1)

    def members(count: int) -> list[dict[str, str]]:
        by_email = [{"user_email": f"{count}-{number}@example.com", "role": "user"} for number in range(count)]
        return [*by_email, *({"user_id": f"{count}-{number}", "role": "user"} for number in range(count))]

    with statements(services.database) as of_few:
        add(api, TEAM, members(1), max_budget_in_team=1)
    with statements(services.database) as of_many:
        add(api, TEAM, members(30), max_budget_in_team=1)

    assert len(of_few) == len(of_many) == 18

"""POST /organization/new and GET /organization/info."""

from typing import Any

import pytest
from sqlalchemy import update

from app.config import Settings
from app.container import Services
from app.models import audit, budget_state, budgets, organizations
from tests.api.counting import statements
from tests.api.identities import ORGANIZATION, TEAM, gather, without_redis
from tests.api.organizations import FOLDED, LIMITS, PLAIN, info, new
from tests.api.settings import NO_MONEY, NO_WINDOWS, WINDOWS
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import NANOS, add_organization, add_person, add_tier, rows, unchanged

# --- new: what is stored and shown -------------------------------------------------------------------------


def test_every_setting_at_once_is_stored_and_shown_as_sent(api: Api):
    made = new(api, **PLAIN, **FOLDED, **LIMITS, temp_budget_expiry="2026-12-24T18:00:00+02:00")

    assert {name: made[name] for name in PLAIN} == {**PLAIN, "metadata": {**PLAIN["metadata"], **FOLDED}}
    tier = made["litellm_budget_table"]
    assert {name: tier[name] for name in LIMITS} == LIMITS
    assert tier["temp_budget_expiry"] == "2026-12-24T16:00:00.000000Z"
    assert (made["created_by"], made["updated_by"]) == ("default_user_id", "default_user_id")
    shown = info(api)
    assert {name: shown[name] for name in made} == made


def test_an_alias_alone_makes_an_organization_with_a_tier_without_limits(api: Api):
    first, second = new(api), new(api)

    assert first["organization_id"] != second["organization_id"]
    assert first["budget_id"] == first["litellm_budget_table"]["budget_id"] != second["budget_id"]
    assert (first["models"], first["metadata"], first["spend"], first["total_spend"]) == ([], {}, 0, 0)
    assert first["litellm_budget_table"]["max_budget"] is None
    assert first["object_permission"] is None


@pytest.mark.parametrize("field", [*LIMITS, *FOLDED, "models", "metadata", "budget_id", "object_permission"])
def test_null_is_as_good_as_not_sent(shared_api: Api, field: str):
    made = new(shared_api, **{field: None})

    assert (made["models"], made["metadata"], made["object_permission"]) == ([], {}, None)
    empty = {"model_max_budget": {}, "allowed_models": []}
    assert {name: made["litellm_budget_table"][name] for name in LIMITS} == {**dict.fromkeys(LIMITS), **empty}


@pytest.mark.parametrize(("spelling", "reset_at"), WINDOWS.items())
def test_the_window_of_an_organization_is_that_of_its_tier(shared_api: Api, spelling: str, reset_at: str):
    made = new(shared_api, budget_duration=spelling)

    assert made["budget_reset_at"] == made["litellm_budget_table"]["budget_reset_at"] == reset_at


def test_an_organization_over_a_tier_that_is_there_makes_none_of_its_own(api: Api, services: Services):
    add_tier(services.database, "gold", max_budget_nanos=5 * NANOS, budget_duration="1d")

    made = new(api, budget_id="gold")

    assert (made["budget_id"], made["litellm_budget_table"]["max_budget"]) == ("gold", 5)
    assert made["budget_reset_at"] == "2026-11-19T00:00:00.000000Z"
    assert len(rows(services.database, budgets)) == 1


def test_an_object_permission_is_the_organizations_own(api: Api):
    made = new(api, organization_id=ORGANIZATION, object_permission={"vector_stores": ["v"]})

    assert made["object_permission"]["vector_stores"] == ["v"]
    assert info(api)["object_permission"] == made["object_permission"]


def test_the_spend_of_an_organization_is_that_of_its_present_window(
    api: Api, services: Services, clock: MovableClock
):
    new(api, organization_id=ORGANIZATION, budget_duration="1d")
    with services.database.transaction() as transaction:
        spent = {"window_spend_nanos": 2 * NANOS, "lifetime_spend_nanos": 6 * NANOS}
        transaction.execute(update(budget_state).where(budget_state.c.scope == "organization").values(spent))

    during = info(api)
    clock.advance(24 * 3600)
    after = info(api)

    assert (during["spend"], during["total_spend"], during["budget_reset_at"][:10]) == (2, 6, "2026-11-19")
    assert (after["spend"], after["total_spend"], after["budget_reset_at"][:10]) == (0, 6, "2026-11-20")


def test_a_key_can_be_put_into_a_new_organization(api: Api):
    new(api, organization_id=ORGANIZATION)

    assert api.generate(organization_id=ORGANIZATION)["organization_id"] == ORGANIZATION


# --- new: what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        *(({"max_budget": amount}, "max_budget") for amount in NO_MONEY),
        *(({"soft_budget": amount}, "soft_budget") for amount in NO_MONEY),
        *(({"budget_duration": spelling}, "budget_duration") for spelling in NO_WINDOWS),
        ({"model_max_budget": {"gpt-4o": 1}}, "model_max_budget"),
        ({"temp_budget_increase": -1, "temp_budget_expiry": "2026-12-24"}, "temp_budget_increase"),
        ({"temp_budget_increase": 0, "temp_budget_expiry": "2026-12-24"}, "temp_budget_increase"),
        ({"temp_budget_increase": 1, "temp_budget_expiry": "2026-11-18T13:47:33Z"}, "temp_budget_expiry"),
        ({"organization_alias": " "}, "organization_alias"),
        ({"budget_id": "unknown"}, "budget_id"),
        ({"budget_id": "unknown", "max_budget": 1}, "budget_id"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(
    shared_api: Api, shared_services: Services, fields: dict[str, Any], param: str
):
    with unchanged(shared_services.database):
        answer = shared_api.post("/organization/new", {"organization_alias": "a", **fields})

    assert answer.summary == (400, "invalid_request_error", param)


@pytest.mark.parametrize(
    ("sent", "location"),
    [
        ({}, ["organization_alias"]),
        ({"organization_alias": None}, ["organization_alias"]),
        ({"organization_alias": 7}, ["organization_alias"]),
        ({"organization_alias": "a", "organization_id": "x" * 513}, ["organization_id"]),
        ({"organization_alias": "a", "models": "gpt-4o"}, ["models"]),
        ({"organization_alias": "a", "tpm_limit": -1}, ["tpm_limit"]),
        ({"organization_alias": "a", "temp_budget_expiry": "soon"}, ["temp_budget_expiry"]),
    ],
)
def test_a_value_of_the_wrong_type_does_not_fit_the_schema(
    shared_api: Api, sent: dict[str, Any], location: list[str]
):
    answer = shared_api.post("/organization/new", sent)

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["body", *location])


@pytest.mark.parametrize("field", ["temp_budget_increase", "temp_budget_expiry"])
def test_an_increase_and_its_end_come_together(shared_api: Api, field: str):
    value = {"temp_budget_increase": 1, "temp_budget_expiry": "2026-12-24"}[field]

    answer = shared_api.post("/organization/new", {"organization_alias": "a", field: value})

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["body"])


def test_an_id_that_exists_is_a_conflict_and_leaves_nothing_behind(api: Api, services: Services):
    new(api, organization_id=ORGANIZATION)

    with unchanged(services.database):
        answer = api.post(
            "/organization/new",
            {"organization_alias": "a", "organization_id": ORGANIZATION, "object_permission": {"agents": ["a"]}},
        )

    assert answer.summary == (409, "bad_request_error", "organization_id")


@pytest.mark.parametrize(
    ("caller", "expected"),
    [("proxy admin", 200), ("viewer", 403), ("org admin", 401), ("team admin", 401), ("team key", 401)],
)
def test_organizations_are_made_by_proxy_admins(api: Api, services: Services, caller: str, expected: int):
    people = gather(api, services.database)

    answer = api.post("/organization/new", {"organization_alias": "a"}, key=people[caller])

    assert answer.status == expected


def test_a_new_organization_is_in_the_audit_with_its_tier_and_its_maker(api: Api, services: Services):
    key = add_person(api, services.database, "boss", "proxy_admin")
    sent = {"organization_alias": "a", "organization_id": ORGANIZATION, "max_budget": 1}
    api.post("/organization/new", sent, key=key)

    (row,) = rows(services.database, audit, entity="organization")
    assert (row["action"], row["entity_id"], row["actor_user_id"]) == ("new", ORGANIZATION, "boss")
    assert (row["before"], row["after"]["litellm_budget_table"]["max_budget"]) == (None, 1)


def test_without_redis_no_organization_is_made(
    api: Api, services: Services, settings: Settings, clock: MovableClock
):
    new(api, organization_id=ORGANIZATION)

    with without_redis(settings, clock) as cut_off, unchanged(services.database):
        assert cut_off.post("/organization/new", {"organization_alias": "a"}).status == 503
        assert info(cut_off)["organization_id"] == ORGANIZATION
    assert len(rows(services.database, organizations)) == 1


# --- info --------------------------------------------------------------------------------------------------


def test_info_shows_the_organization_with_its_members_and_teams(api: Api):
    new(api, organization_id=ORGANIZATION)
    api.post("/user/new", {"user_id": "bob", "max_budget": 7, "organizations": [ORGANIZATION]})
    api.post("/team/new", {"team_id": TEAM, "organization_id": ORGANIZATION})
    api.post("/team/new", {"team_id": "elsewhere"})

    found = info(api)

    (member,) = found["members"]
    assert (member["user_id"], member["user_role"]) == ("bob", "internal_user")
    assert member["user"] == api.get("/user/info", user_id="bob").body["user_info"]
    assert found["teams"] == [api.get("/team/info", team_id=TEAM).body["team_info"]]


@pytest.mark.parametrize(
    ("caller", "teams"),
    [
        ("master", {TEAM, "second team"}),
        ("viewer", {TEAM, "second team"}),
        ("org admin", {TEAM, "second team"}),
        ("org member", set()),
        ("other org admin", None),
        ("team admin", None),
        ("stranger", None),
        ("team key", None),
    ],
)
def test_an_organization_is_shown_to_those_who_belong_to_it_and_each_team_to_those_who_may_see_that(
    api: Api, services: Services, caller: str, teams: set[str] | None
):
    people = gather(api, services.database)
    api.post("/team/new", {"team_id": "second team", "organization_id": ORGANIZATION})

    answer = api.get("/organization/info", people[caller], organization_id=ORGANIZATION)
    unknown = api.get("/organization/info", people[caller], organization_id="hidden")

    assert unknown.summary == (404, "not_found_error", "organization_id")
    if teams is None:
        assert answer.summary == unknown.summary
        assert answer.error["message"].replace(ORGANIZATION, "hidden") == unknown.error["message"]
    else:
        assert answer.status == 200
        assert {team["team_id"] for team in answer.body["teams"]} == teams


def test_a_member_sees_of_the_other_members_no_more_than_who_they_are(api: Api, services: Services):
    people = gather(api, services.database)

    found = api.get("/organization/info", people["org member"], organization_id=ORGANIZATION).body

    users = {member["user_id"]: member["user"] for member in found["members"]}
    assert users["org admin"] == {"user_id": "org admin", "user_email": None, "user_alias": None}
    assert "max_budget" in users["org member"]


def test_a_member_without_a_row_is_listed_without_a_user(api: Api, services: Services):
    add_organization(services.database, ORGANIZATION, {"imported": "org_admin"})

    (member,) = info(api)["members"]

    assert (member["user_id"], member["user_role"], member["user"]) == ("imported", "org_admin", None)


@pytest.mark.parametrize("query", [{}, {"organization_id": "x" * 513}])
def test_a_wrong_query_does_not_fit_the_schema(shared_api: Api, query: dict[str, str]):
    answer = shared_api.get("/organization/info", **query)

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["query", "organization_id"])


def test_statements_do_not_grow_with_members_and_teams(api: Api, services: Services):
    with statements(services.database) as of_new:
        new(api, organization_id="few", object_permission={"agents": ["a"]})
    new(api, organization_id="many")
    for number in range(10):
        api.post("/user/new", {"user_id": f"user {number}", "organizations": ["many"]})
        member = {"user_id": f"user {number}", "role": "user"}
        api.post("/team/new", {"organization_id": "many", "members_with_roles": [member]})

    def ask(organization_id: str) -> int:
        with statements(services.database) as sent:
            info(api, organization_id)
        return len(sent)

    assert len(of_new) == 6
    assert (ask("few"), ask("many")) == (5, 6)

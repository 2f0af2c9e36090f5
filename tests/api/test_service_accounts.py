"""POST /key/service-account/generate: a key that belongs to a team and to nobody in it."""

import uuid
from typing import Any

import pytest

from app.container import Services
from app.models import audit, events
from tests.api.counting import statements
from tests.clients import Answer, Api
from tests.factories import add_team, rows, unchanged

PATH = "/key/service-account/generate"
BAD, TAKEN, AUTH = "invalid_request_error", "bad_request_error", "auth_error"


def make(api: Api, caller: str | None = None, **sent: Any) -> Answer:
    return api.post(PATH, sent) if caller is None else api.post(PATH, sent, key=caller)


def test_the_key_belongs_to_the_team_and_to_nobody_and_opens_what_its_team_may_see(api: Api, services: Services):
    add_team(services.database, "t")
    sibling = api.generate(team_id="t", user_id="somebody")

    made = make(api, team_id="t", user_id="ignored", max_budget=2, tags=["ci"]).body

    assert (made["team_id"], made["user_id"], made["created_by"]) == ("t", None, "default_user_id")
    assert (made["max_budget"], made["metadata"]["tags"]) == (2.0, ["ci"])
    assert api.info(made["key"])["user_id"] is None
    assert api.info(sibling["token"], caller=made["key"])["user_id"] == "somebody"


def test_the_answer_has_the_fields_of_generate(shared_api: Api, company: dict[str, str]):
    assert make(shared_api, team_id="team").body.keys() == shared_api.generate(team_id="team").keys()


@pytest.mark.parametrize(
    ("sent", "account"),
    [
        ({"metadata": {"service_account_id": "bot", "a": 1}, "key_alias": "named bot"}, "bot"),
        ({"key_alias": "nightly build"}, "nightly build"),
        ({"metadata": {"service_account_id": None}, "key_alias": "null bot"}, "null bot"),
        ({"metadata": {"service_account_id": ""}, "key_alias": "empty bot"}, "empty bot"),
        ({"metadata": None, "key_alias": "bot of nothing"}, "bot of nothing"),
    ],
)
def test_the_account_is_called_as_the_caller_says_and_else_as_its_alias(
    shared_api: Api, company: dict[str, str], sent: dict[str, Any], account: str
):
    made = make(shared_api, team_id="team", **sent).body

    assert made["metadata"] == {**(sent.get("metadata") or {}), "service_account_id": account}


def test_without_either_the_account_gets_an_id_of_its_own(shared_api: Api, company: dict[str, str]):
    ids = [make(shared_api, team_id="team").body["metadata"]["service_account_id"] for _ in range(2)]

    assert len({uuid.UUID(account) for account in ids}) == 2


def test_the_account_of_a_key_never_changes_but_may_be_said_again(
    shared_api: Api, company: dict[str, str], shared_services: Services
):
    made = make(shared_api, team_id="granting team", metadata={"service_account_id": "bot"}).body
    update = {"key": made["key"], "metadata": {"service_account_id": "bot", "b": 2}}

    by_itself = shared_api.post("/key/update", update, key=made["key"])
    other = shared_api.post("/key/update", {"key": made["key"], "metadata": {"service_account_id": "x"}})

    assert by_itself.status == 200, by_itself
    assert shared_api.info(made["key"])["metadata"] == {"service_account_id": "bot", "b": 2}
    assert other.summary == (400, BAD, "metadata")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({}, (400, BAD, "team_id")),
        ({"team_id": None}, (400, BAD, "team_id")),
        ({"team_id": ""}, (400, BAD, "team_id")),
        ({"team_id": "no such team"}, (400, BAD, "team_id")),
        ({"team_id": "team", "key": "pk-0123456789abcdef"}, (400, BAD, "key")),
        ({"team_id": "team", "key_alias": "a\nb"}, (400, TAKEN, "key_alias")),
        ({"team_id": "team", "duration": "30days"}, (400, BAD, "duration")),
        ({"team_id": "team", "max_budget": -1}, (400, BAD, "max_budget")),
        ({"team_id": "team", "max_budget": "NaN"}, (400, BAD, "max_budget")),
        ({"team_id": "team", "soft_budget": -1}, (400, BAD, "soft_budget")),
        ({"team_id": "team", "budget_duration": "0s"}, (400, BAD, "budget_duration")),
        ({"team_id": "team", "budget_id": "unknown"}, (400, BAD, "budget_id")),
        ({"team_id": "team", "model_max_budget": {"m": 5}}, (400, BAD, "model_max_budget")),
    ],
)
def test_what_cannot_be_made_is_refused_in_both_shapes_and_leaves_nothing(
    shared_api: Api, shared_services: Services, company: dict[str, str], sent: dict[str, Any], expected: Any
):
    with unchanged(shared_services.database):
        answer = make(shared_api, **sent)

    assert answer.summary == expected
    assert answer.body["detail"] == answer.error["message"]


@pytest.mark.parametrize(
    ("sent", "location"),
    [
        ({"team_id": 5}, ["body", "team_id"]),
        ({"team_id": "team", "tpm_limit": -1}, ["body", "tpm_limit"]),
        ({"team_id": "team", "metadata": "x"}, ["body", "metadata"]),
        ({"team_id": "team", "key_type": "x"}, ["body", "key_type"]),
    ],
)
def test_a_body_that_does_not_fit_the_schema_is_told_by_its_field(
    shared_api: Api, company: dict[str, str], sent: dict[str, Any], location: list[str]
):
    answer = make(shared_api, **sent)

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, location)


@pytest.mark.parametrize(
    ("caller", "team", "expected"),
    [
        ("admin", "team", 200),
        ("lead", "team", 200),
        ("chief", "team", 200),
        ("member", "team", (401, "team_member_permission_error", PATH)),
        ("granted", "granting team", (401, "team_member_permission_error", PATH)),
        ("user", "team", (400, BAD, "team_id")),
        ("lead", "other team", (400, BAD, "team_id")),
        ("chief", "other team", (400, BAD, "team_id")),
        ("viewer", "team", (403, AUTH, None)),
        ("robot", "team", (401, AUTH, None)),
    ],
)
def test_who_manages_the_team_makes_its_service_accounts(
    shared_api: Api, company: dict[str, str], caller: str, team: str, expected: Any
):
    answer = make(shared_api, company[caller], team_id=team)

    assert (answer.status if expected == 200 else answer.summary) == expected


def test_a_member_with_the_grant_of_its_own_makes_one(shared_api: Api, shared_services: Services, company: Any):
    add_team(shared_services.database, "trusting team", {"member": "user"}, grants=[PATH])

    answer = make(shared_api, company["member"], team_id="trusting team")

    assert (answer.status, answer.body["user_id"], answer.body["created_by"]) == (200, None, "member")


@pytest.mark.parametrize("hidden", ["other team", "granting team"])
def test_a_team_out_of_sight_answers_and_costs_what_an_unknown_one_does(
    shared_api: Api, shared_services: Services, company: dict[str, str], hidden: str
):
    shared_api.get("/models", key=company["user"])  # known to the cache from here on

    seen = []
    for team in (hidden, "no such team"):
        with statements(shared_services.database) as sent:
            answer = make(shared_api, company["user"], team_id=team)
        seen.append((answer.status, str(answer.body).replace(team, "…"), len(sent)))

    assert seen[0] == seen[1]


def test_it_is_audited_and_told_like_any_new_key(api: Api, services: Services):
    add_team(services.database, "t")

    made = api.post(PATH, {"team_id": "t", "key_alias": "bot"}, headers={"litellm-changed-by": "ann"}).body

    (entry,) = rows(services.database, audit)
    assert (entry["action"], entry["entity_id"], entry["changed_by"]) == ("generate", made["key_id"], "ann")
    assert (entry["before"], entry["after"]["metadata"]) == (None, {"service_account_id": "bot"})
    (event,) = rows(services.database, events)
    assert (event["kind"], event["entity_id"]) == ("key_created", made["key_id"])

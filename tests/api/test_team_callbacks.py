"""The logging callbacks of a team: added, listed and taken away one by one; their secrets are never seen again."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from app.container import Services
from app.db import Database
from app.domain.callbacks import SEALED_PREFIX
from app.domain.masking import MASK
from app.models import audit, teams
from tests.api.counting import statements
from tests.api.identities import MANAGING_THE_TEAM, TEAM, about_the_team, gather, without_redis
from tests.api.teams import change, changed, info, new
from tests.apps import app_over
from tests.clients import MASTER_KEY, Answer, Api
from tests.clocks import MovableClock
from tests.factories import change_team, on_one_store, rows, unchanged

VARIABLES = {"langfuse_public_key": "distinctive-public", "langfuse_secret_key": "distinctive-secret"}
HOST = {"langfuse_host": "https://lf.example"}
LANGFUSE = {"callback_name": "langfuse", "callback_type": "success", "callback_vars": {**VARIABLES, **HOST}}
MASKED = {**LANGFUSE, "callback_vars": {**dict.fromkeys(VARIABLES, MASK), **HOST}}
BAD = "invalid_request_error"


def add(api: Api, team_id: str = TEAM, caller: str = MASTER_KEY, **fields: Any) -> Answer:
    return api.post(f"/team/{team_id}/callback", {**LANGFUSE, **fields}, key=caller)


def listed(api: Api, team_id: str = TEAM) -> dict[str, Any]:
    answer = api.get(f"/team/{team_id}/callback")
    assert (answer.status, answer.body["status"], answer.body["data"].pop("team_id")) == (200, "success", team_id)
    found: dict[str, Any] = answer.body["data"]
    return found


def delete(api: Api, name: str, team_id: str = TEAM, caller: str = MASTER_KEY) -> Answer:
    return api.call("DELETE", f"/team/{team_id}/callback/{name}", key=caller)


def disable(api: Api, team_id: str = TEAM, caller: str = MASTER_KEY) -> Answer:
    return api.call("POST", f"/team/{team_id}/disable_logging", key=caller)


def stored(database: Database) -> dict[str, Any]:
    (row,) = rows(database, teams)
    found: dict[str, Any] = row["metadata"]
    return found


# --- one by one --------------------------------------------------------------------------------------------


def test_a_callback_is_answered_with_the_team_and_listed_with_its_secrets_masked(api: Api, services: Services):
    new(api, team_id=TEAM, metadata={"cost centre": 7})

    answer = add(api)

    assert (answer.status, answer.body["status"]) == (200, "success")
    assert answer.body["data"]["metadata"] == {"cost centre": 7, "logging": [MASKED]}
    assert answer.body["data"] == info(api, TEAM)["team_info"]
    assert listed(api) == {
        "success_callbacks": ["langfuse"],
        "failure_callbacks": [],
        "callback_vars": MASKED["callback_vars"],
    }
    variables = stored(services.database)["logging"][0]["callback_vars"]
    assert all(variables[name].startswith(SEALED_PREFIX) for name in VARIABLES)


def test_the_id_of_a_team_may_hold_slashes(api: Api):
    team_id = "acme/search/callback"
    new(api, team_id=team_id)

    assert add(api, team_id).status == 200
    assert listed(api, team_id)["success_callbacks"] == ["langfuse"]
    assert delete(api, "langfuse", team_id).body["data"]["team_id"] == team_id
    assert disable(api, team_id).status == 200


def test_a_team_without_callbacks_lists_none(api: Api):
    new(api, team_id=TEAM)

    assert listed(api) == {"success_callbacks": [], "failure_callbacks": [], "callback_vars": {}}


def test_the_older_form_is_listed_until_a_callback_is_added(api: Api):
    older = {
        "success_callback": ["langsmith"],
        "failure_callback": [],
        "callback_vars": {"langsmith_api_key": "d"},
    }
    new(api, team_id=TEAM, metadata={"callback_settings": older})
    first = listed(api)

    add(api)

    assert first == {
        "success_callbacks": ["langsmith"],
        "failure_callbacks": [],
        "callback_vars": {"langsmith_api_key": MASK},
    }
    assert listed(api)["success_callbacks"] == ["langfuse"]


def test_taking_one_away_leaves_the_others_and_says_which(api: Api, services: Services):
    new(api, team_id=TEAM)
    for fields in ({}, {"callback_type": "failure"}, {"callback_name": "otel", "callback_vars": {}}):
        assert add(api, **fields).status == 200

    answer = delete(api, "langfuse")
    again = delete(api, "langfuse")

    assert answer.body == {
        "status": "success",
        "message": f"Callback langfuse removed for team {TEAM}",
        "data": {"team_id": TEAM, "success_callbacks": ["otel"], "failure_callbacks": []},
    }
    assert again.summary == (404, "not_found_error", "callback_name")
    assert again.body["detail"] == {"error": again.error["message"]}
    assert "langfuse" not in json.dumps(stored(services.database))


def test_disabling_takes_all_away_in_both_forms_and_again_changes_nothing(api: Api, services: Services):
    older = {"success_callback": ["langsmith"], "callback_vars": {"langsmith_api_key": "distinctive"}}
    new(api, team_id=TEAM, metadata={"a": 1, "callback_settings": older})
    add(api)

    answer = disable(api)
    with unchanged(services.database):
        again = disable(api)

    assert answer.body == {
        "status": "success",
        "message": f"Logging disabled for team {TEAM}",
        "data": {"team_id": TEAM, "success_callbacks": [], "failure_callbacks": []},
    }
    assert again.body == answer.body
    assert stored(services.database) == {"a": 1, "logging": []}
    assert listed(api)["success_callbacks"] == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "callback_name"),
        ({"callback_name": "carrier-pigeon"}, "callback_name"),
        ({"callback_type": "failure", "callback_vars": {"langfuse_pasword": "x"}}, "callback_vars"),
        (
            {"callback_type": "failure", "callback_vars": {"langfuse_secret_key": "os.environ/HOME"}},
            "callback_vars",
        ),
        ({"callback_type": "failure", "callback_vars": {"langfuse_secret_key": MASK}}, "callback_vars"),
    ],
)
def test_what_is_there_already_or_could_never_work_is_refused_in_both_shapes(
    api: Api, services: Services, fields: dict[str, Any], param: str
):
    new(api, team_id=TEAM)
    add(api)

    with unchanged(services.database):
        answer = add(api, **fields)

    assert answer.summary == (400, BAD, param)
    assert answer.body["detail"] == {"error": answer.error["message"]}


@on_one_store
@pytest.mark.parametrize(
    ("body", "location"),
    [
        ({}, "callback_name"),
        ({"callback_name": None, "callback_vars": {}}, "callback_name"),
        ({"callback_name": 5, "callback_vars": {}}, "callback_name"),
        ({"callback_name": "otel"}, "callback_vars"),
        ({"callback_name": "otel", "callback_vars": []}, "callback_vars"),
        ({"callback_name": "otel", "callback_vars": {}, "callback_type": "sometimes"}, "callback_type"),
    ],
)
def test_a_body_that_does_not_fit_is_told_by_field(api: Api, body: dict[str, Any], location: str):
    new(api, team_id=TEAM)

    answer = api.post(f"/team/{TEAM}/callback", body)

    assert (answer.status, answer.body["detail"][0]["loc"]) == (422, ["body", location])


def test_many_at_once_are_all_added_and_each_once(api: Api, services: Services):
    new(api, team_id=TEAM)
    app = app_over(services)
    names = ["otel", "langfuse", "langsmith", "arize"]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: add(Api(app), callback_name=name, callback_vars={}).status, names * 3))

    assert sorted(found) == [200] * 4 + [400] * 8
    assert sorted(listed(api)["success_callbacks"]) == sorted(names)


# --- by way of the metadata --------------------------------------------------------------------------------


def test_no_secret_of_a_teams_callbacks_is_at_rest_or_in_any_answer(api: Api, services: Services):
    older = {"success_callback": ["langfuse"], "callback_vars": VARIABLES}
    metadata = {"logging": [LANGFUSE], "callback_settings": older}
    answers: list[Any] = [new(api, team_id=TEAM, metadata=metadata)]

    answers.append(changed(api, TEAM, tags=["a"]))
    answers.append(changed(api, TEAM, metadata={"logging": [LANGFUSE, {"callback_name": "otel"}]}))
    answers.append(info(api, TEAM))
    answers.append(api.post("/team/block", {"team_id": TEAM}).body)
    answers.append(add(api, callback_type="failure").body)
    answers.append(listed(api))
    answers.append(delete(api, "otel").body)
    everything = [rows(services.database, teams), rows(services.database, audit)]

    assert "distinctive" not in str(answers) + str(everything)
    assert SEALED_PREFIX not in str(answers)
    assert stored(services.database)["logging"][0]["callback_vars"]["langfuse_secret_key"].startswith(
        SEALED_PREFIX
    )


def test_sending_back_what_was_shown_keeps_every_secret(api: Api, services: Services):
    new(api, team_id=TEAM, metadata={"logging": [LANGFUSE]})
    before = stored(services.database)

    after = changed(api, TEAM, metadata={**info(api, TEAM)["team_info"]["metadata"], "more": 1})

    assert after["metadata"] == {"logging": [MASKED], "more": 1}
    assert stored(services.database) == {**before, "more": 1}


def test_a_mask_is_no_secret_for_another_host(api: Api, services: Services):
    new(api, team_id=TEAM, metadata={"logging": [LANGFUSE]})
    elsewhere = {**MASKED, "callback_vars": {**MASKED["callback_vars"], "langfuse_host": "https://evil.example"}}

    with unchanged(services.database):
        answer = change(api, TEAM, metadata={"logging": [elsewhere]})

    assert answer.summary == (400, BAD, "metadata")


@on_one_store
@pytest.mark.parametrize(
    "metadata",
    [
        {"logging": {"callback_name": "otel"}},
        {"logging": [{"callback_name": "carrier-pigeon"}]},
        {"callback_settings": {"success_callback": ["carrier-pigeon"]}},
        {"callback_settings": []},
    ],
)
def test_metadata_with_callbacks_that_could_never_work_is_a_400(api: Api, metadata: dict[str, Any]):
    new(api, team_id=TEAM)

    answers = [api.post("/team/new", {"metadata": metadata}), change(api, TEAM, metadata=metadata)]

    assert [answer.summary for answer in answers] == [(400, BAD, "metadata")] * 2


def test_the_health_of_a_key_is_that_of_its_own_callbacks_alone(api: Api):
    new(api, team_id=TEAM, metadata={"logging": [LANGFUSE]})
    key = api.generate(team_id=TEAM)["key"]

    assert api.call("POST", "/key/health", key=key).body == {"key": "healthy", "logging_callbacks": None}


# --- records -----------------------------------------------------------------------------------------------


def test_each_change_is_audited_with_its_secrets_masked(api: Api, services: Services):
    new(api, team_id=TEAM)

    api.post(f"/team/{TEAM}/callback", LANGFUSE, headers={"litellm-changed-by": "ann"})
    delete(api, "langfuse")
    add(api)
    disable(api)

    made, *entries = rows(services.database, audit)
    assert [(row["action"], row["entity"], row["entity_id"]) for row in entries] == [
        ("callback_add", "team", TEAM),
        ("callback_delete", "team", TEAM),
        ("callback_add", "team", TEAM),
        ("disable_logging", "team", TEAM),
    ]
    assert (entries[0]["changed_by"], entries[1]["changed_by"]) == ("ann", None)
    assert entries[0]["before"] == {"metadata": {}}
    assert entries[0]["after"] == {"metadata": {"logging": [MASKED]}}
    assert entries[3]["before"]["metadata"]["logging"] == [MASKED]
    assert made["action"] == "new"


def test_that_a_secret_was_changed_is_told_and_not_what_it_was(api: Api, services: Services):
    new(api, team_id=TEAM, metadata={"logging": [LANGFUSE]})
    other = {**LANGFUSE, "callback_vars": {**LANGFUSE["callback_vars"], "langfuse_secret_key": "distinctive-2"}}

    for _ in range(2):
        changed(api, TEAM, metadata={"logging": [other]})

    first, second = rows(services.database, audit, action="update")
    assert first["after"] == {"metadata": {"logging": [MASKED]}}
    assert second["after"] == {}


# --- who may -----------------------------------------------------------------------------------------------

CALLS = {
    "add": lambda api, team_id, caller: add(api, team_id, caller, callback_type="failure"),
    "list": lambda api, team_id, caller: api.get(f"/team/{team_id}/callback", caller),
    "delete": lambda api, team_id, caller: delete(api, "langfuse", team_id, caller),
    "disable": disable,
}


@on_one_store
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("caller", "expected"), MANAGING_THE_TEAM.items())
def test_callbacks_are_for_those_who_manage_the_team(
    api: Api, services: Services, call: str, caller: str, expected: int
):
    people = gather(api, services.database)
    assert add(api).status == 200

    answer = about_the_team(services, partial(CALLS[call], api), people[caller])

    assert answer.status == expected


# --- costs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [0, 30])
def test_statements_do_not_grow_with_the_team(api: Api, services: Services, members: int):
    new(api, team_id=TEAM, members_with_roles=[{"user_id": f"u{n}", "role": "user"} for n in range(members)])
    found = {}
    for name, ask in CALLS.items():
        if name in {"delete", "disable"}:
            add(api)
        with statements(services.database) as sent:
            assert ask(api, TEAM, MASTER_KEY).status == 200
        found[name] = len(sent)

    assert found == {"add": 6, "list": 1, "delete": 4, "disable": 4}


@on_one_store
def test_with_redis_away_nothing_is_changed(api: Api, services: Services, clock: MovableClock):
    new(api, team_id=TEAM)
    add(api)

    with without_redis(services.settings, clock) as cut_off, unchanged(services.database):
        answers = [CALLS[name](cut_off, TEAM, MASTER_KEY) for name in ("add", "delete", "disable")]
        seen = CALLS["list"](cut_off, TEAM, MASTER_KEY)

    assert [answer.summary for answer in answers] == [(503, "no_db_connection", None)] * 3
    assert seen.status == 200


def test_what_another_installation_wrote_does_not_break_an_answer(api: Api, services: Services):
    new(api, team_id=TEAM)
    for metadata in ({"logging": "otel"}, {"logging": [5, {"callback_name": 7}]}, {"callback_settings": "x"}):
        change_team(services.database, TEAM, metadata=metadata)

        assert listed(api)["success_callbacks"] == []
        assert add(api).status == 200
        assert listed(api)["success_callbacks"] == ["langfuse"]

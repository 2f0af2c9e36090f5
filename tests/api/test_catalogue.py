"""What clients of LiteLLM ask for at their start: models, and lists of what is not kept here."""

from typing import Any

import pytest

from app.container import Services
from app.services.keys.catalogue import MOST_MODELS
from tests.api.counting import statements
from tests.api.identities import TEAM, gather
from tests.api.teams import new as new_team
from tests.clients import MASTER_KEY, Api
from tests.factories import add_person, add_team, change_key, on_one_store

EMPTY: dict[str, Any] = {
    "/credentials": {"success": True, "credentials": []},
    "/v2/guardrails/list": {"guardrails": []},
    "/policies/list": {"policies": [], "total_count": 0},
    "/v1/unified_access_group": [],
    "/access_group/list": {"access_groups": []},
}
WRITES = [
    ("POST", "/model/new"),
    ("POST", "/model/update"),
    ("POST", "/model/delete"),
    ("PATCH", "/model/some-id/update"),
    ("POST", "/model/info"),
    ("POST", "/credentials"),
    ("PATCH", "/credentials/name"),
    ("DELETE", "/credentials/name"),
    ("POST", "/guardrails"),
    ("POST", "/v2/guardrails/list"),
    ("POST", "/policies"),
    ("POST", "/access_group/new"),
    ("POST", "/v1/unified_access_group"),
    ("PUT", "/v1/unified_access_group"),
    ("DELETE", "/v1/unified_access_group/some-id"),
]


def models(api: Api, caller: str = MASTER_KEY, path: str = "/model/info", **query: Any) -> list[str]:
    answer = api.get(path, caller, **query)
    assert answer.status == 200, answer
    return [entry["model_name"] for entry in answer.body["data"]]


@pytest.mark.parametrize("path", ["/model/info", "/v1/model/info"])
def test_the_models_are_those_that_keys_and_teams_name(api: Api, path: str):
    api.generate(models=["gpt-4o", "openai/*"])
    api.generate(models=["gpt-4o", "all-proxy-models", "no-default-models", 'o"1'])
    api.generate()
    new_team(api, team_id=TEAM, models=["claude", "*"])
    api.generate(team_id=TEAM, models=["all-team-models"])

    assert models(api, path=path) == ["claude", "gpt-4o", 'o"1', "openai/*"]


def test_a_model_has_the_shape_of_the_reference(api: Api):
    api.generate(models=["gpt-4o", "claude"])

    answer = api.get("/v1/model/info", litellm_model_id="gpt-4o")

    assert answer.body == {
        "data": [
            {
                "model_name": "gpt-4o",
                "litellm_params": {"model": "gpt-4o"},
                "model_info": {"id": "gpt-4o", "db_model": False},
            }
        ]
    }


def test_without_keys_and_teams_there_is_no_model(api: Api):
    assert models(api) == []
    assert api.get("/model/info", litellm_model_id="gpt-4o").summary == (
        404,
        "not_found_error",
        "litellm_model_id",
    )


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        ("master", {"crew", "elsewhere", "of the crew", "of the stranger", "nobody's"}),
        ("viewer", {"crew", "elsewhere", "of the crew", "of the stranger", "nobody's"}),
        ("org admin", {"crew", "of the crew"}),
        ("team admin", {"crew", "of the crew"}),
        ("member", {"crew", "of the crew"}),
        ("team key", {"crew"}),
        ("stranger", {"elsewhere", "of the stranger"}),
        ("org member", set()),
    ],
)
def test_everybody_sees_the_models_of_the_keys_and_teams_that_it_may_see(
    api: Api, services: Services, caller: str, expected: set[str]
):
    people = gather(api, services.database)
    api.post("/team/update", {"team_id": TEAM, "models": ["crew"]})
    api.post("/team/update", {"team_id": "elsewhere", "models": ["elsewhere"]})
    for alias, model, fields in (
        ("a", "of the crew", {"team_id": TEAM}),
        ("b", "of the stranger", {"user_id": "stranger"}),
        ("c", "nobody's", {}),
    ):
        api.generate(key_alias=alias, **fields)
        change_key(services.database, alias, models=[model])

    assert set(models(api, people[caller])) == expected
    for hidden in {"crew", "elsewhere", "of the crew", "of the stranger", "nobody's"} - expected:
        assert api.get("/model/info", people[caller], litellm_model_id=hidden).status == 404


@on_one_store
def test_a_service_account_sees_the_models_of_its_team(api: Api, services: Services):
    add_team(services.database, TEAM)
    robot = api.generate(team_id=TEAM, metadata={"service_account_id": "r"})["key"]
    api.generate(team_id=TEAM, models=["gpt-4o"])

    assert models(api, robot) == ["gpt-4o"]


@on_one_store
def test_of_very_many_models_the_first_are_listed_and_the_rest_is_found_by_name(api: Api):
    api.generate(models=[f"model-{number:04}" for number in range(MOST_MODELS + 1)])

    listed = models(api)

    assert (len(listed), listed[0], listed[-1]) == (MOST_MODELS, "model-0000", f"model-{MOST_MODELS - 1:04}")
    assert models(api, litellm_model_id=f"model-{MOST_MODELS:04}") == [f"model-{MOST_MODELS:04}"]


def test_the_catalogue_is_one_statement(api: Api, services: Services):
    ann = add_person(api, services.database, "ann", models=["gpt-4o"])
    models(api, ann)

    for caller in (ann, MASTER_KEY):
        with statements(services.database) as sent:
            assert models(api, caller) == ["gpt-4o"]
        assert len(sent) == 1


@on_one_store
@pytest.mark.parametrize("path", EMPTY)
def test_what_is_not_kept_here_is_an_empty_list_for_every_caller(api: Api, services: Services, path: str):
    people = gather(api, services.database)

    for caller in people.keys.values():
        answer = api.get(path, caller)
        assert (answer.status, answer.body) == (200, EMPTY[path])
    assert api.get(path, None).status == 401


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_there_is_nothing_to_write_to(shared_api: Api, method: str, path: str):
    answer = shared_api.call(method, path, json={"model_name": "gpt-4o"})

    assert answer.summary == (404, "not_found_error", None)

"""What is set on a key is felt by the next call of it, whether it is set at birth, by a change or with a new secret."""

from typing import Any

import pytest

from app.container import Services
from app.dispatch import TaskName
from tests.api.calls import MODEL, allowed, limit, refused, settle, verify
from tests.clients import Api
from tests.factories import on_one_store

KEY, NEW = "sk-setting-0123456789abcdef", "sk-renewed-0123456789abcdef"
WAYS = ("generate", "update", "regenerate by body", "regenerate by path")
AT_BIRTH_OR_LATER = ("generate", "update")


def have(api: Api, way: str, field: str, value: Any) -> str:
    """A key that has this setting, as it was set in this way; its plaintext now."""
    if way == "generate":
        key: str = api.generate(**{field: value})["key"]
        return key
    api.generate(key=KEY)
    # What is remembered of the key is what it was without the setting.
    allowed(api, KEY, 0)
    path, body = {
        "update": ("/key/update", {"key": KEY}),
        "regenerate by body": ("/key/regenerate", {"key": KEY, "new_key": NEW}),
        "regenerate by path": (f"/key/{KEY}/regenerate", {"new_key": NEW}),
    }[way]
    answer = api.post(path, {**body, field: value})
    assert answer.status == 200, answer
    return KEY if way == "update" else NEW


# --- what refuses ----------------------------------------------------------------------------------------------

# The field, its value, a call that it refuses, the code, and a call that it allows.
REFUSING: list[tuple[str, Any, dict[str, Any], str, dict[str, Any]]] = [
    ("max_budget", 1, {"cost": 1.1}, "budget_exceeded", {"cost": 1}),
    (
        "model_max_budget",
        {MODEL: {"budget_limit": 1, "time_period": "1d"}},
        {"cost": 1.1},
        "budget_exceeded",
        {"cost": 1},
    ),
    ("max_parallel_requests", 0, {}, "concurrency_exceeded", {}),
    ("rpm_limit", 0, {}, "rate_limited", {}),
    ("tpm_limit", 9, {"estimate": {"input_tokens": 10}}, "rate_limited", {"estimate": {"input_tokens": 9}}),
    ("model_rpm_limit", {MODEL: 0}, {}, "rate_limited", {"model": "another"}),
    (
        "model_tpm_limit",
        {MODEL: 9},
        {"estimate": {"input_tokens": 10}},
        "rate_limited",
        {"estimate": {"input_tokens": 9}},
    ),
    (
        "allowed_cache_controls",
        ["no-cache"],
        {"cache": ["no-store"]},
        "cache_control_not_allowed",
        {"cache": ["no-cache"]},
    ),
]


@on_one_store
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("field", "value", "call", "code", "fitting"), REFUSING, ids=[row[0] for row in REFUSING])
def test_a_setting_refuses_the_calls_that_it_forbids_and_no_others(
    api: Api, way: str, field: str, value: Any, call: dict[str, Any], code: str, fitting: dict[str, Any]
):
    key = have(api, way, field, value)

    assert refused(api, key, **call)["code"] == code
    if fitting:
        assert allowed(api, key, **fitting)


REFUSING_LATER: list[tuple[str, Any, dict[str, Any], str, dict[str, Any]]] = [
    ("enforced_params", ["user"], {}, "parameter_missing", {"user": "somebody"}),
    (
        "object_permission",
        {"vector_stores": ["v"]},
        {"vector_stores": ["w"]},
        "vector_store_not_allowed",
        {"vector_stores": ["v"]},
    ),
]


@on_one_store
@pytest.mark.parametrize("way", AT_BIRTH_OR_LATER)
@pytest.mark.parametrize(
    ("field", "value", "call", "code", "fitting"), REFUSING_LATER, ids=[row[0] for row in REFUSING_LATER]
)
def test_a_setting_that_no_new_secret_brings_refuses_the_calls_that_it_forbids(
    api: Api, way: str, field: str, value: Any, call: dict[str, Any], code: str, fitting: dict[str, Any]
):
    key = have(api, way, field, value)

    assert refused(api, key, **call)["code"] == code
    assert allowed(api, key, **fitting)


@pytest.mark.parametrize("way", AT_BIRTH_OR_LATER)
def test_an_object_permission_and_a_budget_are_felt_on_either_store(api: Api, way: str):
    key = have(api, way, "object_permission", {"models": ["another"]})

    assert refused(api, key)["code"] == "model_not_allowed"
    assert allowed(api, key, model="another")["key"]["object_permission"]["models"] == ["another"]


# --- what is passed on -----------------------------------------------------------------------------------------

PASSED_ON: list[tuple[str, Any]] = [
    ("guardrails", ["mask-pii"]),
    ("permissions", {"pii": False, "get_spend_routes": True}),
    ("tags", ["a", "b"]),
    ("allowed_cache_controls", ["no-cache"]),
    ("metadata", {"app": ["caf\u00e9", {"deep": None}]}),
]


@on_one_store
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("field", "value"), PASSED_ON)
def test_a_setting_that_gateways_act_upon_is_delivered_to_them(api: Api, way: str, field: str, value: Any):
    key = have(api, way, field, value)

    assert allowed(api, key)["key"][field] == value


@on_one_store
@pytest.mark.parametrize("way", AT_BIRTH_OR_LATER)
@pytest.mark.parametrize(("field", "value"), [("config", {"temperature": 0.5}), ("aliases", {"fast": MODEL})])
def test_a_setting_that_no_new_secret_brings_is_delivered(api: Api, way: str, field: str, value: Any):
    key = have(api, way, field, value)

    assert allowed(api, key)["key"][field] == value


@on_one_store
@pytest.mark.parametrize("way", AT_BIRTH_OR_LATER)
def test_aliases_name_the_model_that_is_called_and_counted(api: Api, way: str):
    key = have(api, way, "aliases", {"fast": MODEL})

    call = allowed(api, key, model="fast")

    assert (call["model"], settle(api, call, 1)["model"]) == (MODEL, MODEL)


@on_one_store
@pytest.mark.parametrize("way", WAYS)
def test_permissions_make_a_gateway_of_a_key(api: Api, way: str):
    key = have(api, way, "permissions", {"gateway": True})

    assert verify(api, key, caller=key)["allowed"]


@on_one_store
@pytest.mark.parametrize("way", WAYS)
def test_tags_of_a_key_label_what_its_calls_cost(api: Api, services: Services, way: str):
    key = have(api, way, "tags", ["a"])
    settle(api, allowed(api, key), 1)
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)

    (told,) = api.get("/spend/tags").body
    assert (told["individual_request_tag"], told["total_spend"]) == ("a", 1)


@on_one_store
def test_what_lies_in_metadata_for_logging_is_no_business_of_gateways(api: Api):
    logging = [
        {
            "callback_name": "langfuse",
            "callback_type": "success",
            "callback_vars": {"langfuse_host": "https://x.y"},
        }
    ]
    key = api.generate(metadata={"logging": logging, "app": "a"})["key"]

    assert allowed(api, key)["key"]["metadata"] == {"app": "a"}


@on_one_store
def test_a_limit_that_is_taken_off_holds_nothing_back_any_more(api: Api):
    key = api.generate(max_budget=1, rpm_limit=1)["key"]
    assert limit(allowed(api, key), "key")["limit"] == 1
    refused(api, key)
    api.post("/key/update", {"key": key, "max_budget": None, "rpm_limit": None})

    assert allowed(api, key)["limits"] == []

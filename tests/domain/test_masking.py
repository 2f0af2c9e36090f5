"""What may be shown of a secret."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.masking import MASK, is_secret_name, masked

SECRET_NAMES = (
    "langfuse_secret_key",
    "langfuse_public_key",
    "LANGSMITH_API_KEY",
    "s3_aws_secret_access_key",
    "s3_secret_access_key",
    "slack_token",
    "smtp_password",
    "db_credentials",
    "Authorization",
    "gcs_path_service_account",
    "GCS_PATH_SERVICE_ACCOUNT",
    "generic_api_headers",
    "otel_headers",
)
OPEN_NAMES = (
    "langfuse_host",
    "gcs_bucket_name",
    "s3_bucket_name",
    "s3_region",
    "generic_api_endpoint",
    "otel_endpoint",
    "turn_off_message_logging",
    "langsmith_project",
    "",
)


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_name_that_speaks_of_a_secret_is_one(name: str):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", OPEN_NAMES)
def test_any_other_name_is_open(name: str):
    assert not is_secret_name(name)


def test_every_secret_of_every_callback_is_masked_and_nothing_else():
    fields = {
        "key_alias": "a",
        "metadata": {
            "team": "core",
            "langfuse_secret_key": "not in a callback: the owner's own text",
            "logging": [
                {
                    "callback_name": "langfuse",
                    "callback_type": "success",
                    "callback_vars": {"langfuse_secret_key": "s-1", "langfuse_host": "https://eu.example"},
                },
                {"callback_name": "otel", "callback_vars": {"otel_headers": "x=y", "otel_endpoint": "e"}},
            ],
        },
    }

    shown = masked(fields)

    assert shown == {
        "key_alias": "a",
        "metadata": {
            "team": "core",
            "langfuse_secret_key": "not in a callback: the owner's own text",
            "logging": [
                {
                    "callback_name": "langfuse",
                    "callback_type": "success",
                    "callback_vars": {"langfuse_secret_key": MASK, "langfuse_host": "https://eu.example"},
                },
                {"callback_name": "otel", "callback_vars": {"otel_headers": MASK, "otel_endpoint": "e"}},
            ],
        },
    }


@pytest.mark.parametrize("value", ["s", 1, ["s"], {"a": "s"}, True])
def test_a_secret_of_any_type_is_masked(value: Any):
    shown = masked({"metadata": {"logging": [{"callback_vars": {"api_key": value}}]}})

    assert shown["metadata"]["logging"][0]["callback_vars"] == {"api_key": MASK}


@pytest.mark.parametrize("value", ["", None])
def test_a_secret_that_is_not_set_is_shown_as_not_set(value: str | None):
    shown = masked({"metadata": {"logging": [{"callback_vars": {"api_key": value}}]}})

    assert shown["metadata"]["logging"][0]["callback_vars"] == {"api_key": value}


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        "text",
        [],
        {},
        {"logging": None},
        {"logging": {"callback_vars": 1}},
        {"logging": [None, 1, "a", [], {}, {"callback_vars": None}, {"callback_vars": []}]},
    ],
)
def test_what_has_another_shape_is_left_as_it_is(metadata: Any):
    assert masked({"metadata": metadata}) == {"metadata": metadata}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(SECRET_NAMES + OPEN_NAMES), json_values), json_values)
def test_masking_shows_no_secret_changes_nothing_in_place_and_is_done_once(variables: dict[str, Any], rest: Any):
    fields = {"rest": rest, "metadata": {"rest": rest, "logging": [{"callback_vars": variables}, rest]}}
    before = copy.deepcopy(fields)

    shown = masked(fields)

    assert fields == before
    assert masked(shown) == shown
    for name, value in shown["metadata"]["logging"][0]["callback_vars"].items():
        if is_secret_name(name) and variables[name]:
            assert value == MASK
        else:
            assert value == variables[name]

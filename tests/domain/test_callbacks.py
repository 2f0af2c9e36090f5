"""What may stand in `metadata.logging`, what of it is sealed, and when a stored secret is kept."""

from typing import Any

import pytest

from app.domain.callbacks import MOST_CALLBACKS, SEALED_PREFIX, resealed, stored_form
from app.domain.masking import MASK, masked
from app.domain.minting import Secret
from app.domain.values import InvalidValue
from app.services.sealing.sealing import Sealer

SEALER = Sealer(Secret("salt"))
LANGFUSE = {"langfuse_public_key": "pk-1", "langfuse_secret_key": "sk-1", "langfuse_host": "https://lf.example"}


def entry(name: Any = "langfuse", **variables: Any) -> dict[str, Any]:
    return {"callback_name": name, "callback_vars": variables}


def stored(sent: Any, before: Any = None) -> list[dict[str, Any]]:
    return stored_form(sent, before, SEALER)


def shown(callbacks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As a client reads them."""
    fields: list[dict[str, Any]] = masked({"metadata": {"logging": callbacks}})["metadata"]["logging"]
    return fields


def opened(callback: dict[str, Any]) -> dict[str, str]:
    return {
        name: SEALER.open(name, text) if text.startswith(SEALED_PREFIX) else text
        for name, text in callback["callback_vars"].items()
    }


def refused(sent: Any, before: Any = None) -> str:
    with pytest.raises(InvalidValue) as error:
        stored(sent, before)
    assert error.value.param == "metadata"
    return str(error.value)


@pytest.mark.parametrize("sent", [{}, "langfuse", 5, True])
def test_callbacks_are_a_list(sent: Any):
    assert refused(sent) == "metadata.logging must be a list"


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ("langfuse", "each entry of metadata.logging must be an object"),
        (None, "each entry of metadata.logging must be an object"),
        ({}, "callback_name is required in metadata.logging"),
        ({"callback_name": None}, "callback_name is required in metadata.logging"),
        (entry("langfsue"), "Invalid callback_name: langfsue. Must be one of ["),
        (entry(""), "Invalid callback_name: "),
        (entry(["langfuse"]), "Invalid callback_name: "),
        (entry({}), "Invalid callback_name: "),
        (entry("Langfuse"), "Invalid callback_name: Langfuse"),
        ({"callback_name": "otel", "callback_type": "always"}, "Invalid callback_type: always. Must be one of ["),
        ({"callback_name": "otel", "callback_type": []}, "Invalid callback_type: []"),
        ({"callback_name": "otel", "callback_vars": []}, "callback_vars must be an object"),
        ({"callback_name": "otel", "callback_vars": "a=b"}, "callback_vars must be an object"),
        ({"callback_name": "otel", "api_key": "x"}, "Invalid field of a callback: api_key"),
        (entry(langfuse_hots="x"), "Invalid callback variable: langfuse_hots. Must be one of ["),
        (entry(langfuse_host=["x"]), "langfuse_host must be text"),
        (entry(langfuse_host={"a": 1}), "langfuse_host must be text"),
        (entry(langfuse_host="https://user:pw@lf.example"), "langfuse_host must not hold a user or a password"),
        (entry(langfuse_host="user@lf.example"), "langfuse_host must not hold a user or a password"),
        *(
            (entry(name, **{variable: "https://user:pw@logs.example"}), f"{variable} must not hold a user")
            for name, variable in (
                *(("langsmith", "langsmith_base_url"), ("otel", "otel_endpoint"), ("s3", "s3_endpoint_url")),
                *(("datadog", "dd_site"), ("datadog", "dd_agent_host"), ("s3", "s3_region")),
            )
        ),
    ],
)
def test_what_is_no_callback_is_refused_with_its_fault(sent: Any, message: str):
    assert refused([sent]).startswith(message)


@pytest.mark.parametrize(
    "value",
    [
        "os.environ/LANGFUSE_SECRET_KEY",
        "OS.ENVIRON/PATH",
        " os.environ/HOME",
        "Authorization=os.environ/KEYLEDGER_MASTER_KEY",
    ],
)
@pytest.mark.parametrize("name", ["langfuse_secret_key", "langfuse_host", "generic_api_headers"])
def test_no_value_may_refer_to_the_servers_environment(name: str, value: str):
    assert "must not refer to the server's environment" in refused([entry(**{name: value})])


def test_there_is_a_limit_to_the_number_of_callbacks():
    assert len(stored([entry()] * MOST_CALLBACKS)) == MOST_CALLBACKS
    assert str(MOST_CALLBACKS) in refused([entry()] * (MOST_CALLBACKS + 1))


@pytest.mark.parametrize("kind", ["success", "failure", "success_and_failure", None])
def test_a_callback_without_secrets_is_stored_as_it_was_sent(kind: str | None):
    sent = {"callback_name": "s3_v2", "callback_type": kind, "callback_vars": {"s3_region": "eu-west-1"}}

    assert stored([sent, {"callback_name": "prometheus"}]) == [sent, {"callback_name": "prometheus"}]


@pytest.mark.parametrize(
    ("value", "text"),
    [("0.5", "0.5"), (0.5, "0.5"), (1, "1"), (True, "true"), (False, "false"), ("", "")],
)
def test_a_variable_is_kept_as_text(value: Any, text: str):
    (callback,) = stored([entry("langsmith", langsmith_sampling_rate=value)])

    assert callback["callback_vars"] == {"langsmith_sampling_rate": text}


def test_a_null_variable_is_none():
    assert stored([entry(langfuse_host=None)]) == [entry()]


def test_a_service_account_may_be_sent_as_an_object():
    (callback,) = stored([entry("gcs_bucket", gcs_path_service_account={"client_email": "a@b"})])

    assert opened(callback) == {"gcs_path_service_account": '{"client_email": "a@b"}'}


def test_only_secrets_are_sealed():
    sent = {
        **LANGFUSE,
        "gcs_bucket_name": "logs",
        "gcs_path_service_account": "{}",
        "generic_api_endpoint": "https://logs.example",
        "generic_api_headers": "X-Team=search",
        "otel_endpoint": "https://otel.example",
        "otel_headers": "a=b",
        "s3_access_key_id": "AKIA",
        "s3_secret_access_key": "s3",
        "s3_bucket_name": "logs",
        "s3_region": "eu-west-1",
        "s3_endpoint_url": "https://s3.example",
        "langsmith_api_key": "ls",
        "langsmith_project": "search",
        "langsmith_base_url": "https://ls.example",
        "langsmith_tenant_id": "tenant-1",
        "langsmith_sampling_rate": "0.5",
        "dd_agent_host": "agent.internal",
        "dd_agent_port": "10518",
        "dd_api_key": "dd",
        "dd_site": "datadoghq.eu",
    }

    (callback,) = stored([entry(**sent)])

    clear = {name for name, text in callback["callback_vars"].items() if not text.startswith(SEALED_PREFIX)}
    assert clear == {
        *(
            "langfuse_host",
            "gcs_bucket_name",
            "generic_api_endpoint",
            "otel_endpoint",
            "s3_bucket_name",
            "dd_site",
        ),
        *("s3_region", "s3_endpoint_url", "langsmith_project", "langsmith_base_url", "langsmith_tenant_id"),
        *("langsmith_sampling_rate", "dd_agent_host", "dd_agent_port"),
    }
    assert opened(callback) == sent


def test_an_empty_secret_is_none_to_seal():
    assert stored([entry(langfuse_secret_key="")]) == [entry(langfuse_secret_key="")]


def test_sending_back_what_was_shown_changes_nothing():
    before = stored([entry(**LANGFUSE), entry("gcs_bucket", gcs_path_service_account="{}", gcs_bucket_name="b")])

    assert stored(shown(before), before) == before


def test_sending_the_same_secret_again_changes_nothing():
    before = stored([entry(**LANGFUSE)])

    assert stored([entry(**LANGFUSE)], before) == before


def test_sending_the_stored_text_itself_keeps_it():
    before = stored([entry(**LANGFUSE)])

    assert stored(before, before) == before


def test_a_new_secret_replaces_the_stored_one_alone():
    before = stored([entry(**LANGFUSE)])
    sent = shown(before)
    sent[0]["callback_vars"]["langfuse_secret_key"] = "sk-2"

    (after,) = stored(sent, before)

    assert opened(after) == {**LANGFUSE, "langfuse_secret_key": "sk-2"}


def test_other_variables_may_change_around_a_kept_secret():
    before = stored([entry(**LANGFUSE)])
    sent = shown(before)
    sent[0]["callback_vars"]["langfuse_environment"] = "staging"
    sent[0]["callback_type"] = "failure"

    (after,) = stored(sent, before)

    assert opened(after) == {**LANGFUSE, "langfuse_environment": "staging"}


@pytest.mark.parametrize(
    ("name", "variables", "elsewhere"),
    [
        ("langfuse", LANGFUSE, {"langfuse_host": "https://evil.example"}),
        ("langfuse", LANGFUSE, {"langfuse_host": None}),
        ("langfuse", {"langfuse_secret_key": "sk-1"}, {"langfuse_host": "https://evil.example"}),
        ("generic_api", {"generic_api_headers": "a=b"}, {"generic_api_endpoint": "https://evil.example"}),
        ("langsmith", {"langsmith_api_key": "k"}, {"langsmith_base_url": "https://evil.example"}),
        ("otel", {"otel_headers": "a=b"}, {"otel_endpoint": "https://evil.example"}),
        ("s3_v2", {"s3_secret_access_key": "k"}, {"s3_endpoint_url": "https://evil.example"}),
        ("s3", {"s3_secret_access_key": "k", "s3_bucket_name": "logs"}, {"s3_bucket_name": "of-somebody-else"}),
        ("s3", {"s3_access_key_id": "k", "s3_region": "eu-west-1"}, {"s3_region": "cn-north-1"}),
        ("posthog", {"posthog_api_key": "k"}, {"posthog_api_url": "https://evil.example"}),
        ("signoz", {"signoz_ingestion_key": "k"}, {"signoz_ingestion_endpoint": "https://evil.example"}),
        ("datadog", {"dd_api_key": "k"}, {"dd_agent_host": "evil.example"}),
        ("datadog", {"dd_api_key": "k"}, {"dd_site": "evil.example"}),
        ("datadog", {"dd_api_key": "k", "dd_agent_host": "agent"}, {"dd_agent_port": "8080"}),
    ],
)
def test_a_stored_secret_never_goes_to_another_place(name: str, variables: Any, elsewhere: dict[str, Any]):
    before = stored([entry(name, **variables)])
    (sent,) = shown(before)
    sent["callback_vars"] = sent["callback_vars"] | elsewhere

    assert "send the value itself" in refused([sent], before)


def test_a_stored_secret_never_goes_to_another_callback_or_another_name():
    before = stored([entry(**LANGFUSE)])
    sealed = before[0]["callback_vars"]["langfuse_secret_key"]

    assert "send the value itself" in refused(
        [entry("langfuse_otel", **(LANGFUSE | {"langfuse_secret_key": MASK}))], before
    )
    assert "send the value itself" in refused([entry("generic_api", generic_api_headers=sealed)], before)
    assert "send the value itself" in refused(
        [entry(langfuse_secret=sealed, langfuse_host="https://lf.example")], before
    )


@pytest.mark.parametrize(
    "value",
    [MASK, SEALER.seal("langfuse_secret_key", "sk-of-another-key"), "sealed:1:x:y"],
    ids=["mask", "sealed", "nonsense"],
)
def test_a_mask_or_a_sealed_text_from_nowhere_is_refused(value: str):
    assert "send the value itself" in refused([entry(langfuse_secret_key=value)])


def test_callbacks_that_moved_in_the_list_keep_their_own_secrets():
    before = stored(
        [
            entry(**LANGFUSE, langfuse_environment="one"),
            entry(**(LANGFUSE | {"langfuse_secret_key": "sk-2"}), langfuse_environment="two"),
            entry("gcs_bucket", gcs_path_service_account="{}"),
        ]
    )

    after = stored(list(reversed(shown(before)))[:2], before)

    assert after == [before[2], before[1]]


def test_callbacks_that_cannot_be_told_apart_keep_their_places_only():
    before = stored([entry(**LANGFUSE), entry(**(LANGFUSE | {"langfuse_secret_key": "sk-2"}))])

    assert stored(shown(before), before) == before
    assert "send the value itself" in refused(shown(before)[1:], before)


def test_a_clear_secret_of_a_row_that_was_written_elsewhere_is_sealed_when_it_is_sent_back():
    before = [entry(**LANGFUSE)]

    (after,) = stored(shown(before), before)

    assert opened(after) == LANGFUSE
    assert after["callback_vars"]["langfuse_secret_key"].startswith(SEALED_PREFIX)


@pytest.mark.parametrize(
    "before", [None, {}, "x", 5, [None, 5, "x", {}, {"callback_vars": 5}, {"callback_name": 5}]]
)
def test_whatever_a_row_holds_new_callbacks_can_be_stored(before: Any):
    assert opened(stored([entry(**LANGFUSE)], before)[0]) == LANGFUSE


@pytest.mark.parametrize(
    "logging", [None, {}, "x", [None, 5, {}, {"callback_vars": 5}], [entry(langfuse_host="h")]]
)
def test_resealing_leaves_what_holds_no_secret(logging: Any):
    assert resealed(logging, SEALER.reseal) is None


def test_resealing_seals_what_was_clear_and_keeps_the_rest():
    logging = [5, entry(**LANGFUSE, langfuse_environment="")]

    after = resealed(logging, SEALER.reseal)

    assert after is not None
    assert after[0] == 5
    assert opened(after[1]) == {**LANGFUSE, "langfuse_environment": ""}
    assert resealed(after, SEALER.reseal) is None

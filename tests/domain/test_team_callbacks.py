"""A team's logging callbacks: which are in effect, adding and taking away, and what of them is sealed and masked."""

from typing import Any

import pytest

from app.domain.callbacks import (
    LOGGING,
    MOST_CALLBACKS,
    SEALED_PREFIX,
    SETTINGS,
    resealed_metadata,
    sealed_metadata,
)
from app.domain.masking import MASK, masked, masked_team_metadata
from app.domain.minting import Secret
from app.domain.team_callbacks import added, in_effect, silenced, without
from app.domain.values import InvalidValue
from app.services.sealing.sealing import Sealer

SEALER = Sealer(Secret("salt"))
SECRET = {"langfuse_secret_key": "sk-1", "langfuse_host": "https://lf.example"}
OLDER = {
    "success_callback": ["langfuse"],
    "failure_callback": ["langsmith"],
    "callbacks": ["otel"],
    "callback_vars": SECRET,
}


def entry(name: str, kind: str | None = None, **variables: Any) -> dict[str, Any]:
    typed = {} if kind is None else {"callback_type": kind}
    return {"callback_name": name, **typed, "callback_vars": variables}


def sealed(metadata: dict[str, Any], stored: dict[str, Any] | None = None) -> dict[str, Any]:
    return sealed_metadata(metadata, stored or {}, SEALER)


# --- in effect ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "success", "failure", "variables"),
    [
        ({}, [], [], {}),
        ({LOGGING: []}, [], [], {}),
        ({LOGGING: [entry("otel")]}, ["otel"], ["otel"], {}),
        ({LOGGING: [entry("otel", "success")]}, ["otel"], [], {}),
        ({LOGGING: [entry("otel", "failure")]}, [], ["otel"], {}),
        ({LOGGING: [entry("otel", "failure"), entry("otel", "success_and_failure")]}, ["otel"], ["otel"], {}),
        (
            {LOGGING: [entry("otel", "success", dd_site="a"), entry("langfuse", "failure", dd_site="b")]},
            ["otel"],
            ["langfuse"],
            {"dd_site": "b"},
        ),
        ({LOGGING: [entry("langfuse", **SECRET)]}, ["langfuse"], ["langfuse"], {**SECRET, "langfuse_secret_key": MASK}),
        (
            {SETTINGS: OLDER},
            ["langfuse", "otel"],
            ["langsmith", "otel"],
            {**SECRET, "langfuse_secret_key": MASK},
        ),
        ({LOGGING: [], SETTINGS: OLDER}, [], [], {}),
        ({LOGGING: None, SETTINGS: {"success_callback": None}}, [], [], {}),
        # Rows that were written elsewhere hold anything.
        ({LOGGING: "otel", SETTINGS: OLDER}, [], [], {}),
        ({LOGGING: [5, {"callback_type": 7}, {"callback_name": "otel", "callback_type": "never"}]}, [], [], {}),
        ({SETTINGS: ["otel"]}, [], [], {}),
    ],
)  # fmt: skip
def test_which_callbacks_are_in_effect(
    metadata: dict[str, Any], success: list[str], failure: list[str], variables: dict[str, Any]
):
    found = in_effect(metadata)

    assert (found.success, found.failure, found.variables) == (success, failure, variables)


# --- adding and taking away --------------------------------------------------------------------------------


def test_one_more_callback_stands_behind_the_others_with_its_secrets_sealed():
    before = {"cost centre": 1, LOGGING: [entry("otel")]}

    after = added(before, entry("langfuse", "success", **SECRET), SEALER)

    first, second = after[LOGGING]
    assert (after["cost centre"], first) == (1, entry("otel"))
    assert (second["callback_name"], second["callback_type"]) == ("langfuse", "success")
    assert second["callback_vars"]["langfuse_host"] == "https://lf.example"
    assert SEALER.open("langfuse_secret_key", second["callback_vars"]["langfuse_secret_key"]) == "sk-1"


def test_a_callback_without_a_type_is_for_both():
    (only,) = added({}, {"callback_name": "otel", "callback_type": None, "callback_vars": None}, SEALER)[LOGGING]

    assert only == {"callback_name": "otel", "callback_type": "success_and_failure"}


@pytest.mark.parametrize(
    ("present", "more", "taken"),
    [
        (entry("otel", "success"), entry("otel", "success"), True),
        (entry("otel"), entry("otel", "success_and_failure"), True),
        (entry("otel", "success_and_failure"), entry("otel"), True),
        (entry("otel", "success"), entry("otel", "failure"), False),
        (entry("otel", "success"), entry("langfuse", "success"), False),
    ],
)
def test_the_same_callback_for_the_same_calls_is_there_once(present: Any, more: Any, taken: bool):
    if not taken:
        assert len(added({LOGGING: [present]}, more, SEALER)[LOGGING]) == 2
        return
    with pytest.raises(InvalidValue, match="already exists") as error:
        added({LOGGING: [present]}, more, SEALER)
    assert error.value.param == "callback_name"


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        (entry("carrier-pigeon"), "callback_name"),
        (entry("langfuse", langfuse_pasword="x"), "callback_vars"),
        (entry("langfuse", langfuse_secret_key="os.environ/HOME"), "callback_vars"),
        (entry("langfuse", langfuse_secret_key=MASK), "callback_vars"),
        (entry("langfuse", langfuse_secret_key=f"{SEALED_PREFIX}1:a:b"), "callback_vars"),
        (entry("langfuse", langfuse_host="https://a:b@lf.example"), "callback_vars"),
        (entry("langfuse", langfuse_host=["a"]), "callback_vars"),
    ],
)
def test_a_callback_that_could_never_work_names_its_field(sent: dict[str, Any], param: str):
    with pytest.raises(InvalidValue) as error:
        added({}, sent, SEALER)
    assert error.value.param == param


def test_so_many_callbacks_and_no_more():
    names = ["otel", "langfuse", "langsmith", "s3", "datadog", "arize", "opik"]
    metadata: dict[str, Any] = {}
    for name in names:
        for kind in ("success", "failure", "success_and_failure"):
            if len(metadata.get(LOGGING, ())) < MOST_CALLBACKS:
                metadata = added(metadata, entry(name, kind), SEALER)

    assert len(metadata[LOGGING]) == MOST_CALLBACKS
    with pytest.raises(InvalidValue, match="at most"):
        added(metadata, entry("mlflow"), SEALER)


def test_every_entry_of_a_name_goes_and_the_others_stay():
    metadata = {"a": 1, LOGGING: [entry("otel", "success"), entry("langfuse"), entry("otel", "failure")]}

    assert without(metadata, "otel") == {"a": 1, LOGGING: [entry("langfuse")]}
    assert without(metadata, "langsmith") is None
    assert without({SETTINGS: OLDER}, "langfuse") is None


def test_silence_leaves_neither_callbacks_nor_their_secrets():
    assert silenced({"a": 1, LOGGING: [entry("otel")], SETTINGS: OLDER}) == {"a": 1, LOGGING: []}
    assert silenced({LOGGING: []}) == {LOGGING: []}


# --- sealed, kept, masked ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [LOGGING, SETTINGS])
def test_secrets_are_sealed_in_both_forms_and_a_null_takes_callbacks_off(form: str):
    metadata = {"a": 1, form: [entry("langfuse", **SECRET)] if form == LOGGING else OLDER}

    stored = sealed(metadata)
    found = stored[form][0] if form == LOGGING else stored[form]

    assert found["callback_vars"]["langfuse_secret_key"].startswith(SEALED_PREFIX)
    assert found["callback_vars"]["langfuse_host"] == "https://lf.example"
    assert stored["a"] == 1
    assert sealed({"a": 1, form: None}, stored) == {"a": 1}


@pytest.mark.parametrize("form", [LOGGING, SETTINGS])
def test_what_was_shown_and_is_sent_back_keeps_every_secret_but_not_for_another_host(form: str):
    stored = sealed({form: [entry("langfuse", **SECRET)] if form == LOGGING else OLDER})
    shown = dict(masked_team_metadata(stored))

    assert sealed(shown, stored) == stored
    moved = {**(shown[form][0] if form == LOGGING else shown[form])}
    moved["callback_vars"] = {**moved["callback_vars"], "langfuse_host": "https://evil.example"}
    with pytest.raises(InvalidValue, match="send the value itself") as error:
        sealed({form: [moved] if form == LOGGING else moved}, stored)
    assert error.value.param == "metadata"


@pytest.mark.parametrize(
    "settings",
    [
        [],
        "langfuse",
        {"success_callbacks": []},
        {"success_callback": "langfuse"},
        {"failure_callback": ["carrier-pigeon"]},
        {"callbacks": [5]},
        {"callbacks": ["otel"] * (MOST_CALLBACKS + 1)},
        {"callback_vars": []},
        {"callback_vars": {"langfuse_pasword": "x"}},
        {"callback_vars": {"langfuse_secret_key": MASK}},
    ],
)
def test_an_older_form_that_could_never_work_is_refused(settings: Any):
    with pytest.raises(InvalidValue) as error:
        sealed({SETTINGS: settings})
    assert error.value.param == "metadata"


def test_a_record_masks_both_forms():
    fields = {"metadata": {LOGGING: [entry("langfuse", **SECRET)], SETTINGS: OLDER, "a": 1}}

    shown = masked(fields)["metadata"]

    assert "sk-1" not in str(shown)
    assert shown["a"] == 1
    assert shown[SETTINGS] == {**OLDER, "callback_vars": {**SECRET, "langfuse_secret_key": MASK}}


def test_resealing_moves_the_secrets_of_both_forms_and_nothing_else():
    clear = {LOGGING: [entry("langfuse", **SECRET)], SETTINGS: OLDER, "a": 1}

    moved = resealed_metadata(clear, (LOGGING, SETTINGS), lambda name, text: f"{name}={text}")

    assert moved is not None
    again = {**SECRET, "langfuse_secret_key": "langfuse_secret_key=sk-1"}
    assert moved == {LOGGING: [entry("langfuse", **again)], SETTINGS: {**OLDER, "callback_vars": again}, "a": 1}
    assert resealed_metadata(clear, (LOGGING, SETTINGS), lambda _, text: text) is None
    assert resealed_metadata({LOGGING: 5, SETTINGS: [], "a": 1}, (LOGGING, SETTINGS), lambda *_: "x") is None
    only_lists = resealed_metadata(clear, (LOGGING,), lambda *_: "x")
    assert only_lists is not None
    assert only_lists[SETTINGS] == OLDER

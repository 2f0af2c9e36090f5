"""Which callbacks hear of a finished call, and how each is found again when something is sent to it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.callback_targets import CallbackTarget, targets_of
from app.domain.callbacks import MOST_CALLBACKS, hears_bodies

SPOKEN = frozenset({"langfuse", "generic_api", "gcs_bucket"})


def entry(name: Any, kind: Any = None, **variables: Any) -> dict[str, Any]:
    typed = {} if kind is None else {"callback_type": kind}
    return {"callback_name": name, **typed, "callback_vars": variables}


def targets(status: str, key: dict[str, Any], team: dict[str, Any] | None = None) -> list[str]:
    """What a call of the key `k` goes to; in the team `t`, where that has metadata."""
    team_id = None if team is None else "t"
    found = targets_of(status, "k", key, team_id, team or {}, supported=SPOKEN)
    return [str(target) for target in found]


BOTH = "success_and_failure"
OLDER = {"success_callback": ["langfuse"], "failure_callback": ["generic_api"], "callbacks": ["gcs_bucket"]}


@pytest.mark.parametrize(
    ("key", "team", "success", "failure"),
    [
        ({}, None, [], []),
        ({}, {}, [], []),
        ({"logging": [entry("langfuse")]}, None, [f"key:k:langfuse:{BOTH}:0"], [f"key:k:langfuse:{BOTH}:0"]),
        ({"logging": [entry("langfuse", "success")]}, None, ["key:k:langfuse:success:0"], []),
        ({"logging": [entry("langfuse", "failure")]}, None, [], ["key:k:langfuse:failure:0"]),
        # Entries of one vendor are as many callbacks.
        (
            {"logging": [entry("langfuse", "success"), entry("generic_api"), entry("langfuse", "success")]},
            None,
            ["key:k:langfuse:success:0", f"key:k:generic_api:{BOTH}:0", "key:k:langfuse:success:1"],
            [f"key:k:generic_api:{BOTH}:0"],
        ),
        # The team's, where the key has no list of its own; nothing of the two is merged.
        ({}, {"logging": [entry("langfuse", "success")]}, ["team:t:langfuse:success:0"], []),
        (
            {"logging": [entry("generic_api", "success")]},
            {"logging": [entry("langfuse", "success")]},
            ["key:k:generic_api:success:0"],
            [],
        ),
        ({"logging": []}, {"logging": [entry("langfuse")]}, [], []),
        ({"logging": None}, {"logging": [entry("langfuse", "success")]}, ["team:t:langfuse:success:0"], []),
        # The older form, of teams only, and only where the newer one is not there.
        (
            {},
            {"callback_settings": OLDER},
            ["team:t:langfuse:success:0", f"team:t:gcs_bucket:{BOTH}:0"],
            ["team:t:generic_api:failure:0", f"team:t:gcs_bucket:{BOTH}:0"],
        ),
        ({}, {"logging": [], "callback_settings": OLDER}, [], []),
        ({"callback_settings": OLDER}, {}, [], []),
        # Switched off, by the key or by the team.
        (
            {"logging": [entry("langfuse", "success"), entry("generic_api", "success")],
             "litellm_disabled_callbacks": ["langfuse"]},
            None,
            ["key:k:generic_api:success:0"],
            [],
        ),
        ({"litellm_disabled_callbacks": ["langfuse"]}, {"logging": [entry("langfuse")]}, [], []),
        ({"logging": [entry("langfuse")]}, {"litellm_disabled_callbacks": ["langfuse"]}, [], []),
        # Not spoken here.
        ({"logging": [entry("braintrust"), entry("langfuse", "success")]}, None, ["key:k:langfuse:success:0"], []),
        # Rows that were written elsewhere hold anything.
        ({"logging": "langfuse"}, {"logging": [entry("langfuse")]}, [], []),
        ({"logging": [5, None, {"callback_name": 7}, entry("langfuse", "never")]}, None, [], []),
        ({"logging": [entry("langfuse", 5)]}, None, [f"key:k:langfuse:{BOTH}:0"], [f"key:k:langfuse:{BOTH}:0"]),
        ({}, {"callback_settings": {"success_callback": "langfuse", "callbacks": [5]}}, [], []),
        ({"logging": [entry("langfuse", "success")], "litellm_disabled_callbacks": "langfuse"}, None,
         ["key:k:langfuse:success:0"], []),
    ],
)  # fmt: skip
def test_who_hears_of_a_call(key: dict[str, Any], team: dict[str, Any] | None, success: Any, failure: Any):
    assert targets("success", key, team) == [f"callback:{name}" for name in success]
    assert targets("failure", key, team) == [f"callback:{name}" for name in failure]


def test_no_more_callbacks_are_looked_at_than_may_be_set():
    listed = [entry("langfuse", "success") for _ in range(MOST_CALLBACKS + 5)]

    assert len(targets("success", {"logging": listed})) == MOST_CALLBACKS


# --- found again -------------------------------------------------------------------------------------------

FIRST, SECOND = entry("langfuse", "success", langfuse_host="a"), entry("langfuse", "success", langfuse_host="b")
OTHER = entry("generic_api", "success")


@pytest.mark.parametrize(
    ("name", "listed", "place"),
    [
        ("langfuse:success:0", [FIRST], 0),
        ("langfuse:success:1", [FIRST, OTHER, SECOND], 2),
        # Another one in the list moves nothing.
        ("langfuse:success:0", [OTHER, FIRST], 1),
        ("langfuse:success:0", [], None),
        ("langfuse:success:1", [FIRST], None),
        ("langfuse:failure:0", [FIRST], None),
        (f"langfuse:{BOTH}:0", [FIRST, entry("langfuse")], 1),
    ],
)
def test_a_callback_is_found_by_what_it_is(name: str, listed: list[dict[str, Any]], place: int | None):
    found = CallbackTarget.parse(f"callback:key:k:{name}").entry({"logging": listed})

    assert found == (None if place is None else listed[place])


def test_one_that_was_put_right_is_still_the_same():
    before = CallbackTarget.parse("callback:team:t:langfuse:success:0")
    after = entry("langfuse", "success", langfuse_host="https://right.example", langfuse_secret_key="new")

    assert before.entry({"logging": [after]}) == after


def test_one_that_is_switched_off_is_not_there():
    target = CallbackTarget("key", "k", "langfuse", "success")

    assert target.entry({"logging": [FIRST], "litellm_disabled_callbacks": ["langfuse"]}) is None


def test_in_the_older_form_all_have_the_same_variables():
    settings = {**OLDER, "callback_vars": {"langfuse_host": "h"}}

    found = CallbackTarget("team", "t", "gcs_bucket", BOTH).entry({"callback_settings": settings})

    assert found is not None
    assert found["callback_vars"] == {"langfuse_host": "h"}
    assert CallbackTarget("key", "k", "gcs_bucket", BOTH).entry({"callback_settings": settings}) is None


@given(owner_id=st.text(), ordinal=st.integers(0, 20))
def test_a_target_is_read_as_it_was_written_whatever_its_owner_is_called(owner_id: str, ordinal: int):
    target = CallbackTarget("team", owner_id, "langfuse", "success_and_failure", ordinal)

    assert CallbackTarget.parse(str(target)) == target


# --- bodies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "hears"),
    [
        ({}, True),
        ({"turn_off_message_logging": "true"}, False),
        ({"turn_off_message_logging": " True "}, False),
        ({"turn_off_message_logging": "1"}, False),
        ({"turn_off_message_logging": "false"}, True),
        ({"turn_off_message_logging": ""}, True),
        ({"capture_message_content": "no_content"}, False),
        ({"capture_message_content": "span_only"}, True),
    ],
)
def test_a_callback_may_want_to_hear_of_no_messages(variables: dict[str, str], hears: bool):
    assert hears_bodies(variables) is hears

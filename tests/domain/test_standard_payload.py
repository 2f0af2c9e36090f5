"""One call's log: what identifies it, and what is read of a payload that may hold anything."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import RFC_4122, UUID

import pytest

from tests.integrations.probes import LOG_ID, NOW, a_failed_log, a_log, a_probe


@pytest.mark.parametrize("log_id", [LOG_ID, LOG_ID.upper(), LOG_ID.replace("-", ""), f"urn:uuid:{LOG_ID}"])
def test_a_uuid_identifies_itself(log_id: str):
    assert str(a_log(log_id).uuid) == LOG_ID


@pytest.mark.parametrize(
    "log_id", ["chatcmpl-1", "", "ü" * 500, "half \ud800", str(UUID(int=0)), str(UUID(int=2**128 - 1)), "0" * 32]
)
def test_any_other_id_has_one_uuid_of_its_own_and_no_part_of_it_is_empty(log_id: str):
    found = a_log(log_id).uuid

    assert found == a_log(log_id).uuid != a_log(log_id + "x").uuid
    assert found.variant == RFC_4122
    assert any(found.bytes[8:])


def test_a_log_is_called_by_its_kind_and_its_model_and_a_test_by_what_it_is():
    logs = [a_log(), a_log(model=None), a_log(call_type=None, model=None), a_probe()]

    assert [log.name for log in logs] == ["acompletion gpt-4o", "acompletion", "call", "keyledger-key-health"]


@pytest.mark.parametrize(
    ("began", "ended", "start_seconds", "length_seconds"),
    [
        (NOW.timestamp() - 2, NOW.timestamp(), -2, 2),
        (NOW.timestamp(), NOW.timestamp() - 2, 0, 0),
        (None, None, 0, 0),
        ("yesterday", "today", 0, 0),
        (float("nan"), float("inf"), 0, 0),
        (1e300, -1e300, 0, 0),
        (int(NOW.timestamp()), None, -0.123456, 0.123456),
    ],
)
def test_a_time_that_the_payload_does_not_tell_is_the_logs_own(
    began: Any, ended: Any, start_seconds: float, length_seconds: float
):
    log = a_log(startTime=began, endTime=ended)

    assert log.started_at == NOW + timedelta(seconds=start_seconds)
    assert log.ended_at - log.started_at == timedelta(seconds=length_seconds)


@pytest.mark.parametrize(
    ("given", "tags"), [(["a", 1, None], ["a", "1", "None"]), ("a", []), (None, []), ({"a": 1}, []), ([], [])]
)
def test_tags_are_texts(given: Any, tags: list[str]):
    assert a_log(request_tags=given).tags == tags


def test_a_payload_without_anything_is_read_as_a_call_that_succeeded():
    log = replace(a_log(), payload={})

    assert (log.failed, log.key_facts, log.tags, log.started_at) == (False, {}, [], NOW)
    assert a_failed_log().failed


def test_what_was_said_shows_in_no_picture_of_a_log():
    assert "Säntis" not in repr(a_log())

"""Batches: every log once, in order, in no more requests than needed; and what a failure of one does to the rest."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.integrations.batches import Limits, batch_name, dumped, in_parts, ndjson
from app.integrations.destinations import DeliveryResult
from tests.integrations.probes import a_probe

ROOMY = Limits(items=100, bytes=1000)


def result(status: int | None, *, retryable: bool = False) -> DeliveryResult:
    return DeliveryResult(status == 202, status, 1, None if status == 202 else f"HTTP {status}", retryable)


class End:
    """A destination that notes what it was sent and answers as it is told."""

    def __init__(self, answers: Callable[[Sequence[int]], int | None] = lambda _: 202) -> None:
        self._answers = answers
        self.parts: list[Sequence[int]] = []

    def __call__(self, part: Sequence[int]) -> DeliveryResult:
        self.parts.append(part)
        status = self._answers(part)
        return result(status, retryable=status is None or status >= 500)


def send(items: Sequence[int], limits: Limits, end: End) -> DeliveryResult:
    return in_parts(items, lambda item: item, limits, end)


@settings(deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 10), st.integers(1, 100))
def test_every_item_is_sent_once_and_in_order_within_the_limits(items: list[int], most: int, size: int):
    end = End()

    assert send(items, Limits(most, size), end).ok

    assert [item for part in end.parts for item in part] == items
    assert all(len(part) <= most and (sum(part) <= size or len(part) == 1) for part in end.parts)


@settings(deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(50, 100))
def test_what_is_called_too_large_is_halved_until_it_is_taken(items: list[int], takes: int):
    taken: list[int] = []

    def strict(part: Sequence[int]) -> int:
        if sum(part) > takes:
            return 413
        taken.extend(part)
        return 202

    assert send(items, Limits(1000, 10_000), End(strict)).ok
    assert taken == items


def test_one_log_that_no_request_can_hold_does_not_keep_the_others():
    taken: list[int] = []

    def strict(part: Sequence[int]) -> int:
        if 7 in part:
            return 413
        taken.extend(part)
        return 202

    outcome = send([1, 2, 7, 3, 4], ROOMY, End(strict))

    assert (outcome.ok, outcome.http_status, outcome.retryable) == (False, 413, False)
    assert taken == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("answers", "sent", "status"),
    [
        ([202, 202, 202], 3, 202),
        ([400, 202, 202], 3, 400),
        ([400, 202, 422], 3, 400),
        ([202, 503, 202], 2, 503),
        ([202, None, 202], 2, None),
        ([400, 503, 202], 2, 503),
        ([401, 202, 202], 1, 401),
        ([400, 403, 202], 2, 400),
    ],
)
def test_a_refusal_of_the_logs_lets_the_rest_go_and_any_other_failure_ends_the_work(
    answers: list[int | None], sent: int, status: int | None
):
    end = End(lambda part: answers[part[0]])

    outcome = send([0, 1, 2], Limits(1, 1000), end)

    assert (len(end.parts), outcome.http_status) == (sent, status)


def test_a_repeat_has_the_same_name_and_another_batch_another():
    first, second = a_probe(), replace(a_probe(), id="second")
    later = replace(first, at=first.at + timedelta(milliseconds=1))

    assert batch_name([first, second]) == batch_name([first, second])
    assert batch_name([first]).startswith("2026-11-18/batch-1795009653123-")
    assert len({batch_name(logs) for logs in ([first], [second], [first, second], [later])}) == 4


def test_an_id_that_is_no_proper_text_has_a_name_too():
    logs = [replace(a_probe(), id=log_id) for log_id in ("half \ud800", "half \ud801")]

    assert len({batch_name([log]) for log in logs}) == 2


def test_a_file_has_a_log_a_line():
    lines = ndjson([a_probe(), replace(a_probe(), payload={"text": "two\nlines"})]).splitlines()

    assert [json.loads(line).get("text") for line in lines] == [None, "two\nlines"]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (2**70, 2**70),
        ("half \ud800", "half \ud800"),
        (MappingProxyType({"a": 1}), {"a": 1}),
        ({"a": MappingProxyType({}), "b": 2**70}, {"a": {}, "b": 2**70}),
        ({"a": {1}}, {"a": "{1}"}),
    ],
)
def test_whatever_a_payload_holds_can_be_written(value: Any, read: Any):
    assert json.loads(dumped(value)) == read

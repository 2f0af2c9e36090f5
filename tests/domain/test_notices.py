"""Notices of an expiry: only those whose instant lies ahead when it is set, each once."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.notices import due_notice, next_notice

NOW = datetime(2026, 11, 18, tzinfo=UTC)
DAYS = (1, 7, 30)


def in_days(days: float) -> datetime:
    return NOW + timedelta(days=days)


@pytest.mark.parametrize(
    ("lasts", "first"),
    [(None, None), (1 / 24, None), (1, None), (2, 1), (7, 6), (8, 1), (30, 23), (31, 1), (400, 370)],
)
def test_the_first_notice_is_the_first_whose_instant_lies_ahead(lasts: float | None, first: float | None):
    expires_at = None if lasts is None else in_days(lasts)

    assert next_notice(expires_at, NOW, DAYS) == (None if first is None else in_days(first))


@pytest.mark.parametrize(
    ("since", "now", "days_left"),
    [(10, 10, 30), (10, 32, 30), (10, 33, 7), (10, 39.5, 1), (10, 40, None), (11, 12, None), (33, 33, 7)],
)
def test_of_several_notices_that_are_due_the_last_one_is_told(since: float, now: float, days_left: int | None):
    assert due_notice(in_days(40), in_days(since), in_days(now), DAYS) == days_left


@given(st.floats(0, 100), st.lists(st.floats(0, 110), max_size=8).map(sorted))
def test_a_job_that_looks_now_and_then_tells_each_notice_once_at_the_most_and_the_nearest_last(
    lasts: float, looks: list[float]
):
    expires_at = in_days(lasts)
    notice_at, told = next_notice(expires_at, NOW, DAYS), []
    for look in map(in_days, looks):
        if notice_at is not None and notice_at <= look:
            told.append(due_notice(expires_at, notice_at, look, DAYS))
            notice_at = next_notice(expires_at, look, DAYS)

    days = [left for left in told if left is not None]
    assert days == sorted(set(days), reverse=True)
    assert all(left < lasts for left in days)

"""What a budget may say: the rules that tiers, keys, teams and users share."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.domain.budgets import (
    armed_limit,
    check_within,
    limits_nothing,
    limits_of,
    present_reset,
    running_limits,
    shown_limits,
    tier_changes,
    tier_of,
)
from app.domain.teams import member_id
from app.domain.values import InvalidValue
from app.domain.windows import Calendar

NOW = datetime(2026, 11, 18, 13, 47, 33, tzinfo=UTC)
CALENDAR = Calendar(ZoneInfo("UTC"), time(0))
NO_CAPS = {"max_budget_nanos": None, "tpm_limit": None, "rpm_limit": None}


def test_what_is_not_sent_is_left_out_and_null_clears():
    cleared = limits_of(dict.fromkeys(["max_budget", "tpm_limit", "budget_duration", "model_max_budget"]), {})

    assert limits_of({}, {}) == {}
    assert cleared == {
        "max_budget_nanos": None,
        "tpm_limit": None,
        "budget_duration": None,
        "model_max_budget": {},
    }


def test_money_is_kept_in_nano_dollars():
    assert limits_of({"max_budget": Decimal("1.5"), "soft_budget": Decimal(0)}, {}) == {
        "max_budget_nanos": 1_500_000_000,
        "soft_budget_nanos": 0,
    }


@pytest.mark.parametrize(
    ("columns", "models", "caps", "param"),
    [
        ({}, ["a"], {"max_budget_nanos": 1, "tpm_limit": 1, "rpm_limit": 1}, None),
        ({"max_budget_nanos": 1, "tpm_limit": 2, "rpm_limit": 3}, [], NO_CAPS, None),
        ({"max_budget_nanos": 1}, [], {**NO_CAPS, "max_budget_nanos": 1}, None),
        ({"max_budget_nanos": 2}, [], {**NO_CAPS, "max_budget_nanos": 1}, "max_budget"),
        ({"max_budget_nanos": 1}, [], {**NO_CAPS, "max_budget_nanos": 0}, "max_budget"),
        ({"tpm_limit": 2}, [], {**NO_CAPS, "tpm_limit": 1}, "tpm_limit"),
        ({"rpm_limit": 2}, [], {**NO_CAPS, "rpm_limit": 1}, "rpm_limit"),
        ({"models": ["a"]}, ["a", "b"], NO_CAPS, None),
        ({"models": ["a", "c"]}, ["a", "b"], NO_CAPS, "models"),
        ({"models": ["c"]}, [], NO_CAPS, None),
        ({"models": ["c"]}, ["*"], NO_CAPS, None),
        ({"models": ["c"]}, ["all-proxy-models"], NO_CAPS, None),
    ],
)
def test_limits_stay_within_those_above_them(
    columns: dict[str, Any], models: list[str], caps: dict[str, Any], param: str | None
):
    if param is None:
        check_within(columns, models, caps, "the organization")
    else:
        with pytest.raises(InvalidValue, match="of the organization") as refused:
            check_within(columns, models, caps, "the organization")
        assert refused.value.param == param


@pytest.mark.parametrize(
    ("stored", "duration", "expected"),
    [
        (None, None, None),
        (None, "1d", None),
        (datetime(2026, 11, 18, 13, 47, 34, tzinfo=UTC), "1d", datetime(2026, 11, 18, 13, 47, 34, tzinfo=UTC)),
        (NOW, "1d", datetime(2026, 11, 19, tzinfo=UTC)),
        (datetime(2026, 1, 1, tzinfo=UTC), "30d", datetime(2026, 12, 1, tzinfo=UTC)),
        (datetime(2026, 1, 1, tzinfo=UTC), None, datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_the_reset_of_a_tier_is_the_stored_one_until_it_has_passed(
    stored: datetime | None, duration: str | None, expected: datetime | None
):
    row = {
        "budget_reset_at": stored,
        "budget_duration": duration,
        "created_at": datetime(2025, 12, 31, 12, tzinfo=UTC),
    }

    assert present_reset(row, CALENDAR, NOW) == expected


def test_a_tier_takes_an_increase_only_with_its_end():
    until = datetime(2026, 12, 24, tzinfo=UTC)

    both = tier_of({"temp_budget_increase": Decimal(3), "temp_budget_expiry": until}, CALENDAR, NOW)

    assert (both["temp_budget_increase_nanos"], both["temp_budget_expiry"]) == (3_000_000_000, until)
    half = tier_of({"temp_budget_increase": Decimal(3)}, CALENDAR, NOW)
    assert (half["temp_budget_increase_nanos"], half["temp_budget_expiry"]) == (None, None)


STORED = {"budget_duration": "1d", "budget_reset_at": NOW, "max_budget_nanos": 1}
NEXT_DAY, NEXT_MONTH = datetime(2026, 11, 19, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({}, {}),
        ({"max_budget": None}, {"max_budget_nanos": None}),
        ({"allowed_models": None}, {"allowed_models": []}),
        ({"budget_duration": "1d"}, {"budget_duration": "1d"}),
        ({"budget_duration": "30d"}, {"budget_duration": "30d", "budget_reset_at": NEXT_MONTH}),
        ({"budget_duration": None}, {"budget_duration": None, "budget_reset_at": None}),
        ({"budget_reset_at": NEXT_MONTH}, {"budget_reset_at": NEXT_MONTH}),
        ({"budget_reset_at": None}, {"budget_reset_at": NEXT_DAY}),
        (
            {"budget_duration": "30d", "budget_reset_at": NEXT_DAY},
            {"budget_duration": "30d", "budget_reset_at": NEXT_DAY},
        ),
        ({"temp_budget_expiry": None}, {"temp_budget_increase_nanos": None, "temp_budget_expiry": None}),
    ],
)
def test_what_is_sent_of_a_tier_changes_and_what_hangs_on_it(sent: dict[str, Any], expected: dict[str, Any]):
    assert tier_changes(sent, STORED, CALENDAR, NOW) == expected


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, True),
        ({"max_budget_nanos": None, "allowed_models": [], "model_max_budget": {}, "budget_reset_at": NOW}, True),
        ({"max_budget_nanos": 0}, False),
        ({"rpm_limit": 0}, False),
        ({"budget_duration": "1d"}, False),
        ({"allowed_models": ["m"]}, False),
        ({"temp_budget_increase_nanos": 1}, False),
    ],
)
def test_zero_is_a_limit_and_nothing_is_none(columns: dict[str, Any], expected: bool):
    assert limits_nothing(columns) is expected


def test_two_memberships_never_share_a_name():
    parts = ["a", "a:b", "b", "1:a", "", ":", "\u6f22:", "11:a"]
    names = {member_id(team, user) for team in parts for user in parts}

    assert len(names) == len(parts) ** 2


@pytest.mark.parametrize(
    ("spelling", "later", "end"),
    [
        ("1h", timedelta(minutes=12), "2026-11-18T14:00:00.000000Z"),
        ("1h", timedelta(minutes=13), "2026-11-18T15:00:00.000000Z"),
        # Counted from the midnight before the arming, not from the end of the first.
        ("7h", timedelta(days=1), "2026-11-19T18:00:00.000000Z"),
        ("5d", timedelta(days=7), "2026-11-28T00:00:00.000000Z"),
        ("1mo", timedelta(days=14), "2027-01-01T00:00:00.000000Z"),
    ],
)
def test_a_further_window_ends_where_the_one_of_the_instant_does(spelling: str, later: timedelta, end: str):
    armed = armed_limit({"budget_duration": spelling, "max_budget": 1.0}, CALENDAR, NOW)

    (running,) = running_limits([armed], CALENDAR, NOW + later) or []

    assert running == {**armed, "reset_at": end}
    assert shown_limits([running]) == [{"budget_duration": spelling, "max_budget": 1.0, "reset_at": end}]


@pytest.mark.parametrize("known", [{}, {"reset_at": "2026-11-18T14:00:00.000000Z"}])
def test_a_further_window_of_which_the_arming_is_not_known_runs_on_from_its_end(known: dict[str, str]):
    stored = {"budget_duration": "1h", "max_budget": 1.0, **known}

    later = running_limits([stored], CALENDAR, NOW + timedelta(hours=2))

    assert later == [{**stored, "reset_at": "2026-11-18T16:00:00.000000Z" if known else None}]
    assert running_limits(None, CALENDAR, NOW) is shown_limits(None) is None

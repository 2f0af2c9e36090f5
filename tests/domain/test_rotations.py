"""Scheduled rotation as rules: the way of a secret, what becomes of it, and when the next one is due."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.durations import Duration, Unit, parse
from app.domain.rotations import (
    GIVEN_UP_AFTER,
    Carriers,
    Fate,
    Way,
    fate,
    next_rotation,
    spelled,
    way_of,
)
from app.domain.values import InvalidValue

NOW = datetime(2026, 11, 18, 13, 47, 33, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
BOB = "bob@example.com"
BOTH = Carriers(("webhook:1", "webhook:2"), mail=True)


# --- the way -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("carriers", "confirmed", "address", "way"),
    [
        (BOTH, {"mail", "webhook:1"}, BOB, Way("mail", BOB)),
        (BOTH, {"mail", "webhook:1"}, None, Way("webhook:1")),
        (BOTH, {"webhook:2"}, BOB, Way("webhook:2")),
        (BOTH, {"mail", "webhook:2"}, "bob@example.com, eve@example.com", Way("webhook:2")),
        (Carriers(mail=True), {"mail"}, BOB, Way("mail", BOB)),
        (Carriers(("webhook:0",)), {"webhook:0"}, None, Way("webhook:0")),
    ],
)
def test_a_secret_goes_one_way_that_works_to_the_user_first(
    carriers: Carriers, confirmed: set[str], address: str | None, way: Way
):
    assert way_of(carriers, confirmed, address) == way


@pytest.mark.parametrize(
    ("carriers", "confirmed", "address", "missing"),
    [
        (Carriers(), {"mail", "webhook:0"}, BOB, ["set KEYLEDGER_MAIL_KEYS", "https WEBHOOK_URL"]),
        (
            BOTH,
            set(),
            BOB,
            ["mail: nothing has arrived", "webhook:1: nothing", "webhook:2: nothing", "events test"],
        ),
        (Carriers(mail=True), {"mail"}, None, ["mail: the key's user has no mail address"]),
        (Carriers(mail=True), {"mail"}, "bob", ["mail: the key's user has no mail address"]),
        (Carriers(("webhook:0",)), {"mail", "slack:0"}, BOB, ["webhook:0: nothing has arrived"]),
    ],
)
def test_without_a_way_it_is_said_what_is_missing(
    carriers: Carriers, confirmed: set[str], address: str | None, missing: list[str]
):
    with pytest.raises(InvalidValue) as refused:
        way_of(carriers, confirmed, address)

    assert refused.value.param == "auto_rotate"
    assert all(text in str(refused.value) for text in missing), refused.value


# --- what becomes of it --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delivered", "parked", "after", "expected"),
    [
        (False, False, timedelta(0), None),
        (False, False, GIVEN_UP_AFTER - MOMENT, None),
        (False, False, GIVEN_UP_AFTER, Fate.GIVEN_UP),
        (False, True, MOMENT, Fate.GIVEN_UP),
        (True, False, MOMENT, Fate.DELIVERED),
        # Whoever has it may use it already, however late that is seen.
        (True, False, 9 * GIVEN_UP_AFTER, Fate.DELIVERED),
        (True, True, 9 * GIVEN_UP_AFTER, Fate.DELIVERED),
    ],
)
def test_its_delivery_decides_and_else_a_day(
    *, delivered: bool, parked: bool, after: timedelta, expected: Fate | None
):
    at = NOW + MOMENT

    assert fate(NOW, at if delivered else None, at if parked else None, NOW + after) is expected


# --- when the next one is due --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interval", "late", "expected"),
    [
        ("30d", timedelta(0), NOW + timedelta(days=30)),
        ("30d", timedelta(days=29), NOW + timedelta(days=30)),
        ("30d", timedelta(days=30), NOW + timedelta(days=60)),
        ("1h", timedelta(days=2, minutes=5), NOW + timedelta(days=2, hours=1)),
        ("1mo", timedelta(seconds=3), NOW.replace(month=12)),
        ("1mo", timedelta(days=100), NOW.replace(year=2027, month=3)),
        ("1y", timedelta(days=1), NOW.replace(year=2027)),
        ("7973y", timedelta(0), NOW.replace(year=9999)),
        ("7974y", timedelta(0), None),
    ],
)
def test_the_next_rotation_keeps_to_the_grid_of_the_one_that_was_due(
    interval: str, late: timedelta, expected: datetime | None
):
    assert next_rotation(parse(interval), NOW, NOW + late) == expected


def test_an_interval_without_a_length_is_refused():
    with pytest.raises(InvalidValue):
        next_rotation(parse("0s"), NOW, NOW)


def test_the_days_of_a_month_are_those_of_the_rotation_that_was_due():
    due = datetime(2027, 1, 31, tzinfo=UTC)

    assert next_rotation(parse("1mo"), due, due + timedelta(days=40)) == datetime(2027, 3, 31, tzinfo=UTC)


intervals = st.builds(Duration, st.integers(1, 500), st.sampled_from(Unit))


@given(intervals, st.integers(0, 20 * 365 * 86_400))
def test_nothing_drifts_and_no_outage_makes_a_burst(interval: Duration, late: int):
    now = NOW + timedelta(seconds=late)

    found = next_rotation(interval, NOW, now)

    assert found is not None
    assert found > now
    # The one before it is past: a single rotation stands for all that were missed.
    assert found - now <= (interval.after(now) - now) * 1.15
    exact = interval.unit not in {Unit.MONTH, Unit.YEAR}
    assert not exact or (found - NOW) % (interval.after(NOW) - NOW) == timedelta(0)


@pytest.mark.parametrize("text", ["0s", "24h", "1mo", "2y"])
def test_a_length_is_spelled_as_it_is_read(text: str):
    assert spelled(parse(text)) == text

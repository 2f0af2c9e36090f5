"""The one text that a budget stores of its window, and the calendar that is read from it."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import spellings
from app.domain.durations import InvalidDuration
from app.domain.spellings import Spelling, changed, read, shown, spelled
from app.domain.windows import Calendar, containing

DURATIONS = st.sampled_from(["1d", "7d", "1mo", "30d", "3mo", "1y", "12h", "5m", "monthly"])
STARTS = st.none() | st.times().map(lambda at: at.replace(microsecond=0).isoformat())
ROLLOVERS = st.sampled_from([None, True, False])
ZONES = st.none() | st.sampled_from(sorted(available_timezones()))
INSTALLATION = Calendar(ZoneInfo("America/New_York"), time(2))


@given(DURATIONS, STARTS, ZONES, ROLLOVERS)
def test_what_is_spelled_is_read_and_shown_as_it_was_sent(
    duration: str, start: str | None, zone: str | None, rollover: bool | None
):
    text = spelled(duration, start, zone, rollover)
    assert text is not None

    found = read(text)

    assert found == Spelling(
        duration, time.fromisoformat(start) if start else None, ZoneInfo(zone) if zone else None, rollover
    )
    assert shown(text) == {
        "budget_duration": duration,
        "budget_start_time": start,
        "budget_timezone": zone,
        "budget_rollover": rollover,
    }


@given(DURATIONS, STARTS, ZONES)
def test_a_budget_with_a_calendar_of_its_own_has_the_windows_of_that_calendar(
    duration: str, start: str | None, zone: str | None
):
    text, now = spelled(duration, start, zone) or "", datetime(2026, 3, 29, 0, 30, tzinfo=UTC)

    found = INSTALLATION.window(text, now, now)

    assert found == containing(
        duration,
        zone=ZoneInfo(zone) if zone else INSTALLATION.zone,
        day_start=time.fromisoformat(start) if start else INSTALLATION.day_start,
        armed_at=now,
        now=now,
    )


@pytest.mark.parametrize(
    ("sent", "stored", "after"),
    [
        ({"budget_duration": "1d"}, None, "1d"),
        ({"budget_duration": "1d", "budget_timezone": "Asia/Tokyo"}, None, "1d Asia/Tokyo"),
        ({"budget_start_time": "06:00"}, "1d", "1d 06:00"),
        ({"budget_timezone": "Asia/Tokyo"}, "1d 06:00", "1d 06:00 Asia/Tokyo"),
        ({"budget_timezone": None}, "1d 06:00 Asia/Tokyo", "1d 06:00"),
        ({"budget_timezone": ""}, "1d Asia/Tokyo", "1d"),
        ({"budget_start_time": None}, "1d 06:00 Asia/Tokyo", "1d Asia/Tokyo"),
        ({"budget_duration": "7d"}, "1d 06:00 Asia/Tokyo", "7d 06:00 Asia/Tokyo"),
        ({"budget_duration": None}, "1d 06:00 Asia/Tokyo", None),
        ({"budget_timezone": None}, None, None),
        ({"budget_rollover": True}, "1d 06:00 Asia/Tokyo", "1d 06:00 Asia/Tokyo +rollover"),
        ({"budget_rollover": False}, "1d +rollover", "1d -rollover"),
        ({"budget_rollover": None}, "1d +rollover", "1d"),
        ({"budget_duration": "7d"}, "1d UTC -rollover", "7d UTC -rollover"),
        ({"budget_rollover": None, "budget_duration": None}, "1d +rollover", None),
        ({}, "1d 06:00", "1d 06:00"),
    ],
)
def test_a_change_leaves_what_it_does_not_send(sent: dict[str, str | None], stored: str | None, after: str | None):
    assert changed(sent, stored) == after


@pytest.mark.parametrize("name", ["budget_timezone", "budget_start_time"])
def test_a_calendar_without_a_length_is_refused(name: str):
    with pytest.raises(InvalidDuration, match=f"{spellings.ZONE}|{spellings.START}"):
        changed({name: "UTC"}, None)
    with pytest.raises(InvalidDuration):
        changed({name: "UTC", "budget_duration": None}, "1d")


@pytest.mark.parametrize(
    "text", ["1d 25:00", "1d 6:00", "1d 06", "1d 06:00Z", "1d Mars/Base", "1d ../etc/passwd", "1d /etc/localtime",
             "1d 06:00 UTC more", "1d +rollover UTC", "1d rollover", "1d +rollover -rollover", "1d UTC 06:00", "1d  UTC"],
)  # fmt: skip
def test_a_text_that_says_no_window_is_refused(text: str):
    with pytest.raises(InvalidDuration):
        read(text)


def test_only_the_installations_windows_follow_its_settings():
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    elsewhere = Calendar(ZoneInfo("Asia/Kathmandu"), time(7))

    assert INSTALLATION.window("1d", now, now) != elsewhere.window("1d", now, now)
    own = "1d 06:00 Asia/Tokyo"
    assert INSTALLATION.window(own, now, now) == elsewhere.window(own, now, now)


@pytest.mark.parametrize("rollover", [True, False])
def test_a_rollover_without_a_length_is_refused(rollover: bool):
    with pytest.raises(InvalidDuration, match=spellings.ROLLOVER):
        changed({"budget_rollover": rollover}, None)


@pytest.mark.parametrize("installation", [True, False])
def test_a_budget_that_does_not_say_rolls_over_as_the_installation_does(installation: bool):
    calendar = Calendar(ZoneInfo("UTC"), time(0), rollover=installation)

    assert [calendar.rolls(text) for text in ("1d", "1d +rollover", "1d -rollover", None, "1d and more")] == [
        installation,
        True,
        False,
        False,
        False,
    ]

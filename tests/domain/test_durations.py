from calendar import monthrange
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.durations import Duration, InvalidDuration, Unit, parse

NOW = datetime(2026, 11, 18, 13, 47, 33, tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)

MOMENTS = st.datetimes(
    datetime.fromisoformat("1970-01-01"), datetime.fromisoformat("2200-01-01"), timezones=st.just(UTC)
)


@pytest.mark.parametrize(
    ("text", "count", "unit"),
    [
        ("30s", 30, Unit.SECOND),
        ("15m", 15, Unit.MINUTE),
        ("24h", 24, Unit.HOUR),
        ("7d", 7, Unit.DAY),
        ("2w", 2, Unit.WEEK),
        ("1mo", 1, Unit.MONTH),
        ("1y", 1, Unit.YEAR),
        ("0s", 0, Unit.SECOND),
        ("hourly", 1, Unit.HOUR),
        ("daily", 1, Unit.DAY),
        ("weekly", 7, Unit.DAY),
        ("monthly", 1, Unit.MONTH),
        ("Daily", 1, Unit.DAY),
        ("MONTHLY", 1, Unit.MONTH),
    ],
)
def test_each_spelling_has_one_meaning(text: str, count: int, unit: Unit) -> None:
    assert parse(text) == Duration(count, unit)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "d", "10", "abc", "30D", "1MO", "30days", "1hr", "15min", "1month", "1h30m", "1d12h", "1mo2",
        "1.5h", "1,5h", "30 d", " 30d", "30d ", "30d\n", "daily ", " daily", "daily\n", "yearly", "-1", "-1d",
        "+1d", "1_000d", "1e3d", "0x1d", "\u0663d", "\uff13d", "1d\x00", "wee\u212aly", "None", "1M",
    ],
)  # fmt: skip
def test_a_text_that_is_not_understood_to_its_last_character_is_refused(text: str) -> None:
    with pytest.raises(InvalidDuration, match="Use a format like"):
        parse(text)


@given(st.text(max_size=12))
def test_any_text_is_either_read_or_refused_as_an_invalid_duration(text: str) -> None:
    try:
        duration = parse(text)
    except InvalidDuration:
        return

    assert duration.count >= 0


@given(st.integers(0, 9998), st.sampled_from(Unit))
def test_what_is_written_as_count_and_unit_is_read_back(count: int, unit: Unit) -> None:
    assert parse(f"{count}{unit}") == Duration(count, unit)


@pytest.mark.parametrize(
    "text",
    ["1000000000000d", "9" * 30 + "s", "9" * 30 + "y", "9" * 5000 + "d", "999999999999d", "9999y", "119977mo"],
)
def test_a_length_that_no_calendar_holds_is_refused_when_read(text: str) -> None:
    with pytest.raises(InvalidDuration):
        parse(text)


@pytest.mark.parametrize(
    "text", ["9998y", "119976mo", "9000y", "3500000d", "500000w", "80000000h", "315000000000s"]
)
def test_a_length_that_ends_after_the_year_9999_is_refused_when_counted(text: str) -> None:
    duration = parse(text)

    with pytest.raises(InvalidDuration, match="after the year 9999"):
        duration.after(NOW)


def test_a_negative_length_does_not_exist() -> None:
    with pytest.raises(InvalidDuration, match="negative"):
        Duration(-1, Unit.DAY)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("0s", NOW),
        ("0mo", NOW),
        ("90s", datetime(2026, 11, 18, 13, 49, 3, tzinfo=UTC)),
        ("30m", datetime(2026, 11, 18, 14, 17, 33, tzinfo=UTC)),
        ("36h", datetime(2026, 11, 20, 1, 47, 33, tzinfo=UTC)),
        ("30d", datetime(2026, 12, 18, 13, 47, 33, tzinfo=UTC)),
        ("2w", datetime(2026, 12, 2, 13, 47, 33, tzinfo=UTC)),
        ("1mo", datetime(2026, 12, 18, 13, 47, 33, tzinfo=UTC)),
        ("2mo", datetime(2027, 1, 18, 13, 47, 33, tzinfo=UTC)),
        ("1y", datetime(2027, 11, 18, 13, 47, 33, tzinfo=UTC)),
        ("hourly", NOW + timedelta(hours=1)),
        ("daily", NOW + timedelta(days=1)),
        ("weekly", NOW + timedelta(days=7)),
        ("monthly", datetime(2026, 12, 18, 13, 47, 33, tzinfo=UTC)),
    ],
)
def test_a_length_ends_this_long_after_the_moment(text: str, end: datetime) -> None:
    assert parse(text).after(NOW) == end


@pytest.mark.parametrize(
    ("start", "text", "end"),
    [
        ((2027, 1, 31), "1mo", (2027, 2, 28)),
        ((2028, 1, 31), "1mo", (2028, 2, 29)),
        ((2027, 1, 31), "2mo", (2027, 3, 31)),
        ((2027, 3, 31), "1mo", (2027, 4, 30)),
        ((2026, 12, 31), "2mo", (2027, 2, 28)),
        ((2028, 2, 29), "1y", (2029, 2, 28)),
        ((2028, 2, 29), "4y", (2032, 2, 29)),
        ((2026, 12, 15), "12mo", (2027, 12, 15)),
    ],
)
def test_months_and_years_are_clamped_to_the_end_of_the_month(
    start: tuple[int, int, int], text: str, end: tuple[int, int, int]
) -> None:
    assert parse(text).after(datetime(*start, tzinfo=UTC)) == datetime(*end, tzinfo=UTC)


def test_months_are_counted_on_the_utc_date_whatever_the_zone_of_the_moment() -> None:
    # The first of March in Tokyo, the last of February in UTC.
    moment = datetime(2027, 3, 1, 2, tzinfo=timezone(timedelta(hours=9)))

    end = parse("1mo").after(moment)

    assert end == datetime(2027, 3, 28, 17, tzinfo=UTC)
    assert end.utcoffset() == timedelta(0)


@given(MOMENTS, st.integers(0, 2400))
def test_months_keep_the_day_and_time_but_for_clamping(moment: datetime, count: int) -> None:
    end = Duration(count, Unit.MONTH).after(moment)

    assert (end.year - moment.year) * 12 + end.month - moment.month == count
    assert end.day == min(moment.day, monthrange(end.year, end.month)[1])
    assert end.timetz() == moment.timetz()


@given(MOMENTS, st.integers(0, 10**6), st.sampled_from("smhdw"))
def test_the_other_units_are_exact_seconds(moment: datetime, count: int, unit: str) -> None:
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[unit]

    try:
        end = parse(f"{count}{unit}").after(moment)
    except InvalidDuration:
        assert count * seconds > 7000 * 365 * 86400
    else:
        assert end - moment == timedelta(seconds=count * seconds)


@given(st.datetimes(), st.integers(0, 10**12), st.sampled_from(Unit), st.integers(-14, 14))
def test_nothing_but_an_invalid_duration_is_ever_raised(
    naive: datetime, count: int, unit: Unit, hours: int
) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(hours=hours)))

    try:
        end = parse(f"{count}{unit}").after(moment)
    except InvalidDuration:
        return

    assert end >= moment


@pytest.mark.parametrize("moment", [LAST, LAST.replace(tzinfo=timezone(timedelta(hours=-5)))])
@pytest.mark.parametrize("text", ["1s", "1mo", "1y"])
def test_the_end_of_the_calendar_is_refused_and_does_not_overflow(moment: datetime, text: str) -> None:
    with pytest.raises(InvalidDuration, match="after the year 9999"):
        parse(text).after(moment)


def test_a_naive_moment_is_a_mistake_of_the_program() -> None:
    with pytest.raises(TypeError):
        parse("1d").after(NOW.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("longer", "than_years"), [("366d", 1), ("53w", 1), ("13mo", 1), ("2y", 1), ("8761h", 1), ("31536001s", 1)]
)
def test_a_length_exceeds_years_by_the_smallest_excess(longer: str, than_years: int) -> None:
    assert parse(longer).exceeds(years=than_years)


@pytest.mark.parametrize("text", ["365d", "52w", "12mo", "1y", "8760h", "525600m", "31536000s"])
def test_a_year_does_not_exceed_a_year(text: str) -> None:
    assert not parse(text).exceeds(years=1)

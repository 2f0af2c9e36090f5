"""Money: dollars in, integer nano-dollars inside, dollars out, on every edge."""

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.money import MAXIMUM_NANOS, decimal, dollars, nanos, shown
from app.domain.values import InvalidValue

EXACT_IN_A_DOUBLE = 2**53
# From 2^23 dollars on, doubles lie more than a nano-dollar apart; a JSON number can be no finer.
FINEST_NANOS = 2**23 * 10**9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("-0", 0),
        ("-0.0", 0),
        ("0.000000001", 1),
        ("1", 1_000_000_000),
        ("0.1", 100_000_000),
        ("0.123456789", 123_456_789),
        ("1e-9", 1),
        ("1E+3", 1_000_000_000_000),
        ("8999999.999999999", MAXIMUM_NANOS - 1),
        ("9000000", MAXIMUM_NANOS),
        ("9000000.0000000000", MAXIMUM_NANOS),
        ("9E6", MAXIMUM_NANOS),
    ],
)
def test_dollars_become_nano_dollars(text: str, expected: int):
    found = nanos(Decimal(text), "max_budget")

    assert (found, type(found)) == (expected, int)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.0000000004", 0),
        ("0.0000000005", 0),
        ("0.00000000051", 1),
        ("0.0000000015", 2),
        ("0.0000000025", 2),
        ("8999999.9999999994", MAXIMUM_NANOS - 1),
        ("8999999.9999999999", MAXIMUM_NANOS),
    ],
)
def test_what_lies_between_two_nano_dollars_is_rounded_to_the_nearer_then_the_even_one(text: str, expected: int):
    assert nanos(Decimal(text), "spend") == expected


@pytest.mark.parametrize(
    "text",
    [
        "-0.000000001",
        "-1e-400",
        "-1",
        "NaN",
        "-NaN",
        "sNaN",
        "Infinity",
        "-Infinity",
        "9000000.000000001",
        "9000000.00000000000000000000000000000000001",
        "9007199.254740993",
        "1e400",
        "9" * 5000,
    ],
)
def test_what_no_budget_can_be_is_refused_by_the_name_of_its_field(text: str):
    with pytest.raises(InvalidValue) as refused:
        nanos(Decimal(text), "soft_budget")

    assert refused.value.param == "soft_budget"
    assert str(refused.value).startswith("soft_budget must ")


@pytest.mark.parametrize("amount", [Decimal("9" * 5_000), -Decimal("9" * 5_000)])
def test_a_refusal_repeats_no_more_of_an_amount_than_its_beginning(amount: Decimal):
    with pytest.raises(InvalidValue) as refusal:
        nanos(amount, "max_budget")

    assert len(str(refusal.value)) < 200


def test_the_largest_amount_is_exact_in_a_double():
    assert MAXIMUM_NANOS < EXACT_IN_A_DOUBLE
    assert int(float(MAXIMUM_NANOS)) == MAXIMUM_NANOS


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, "1"),
        (0.1, "0.1"),
        (1e-9, "0.000000001"),
        (5e-324, "5e-324"),
        ("2.50", "2.50"),
        (" 3 ", "3"),
        (Decimal("0.3"), "0.3"),
    ],
)
def test_a_number_is_read_as_it_was_written(value: object, expected: str):
    assert decimal(value, "spend") == Decimal(expected)


@pytest.mark.parametrize("value", [True, False, None, "", "one", "1,5", "0x1", [], {}, b"1"])
def test_what_is_no_number_is_refused_by_the_name_of_its_field(value: object):
    with pytest.raises(InvalidValue) as refused:
        decimal(value, "temp_budget_increase")

    assert (refused.value.param, str(refused.value)) == (
        "temp_budget_increase",
        "temp_budget_increase must be a number",
    )


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (0, 0.0),
        (1, 1e-09),
        (123_456_789, 0.123456789),
        (MAXIMUM_NANOS - 1, 8999999.999999999),
        (MAXIMUM_NANOS, 9e6),
        (EXACT_IN_A_DOUBLE, 9007199.254740992),
        (-1, -1e-09),
    ],
)
def test_nano_dollars_are_shown_as_dollars(amount: int, expected: float):
    assert (dollars(amount), shown(amount)) == (expected, expected)


def test_no_amount_is_shown_as_none():
    assert shown(None) is None


@given(st.integers(0, FINEST_NANOS))
@example(0)
@example(1)
@example(FINEST_NANOS)
def test_what_is_shown_and_sent_back_is_the_same_amount(amount: int):
    sent_back = decimal(dollars(amount), "max_budget")

    assert nanos(sent_back, "max_budget") == amount


@given(st.integers(FINEST_NANOS, MAXIMUM_NANOS))
@example(MAXIMUM_NANOS - 1)
@example(MAXIMUM_NANOS)
def test_near_the_ceiling_what_is_sent_back_is_off_by_one_nano_dollar_at_the_most(amount: int):
    sent_back = decimal(dollars(amount), "max_budget")

    assert abs(nanos(sent_back, "max_budget") - amount) <= 1


@given(st.decimals(0, 9_000_000, allow_nan=False, places=12))
def test_rounding_moves_an_amount_by_half_a_nano_dollar_at_the_most(amount: Decimal):
    assert abs(nanos(amount, "spend") - amount * 10**9) <= Decimal("0.5")


@given(st.floats(min_value=0, max_value=9_000_000) | st.integers(0, 9_000_000) | st.text(max_size=8))
def test_any_value_is_an_amount_or_refused(value: object):
    try:
        found = nanos(decimal(value, "spend"), "spend")
    except InvalidValue as refused:
        assert refused.param == "spend"  # noqa: PT017 - either outcome is right
    else:
        assert 0 <= found <= MAXIMUM_NANOS

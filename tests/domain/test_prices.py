"""Exact sums of tokens, and what a price file may say."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import prices
from app.domain.prices import Price, Rate
from app.domain.values import InvalidValue

RATES = st.decimals(0, 1000, places=4)
TOKENS = st.integers(0, 10_000_000)


def price(base, output, cached=None, **more):
    rates = [None if rate is None else Rate(Decimal(rate)) for rate in (base, output, cached)]
    return Price(*rates, **more)


@pytest.mark.parametrize(
    ("priced", "tokens", "nanos"),
    [
        (price("2.5", "10"), (1000, 100, 0), 3_500_000),
        (price("2.5", "10"), (0, 0, 0), 0),
        (price("0", "0"), (10**12, 10**12, 0), 0),
        (price("2.5", "10", "1.25"), (1000, 0, 400), 2_000_000),
        (price("2.5", "10"), (1000, 0, 400), 2_500_000),
        (price("2.5", "10", "0"), (1000, 0, 5000), 0),
        (price("1", "1", request=Decimal("0.005")), (1, 1, 0), 5_002_000),
        # A nano-dollar is the thousandth part of a token at a dollar a million: halves go to the even one.
        (price("0.0005", "0"), (1, 0, 0), 0),
        (price("0.0005", "0"), (3, 0, 0), 2),
    ],
)
def test_the_cost_is_exact(priced, tokens, nanos):
    put_in, put_out, cached = tokens
    assert priced.cost(input_tokens=put_in, output_tokens=put_out, cached_input_tokens=cached) == nanos


@pytest.mark.parametrize(
    ("input_tokens", "nanos"), [(1000, 1_000_000), (1001, 2_002_000), (2000, 4_000_000), (2001, 6_003_000)]
)
def test_a_tier_prices_every_token_of_a_call_that_passes_its_start(input_tokens, nanos):
    tiered = Price(Rate(Decimal(1), ((1000, Decimal(2)), (2000, Decimal(3)))), Rate(Decimal(0)))
    assert tiered.cost(input_tokens=input_tokens, output_tokens=0) == nanos


@given(RATES, RATES, TOKENS, TOKENS)
def test_the_cost_is_the_rational_sum_rounded_once(base, output, put_in, put_out):
    exact = base.as_integer_ratio(), output.as_integer_ratio()
    nanos = sum(
        1000 * count * top * 10**6 // bottom for count, (top, bottom) in zip((put_in, put_out), exact, strict=True)
    )
    cost = price(base, output).cost(input_tokens=put_in, output_tokens=put_out)
    assert abs(cost * 10**6 - nanos) <= 5 * 10**5


@given(RATES, RATES, TOKENS, TOKENS, st.integers(0, 1000), st.integers(0, 1000))
def test_more_tokens_never_cost_less(base, output, put_in, put_out, more_in, more_out):
    priced = price(base, output)
    fewer = priced.cost(input_tokens=put_in, output_tokens=put_out)
    assert priced.cost(input_tokens=put_in + more_in, output_tokens=put_out + more_out) >= fewer


def test_a_sum_above_the_ceiling_of_money_is_refused():
    with pytest.raises(InvalidValue, match="cost must not be above"):
        price("1", "1").cost(input_tokens=10**13, output_tokens=0)


def test_a_price_file_is_read_exactly_and_in_its_order():
    text = '{"b*": {"input": 0.1, "output": "2.50"}, "a": {"input": 0, "output": 1e-3, "cached_input": 1}}'
    assert list(prices.parse(text).items()) == [
        ("b*", price("0.1", "2.50")),
        ("a", price("0", "0.001", "1")),
    ]


@pytest.mark.parametrize("text", ["{}", " {} "])
def test_a_price_file_may_be_empty_of_models(text):
    assert prices.parse(text) == {}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "must hold JSON"),
        ("{'a': 1}", "must hold JSON"),
        ("[" * 100_000, "must hold JSON"),
        ("[]", "a JSON object of models"),
        ("3", "a JSON object of models"),
        ('{"a": 3}', "the price of 'a' needs input and output"),
        ('{"a": {"input": 1}}', "the price of 'a' needs input and output"),
        ('{"a": {"input": 1, "output": 1, "outptu": 1}}', "the price of 'a' needs input and output"),
        ('{"a": {"input": -1, "output": 1}}', "input of 'a' must be a non-negative finite number"),
        ('{"a": {"input": 1, "output": true}}', "output of 'a' must be a number"),
        ('{"a": {"input": 1, "output": null}}', "output of 'a' must be a number"),
        ('{"a": {"input": 1, "output": "many"}}', "output of 'a' must be a number"),
        ('{"a": {"input": 1, "output": 1e9}}', "output of 'a' must not be above"),
        ('{"a": {"input": NaN, "output": 1}}', "NaN is no price"),
        ('{"a": {"input": 1, "output": Infinity}}', "Infinity is no price"),
        ('{"a": {"input": 1, "output": 1}, "a": {"input": 2, "output": 2}}', "twice"),
        ('{"a": {"input": 1, "input": 2, "output": 1}}', "twice"),
    ],
)
def test_a_wrong_price_file_says_what_is_wrong(text, fault):
    with pytest.raises(InvalidValue, match=fault):
        prices.parse(text)

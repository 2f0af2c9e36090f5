"""Prices as callers see them: the price file first, then the bundled list, and nothing from the network."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import genai_prices
import pytest
from genai_prices.data import providers
from genai_prices.types import StartDateConstraint, TimeOfDateConstraint

from app.services.decisions.prices import CACHE_SIZE, Prices
from tests.clocks import START

MILLION = 1_000_000
DOLLAR = 1_000_000_000


def cost(prices, model, put_in=MILLION, put_out=0, **more):
    return prices.cost(model, input_tokens=put_in, output_tokens=put_out, **{"now": START} | more)


@pytest.fixture(scope="module")
def listed():
    return Prices(None)


@pytest.mark.parametrize(
    ("model", "same_as"),
    [
        ("openai/gpt-4o", "gpt-4o"),
        ("azure/gpt-4o", "gpt-4o"),
        ("GPT-4o", "gpt-4o"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("anthropic/claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("gemini/gemini-2.0-flash", "gemini-2.0-flash"),
        ("openai/text-embedding-3-small", "text-embedding-3-small"),
    ],
)
def test_a_name_costs_the_same_with_and_without_its_provider(listed, model, same_as):
    assert cost(listed, model) == cost(listed, same_as) > 0


@pytest.mark.parametrize("model", ["groq/llama-3.3-70b-versatile", "mistral/mistral-large-latest", "xai/grok-3"])
def test_a_provider_tells_whose_model_it_is(listed, model):
    assert cost(listed, model) > 0


def test_a_listed_model_costs_what_its_provider_says(listed):
    assert cost(listed, "gpt-4o", 1000, 100) == 3_500_000
    assert cost(listed, "gpt-4o", 1000, 100, cached_input_tokens=1000) == 2_250_000


@pytest.mark.parametrize(
    "model",
    ["", "x", "/", "unknown", "openai/unknown", "unknown/gpt-4o", "ollama/llama3", "groq/whisper-large-v3"],
)
def test_what_has_no_price_by_the_token_has_none(listed, model):
    assert cost(listed, model) is None


def test_every_listed_price_is_computed_as_the_list_itself_does(listed):
    """Tiers, times of day and fees per request included, on both sides of every threshold."""
    compared = 0
    for provider in providers:
        for model in provider.models:
            model_price = model.get_prices(START)
            if model_price.input_mtok is None:
                continue
            name = f"{provider.id}/{model.id}"
            found = listed._found(name)
            if found is None:
                continue
            for put_in, put_out in ((199_999, 1234), (1_048_577, 7)):
                usage = genai_prices.Usage(input_tokens=put_in, output_tokens=put_out)
                expected = found.get_prices(START).calc_price(usage)["total_price"] * DOLLAR
                actual = cost(listed, name, put_in, put_out)
                assert actual == int(expected.quantize(Decimal(1))), name
                compared += 1
    assert compared > 1000


def test_a_price_follows_the_calendar(listed):
    constraints = [
        (provider.id, model.id, price.constraint)
        for provider in providers
        for model in provider.models
        if isinstance(model.prices, list)
        for price in model.prices
    ]
    dated = next(entry for entry in constraints if isinstance(entry[2], StartDateConstraint))
    name, start = f"{dated[0]}/{dated[1]}", datetime.combine(dated[2].start_date, datetime.min.time(), UTC)
    assert cost(listed, name, now=start) != cost(listed, name, now=start - timedelta(microseconds=1))
    assert any(isinstance(constraint, TimeOfDateConstraint) for *_, constraint in constraints)


def test_the_price_file_goes_before_the_list(listed, tmp_path):
    path = tmp_path / "prices.json"
    path.write_text(
        json.dumps(
            {
                "local/*": {"input": 0, "output": 0},
                "*": {"input": 7, "output": 70},
                "gpt-4o": {"input": 1, "output": 2, "cached_input": 0.5},
                "*/big": {"input": 9, "output": 9},
            }
        )
    )
    priced = Prices(path)
    assert cost(priced, "gpt-4o", MILLION, MILLION) == 3 * DOLLAR
    assert cost(priced, "gpt-4o", cached_input_tokens=MILLION) == DOLLAR // 2
    assert cost(priced, "local/big", MILLION, MILLION) == 0
    assert cost(priced, "else/big", MILLION, MILLION) == 77 * DOLLAR
    assert cost(priced, "openai/gpt-4o") == 7 * DOLLAR != cost(listed, "openai/gpt-4o")


def test_a_price_file_without_the_model_leaves_it_to_the_list(listed, tmp_path):
    path = tmp_path / "prices.json"
    path.write_text('{"mine": {"input": 1, "output": 1}}')
    assert cost(Prices(path), "gpt-4o") == cost(listed, "gpt-4o")


def test_names_that_callers_make_up_do_not_pile_up():
    prices = Prices(None)
    for number in range(CACHE_SIZE + 50):
        assert cost(prices, f"nobody/{number}") is None
    assert prices._found.cache_info().currsize == CACHE_SIZE


def test_pricing_starts_no_thread_and_the_list_is_imported_only_when_asked():
    program = (
        "import sys, threading\n"
        "from app.services.decisions.prices import Prices\n"
        "from tests.clocks import START\n"
        "prices = Prices(None)\n"
        "assert 'genai_prices' not in sys.modules\n"
        "assert prices.cost('gpt-4o', input_tokens=1, output_tokens=1, now=START) == 12500\n"
        "assert 'genai_prices' in sys.modules\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)

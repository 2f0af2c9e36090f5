"""What tokens cost, exactly: dollars per million of them as `Decimal`, nano-dollars out, rounded once.

A price file is a JSON object: names of models, or patterns with `*`, and their prices in USD per million tokens.

    {"gpt-4o": {"input": 2.5, "output": 10, "cached_input": 1.25}, "local/*": {"input": 0, "output": 0}}

An exact name goes before patterns, and of these the first in the file that fits. Without `cached_input`, tokens
that were read from a cache cost what all input does.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from app.domain import money
from app.domain.values import InvalidValue

_TOKENS = 1_000_000
_NEEDED = frozenset({"input", "output"})
_POSSIBLE = _NEEDED | {"cached_input"}


@dataclass(frozen=True, slots=True)
class Rate:
    """USD per million tokens; a tier (start, rate) is for all tokens of a call with more input than its start."""

    base: Decimal
    tiers: tuple[tuple[int, Decimal], ...] = ()

    def of(self, input_tokens: int) -> Decimal:
        return next((rate for start, rate in reversed(self.tiers) if input_tokens > start), self.base)


@dataclass(frozen=True, slots=True)
class Price:
    """What a call of one model costs; `request` is USD for the call itself."""

    input: Rate
    output: Rate
    cached_input: Rate | None = None
    request: Decimal = Decimal(0)

    def cost(self, *, input_tokens: int, output_tokens: int, cached_input_tokens: int = 0) -> int:
        """Nano-dollars; the cached tokens are among those of the input. Raises InvalidValue above the ceiling."""
        cached = min(cached_input_tokens, input_tokens)
        cached_rate = self.input if self.cached_input is None else self.cached_input
        tokens = (
            self.input.of(input_tokens) * (input_tokens - cached)
            + cached_rate.of(input_tokens) * cached
            + self.output.of(input_tokens) * output_tokens
        )
        return money.nanos(tokens / _TOKENS + self.request, "cost")


def parse(text: str) -> dict[str, Price]:
    """The prices of a price file, in its order; raises InvalidValue that says which entry is wrong."""
    try:
        found = json.loads(
            text, parse_float=Decimal, parse_constant=_no_number, object_pairs_hook=_without_repeats
        )
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidValue("a price file must hold JSON") from error
    if not isinstance(found, Mapping):
        raise InvalidValue("a price file must hold a JSON object of models")
    return {model: _price(model, entry) for model, entry in found.items()}


def _price(model: str, entry: Any) -> Price:
    if not isinstance(entry, Mapping) or not entry.keys() >= _NEEDED or not entry.keys() <= _POSSIBLE:
        raise InvalidValue(f"the price of '{model}' needs input and output, and may have cached_input")
    rates = {name: _rate(f"{name} of '{model}'", value) for name, value in entry.items()}
    return Price(rates["input"], rates["output"], rates.get("cached_input"))


def _rate(name: str, value: Any) -> Rate:
    dollars = money.decimal(value, name)
    money.nanos(dollars, name)
    return Rate(dollars)


def _no_number(constant: str) -> NoReturn:
    raise InvalidValue(f"{constant} is no price")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InvalidValue("a price file must not name a model, or a price of it, twice")
    return found

"""What a call of a model costs: by the installation's own price file, else by the bundled list of genai-prices.

The list is that of the installed release; nothing is ever fetched. It is imported at the first model that needs
it, since that takes several tenths of a second, which a process that never prices a call need not spend.
"""

from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from app.domain import prices
from app.domain.model_access import fits
from app.domain.prices import Price, Rate

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

# Callers choose the names, so what is kept of them is bounded.
CACHE_SIZE = 4096
_REQUESTS = 1000


class Prices:
    """Raises OSError or InvalidValue for a price file that cannot be read or is wrong."""

    def __init__(self, path: Path | None) -> None:
        self._own = {} if path is None else prices.parse(path.read_text(encoding="utf-8"))
        self._found = lru_cache(CACHE_SIZE)(self._find)

    def cost(
        self,
        model: str,
        *,
        input_tokens: int,
        output_tokens: int,
        now: datetime,
        cached_input_tokens: int = 0,
    ) -> int | None:
        """Nano-dollars of a call made at `now` (some prices follow the calendar), None where no price is known.

        The cached tokens are among those of the input. Raises InvalidValue for a sum above the ceiling of money.
        """
        found = self._found(model)
        price = found if found is None or isinstance(found, Price) else _price(found.get_prices(now))
        if price is None:
            return None
        return price.cost(
            input_tokens=input_tokens, output_tokens=output_tokens, cached_input_tokens=cached_input_tokens
        )

    def _find(self, model: str) -> "Price | ModelInfo | None":
        if model in self._own:
            return self._own[model]
        patterns = (price for pattern, price in self._own.items() if "*" in pattern and fits(pattern, model))
        return next(patterns, None) or _listed(model)


def _listed(model: str) -> "ModelInfo | None":
    """The list's entry for a model, with its provider before a `/` or without."""
    from genai_prices.data import providers  # noqa: PLC0415
    from genai_prices.data_snapshot import DataSnapshot  # noqa: PLC0415

    # A snapshot keeps every name that it was ever asked for, found or not: ours is asked once.
    listed = DataSnapshot(providers=providers, from_auto_update=False)
    for provider in ("litellm", "openai") if "/" not in model else ("litellm",):
        # "litellm" is the list's word for names that may carry their provider; OpenAI's are those that never do.
        try:
            return listed.find_provider_model(model, None, provider, None)[1]
        except LookupError:
            continue
    return None


def _price(listed: "ModelPrice") -> Price | None:
    """What tokens decide of a listed price; None where they decide nothing: by the hour, the page, or not said."""
    entries = vars(listed)
    if entries.get("input_mtok") is None:
        return None
    cached = entries.get("cache_read_mtok")
    return Price(
        input=_rate(entries["input_mtok"]),
        output=_rate(entries.get("output_mtok") or Decimal(0)),
        cached_input=None if cached is None else _rate(cached),
        request=(entries.get("requests_kcount") or Decimal(0)) / _REQUESTS,
    )


def _rate(listed: "Decimal | TieredPrices") -> Rate:
    if isinstance(listed, Decimal):
        return Rate(listed)
    return Rate(listed.base, tuple((tier.start, tier.price) for tier in listed.tiers))

"""What a caller says a call may cost: money, or tokens that a price turns into money, or nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Estimate:
    """`required` refuses a call of which nothing says what it may cost; otherwise a default stands in."""

    cost_nanos: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Amount:
    """What is held for a call: nano-dollars, and tokens against the token rates."""

    nanos: int
    tokens: int


def expected_output_tokens(metadata: Mapping[str, Any], model: str | None) -> int:
    """How many tokens a key's calls put out where the caller does not say; 0 where the key says nothing."""
    per_model = metadata.get("default_estimated_output_tokens_per_model")
    found = per_model.get(model) if isinstance(per_model, Mapping) else None
    if found is None:
        found = metadata.get("default_estimated_output_tokens")
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0

"""What to hold for a call, and what a finished one has cost."""

from datetime import datetime

from app.domain import money, refusals
from app.domain.estimates import Amount, Estimate, expected_output_tokens
from app.domain.refusals import Refused
from app.domain.snapshots import Snapshot
from app.services.access.refusals import rules
from app.services.decisions.prices import Prices


class Estimating:
    """`default_nanos` is held for a call of which nobody says what it may cost."""

    def __init__(self, prices: Prices, *, default_nanos: int) -> None:
        self._prices = prices
        self._default_nanos = default_nanos

    def amount(self, snapshot: Snapshot, model: str | None, estimate: Estimate, now: datetime) -> Amount | Refused:
        """What to hold; raises InvalidRequest where the tokens cost more than money can say."""
        output = estimate.output_tokens
        if output is None:
            output = expected_output_tokens(snapshot.key["metadata"], model)
        tokens = (estimate.input_tokens or 0) + output
        if estimate.cost_nanos is not None:
            return Amount(estimate.cost_nanos, tokens)
        said = estimate.input_tokens is not None or output > 0
        cost = self.cost(model, estimate.input_tokens or 0, output, now) if said else None
        if cost is None and estimate.required:
            return refusals.estimate_required("estimate")
        return Amount(self._default_nanos if cost is None else cost, tokens)

    def cost(self, model: str | None, input_tokens: int, output_tokens: int, at: datetime) -> int | None:
        """Nano-dollars of these tokens by the prices of then, None without one; raises InvalidRequest."""
        if model is None:
            return None
        with rules():
            cost = self._prices.cost(model, input_tokens=input_tokens, output_tokens=output_tokens, now=at)
        return None if cost is None else min(cost, money.MAXIMUM_NANOS)

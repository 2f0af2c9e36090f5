"""Money: integer nano-dollars (1e-9 USD) inside, JSON numbers at the edge, never a sum of floats.

The ceiling keeps every amount, and any sum that Redis compares, exact in a double (2^53): 9,000,000 dollars
are 9e15 nano-dollars.
"""

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

from app.domain.values import InvalidValue

NANOS_PER_DOLLAR = 1_000_000_000
MAXIMUM_DOLLARS = 9_000_000
MAXIMUM_NANOS = MAXIMUM_DOLLARS * NANOS_PER_DOLLAR


def nanos(dollars: Decimal, param: str) -> int:
    """Turn dollars into nano-dollars, rounded to the nearest; raises InvalidValue naming `param`."""
    if not dollars.is_finite() or dollars < 0:
        raise InvalidValue(f"{param} must be a non-negative finite number. Received: {str(dollars)[:64]}", param)
    if dollars > MAXIMUM_DOLLARS:
        raise InvalidValue(
            f"{param} must not be above {MAXIMUM_DOLLARS:,} USD. Received: {str(dollars)[:64]}", param
        )
    return int((dollars * NANOS_PER_DOLLAR).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def decimal(value: object, param: str) -> Decimal:
    """Read a JSON number, or a text that holds one, as dollars; raises InvalidValue naming `param`."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise InvalidValue(f"{param} must be a number", param)
    try:
        # A float's shortest text is what the caller wrote; its binary value is not.
        return Decimal(str(value))
    except InvalidOperation as error:
        raise InvalidValue(f"{param} must be a number", param) from error


def dollars(amount_nanos: int) -> float:
    """Nano-dollars as a JSON number: one division, correctly rounded, for display only."""
    return amount_nanos / NANOS_PER_DOLLAR


def shown(amount_nanos: int | None) -> float | None:
    """As `dollars`; where there is no amount there is none to show."""
    return None if amount_nanos is None else dollars(amount_nanos)

"""Rows as CSV, fit to be opened in a spreadsheet: what callers named can never become a formula there."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

CSV = "text/csv"

# What makes a spreadsheet take the text of a cell for a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows under a header (RFC 4180); a column that a row does not have stays empty."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case float():
            # Without an exponent, which not every reader of money takes.
            return format(Decimal(str(value)), "f")
        case str():
            return _harmless(value)
        case _:
            return _harmless(orjson.dumps(value).decode())


def _harmless(text: str) -> str:
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text

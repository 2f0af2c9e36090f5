"""The header Retry-After: seconds or an instant, and nothing else."""

from datetime import UTC, datetime

import pytest

from app.domain.retry_after import seconds_asked

NOW = datetime(1994, 11, 6, 8, 49, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("999999999", 999999999.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 30.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 30.0),
        ("Sun Nov  6 08:49:37 1994", 30.0),
        ("Sun, 06 Nov 1994 08:49:37 -0000", 30.0),
        ("Sun, 06 Nov 1994 08:49:07 GMT", 0.0),
        ("Sat, 05 Nov 1994 08:49:37 GMT", 0.0),
        *((text, None) for text in ("", "-1", "1.5", "+3", "1e3", "soon", "٣", "9999999999", "inf", "nan")),
        *((f"Sun, {day} 1994 08:49:37 GMT", None) for day in ("99 Nov", "06 Foo")),
        ("Sun, 06 Nov 99999 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 +9999999999", None),
    ],
)
def test_both_forms_are_a_wait_and_anything_else_is_none(text: str, seconds: float | None):
    assert seconds_asked(text, NOW) == seconds

"""Every line of a log is one JSON object, and none holds a key."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETUP = "import logging, structlog; from app import logs; logs.configure('INFO');"


def logged(statement: str) -> list[dict[str, object]]:
    """What a process of its own writes to stderr: logging is global to a process."""
    process = subprocess.run(
        [sys.executable, "-c", SETUP + "\n" + statement], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return [json.loads(line) for line in process.stderr.splitlines()]


def test_our_events_keep_their_fields() -> None:
    (line,) = logged("structlog.get_logger('x').info('keys_expired', count=3)")

    assert (line["event"], line["count"], line["level"], line["logger"]) == ("keys_expired", 3, "info", "x")
    assert str(line["timestamp"]).endswith("Z")


def test_a_library_is_logged_in_the_same_form() -> None:
    (line,) = logged("logging.getLogger('celery').warning('lost %s', 'broker')")

    assert (line["event"], line["level"], line["logger"]) == ("lost broker", "warning", "celery")


def test_what_nobody_caught_is_told_in_the_same_form() -> None:
    (line,) = logged("raise LookupError('in the end')")

    assert (line["event"], line["level"], line["error"]) == ("ended_by_an_error", "critical", "LookupError")
    assert "in the end" in str(line["exception"])


def test_what_is_below_the_level_is_left_out() -> None:
    assert logged("structlog.get_logger('x').debug('quiet'); logging.getLogger('y').debug('quiet')") == []


def test_a_trace_is_cut_where_it_has_gone_on_for_long_enough() -> None:
    raised = "try: raise ValueError('x' * 1_000_000)\nexcept ValueError: logging.getLogger('y').exception('e')"
    (line,) = logged(raised)

    assert "ValueError: xxx" in str(line["exception"])
    assert len(str(line["exception"])) < 30_000


@pytest.mark.parametrize(
    "statement",
    [
        "structlog.get_logger('x').info('sk-abcdefgh12345678')",
        "structlog.get_logger('x').info('e', key='sk-abcdefgh12345678')",
        "structlog.get_logger('x').info('e', keys=[{'k': 'Bearer sk-abcdefgh12345678'}])",
        "logging.getLogger('y').info('made %s', 'sk-abcdefgh12345678')",
        "try: raise ValueError('sk-abcdefgh12345678')\nexcept ValueError: logging.getLogger('y').exception('e')",
    ],
)
def test_a_key_is_masked_wherever_it_stands(statement: str) -> None:
    (line,) = logged(statement)

    assert "abcdefgh12345678" not in json.dumps(line)
    assert "sk-****" in json.dumps(line)

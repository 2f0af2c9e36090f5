"""Logs for tests: of /key/health, and of a call that was made."""

from datetime import UTC, datetime
from typing import Any

from app.domain.standard_payload import Log, probe

NOW = datetime(2026, 11, 18, 13, 47, 33, 123456, tzinfo=UTC)
KEY = {
    "token": "ab" * 32,
    "key_alias": "ci",
    "spend": 0.25,
    "max_budget": 10.0,
    "budget_reset_at": None,
    "team_id": "search",
    "user_id": "bob",
    "organization_id": None,
    "project_id": None,
}
PROBE_ID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
LOG_ID = "0b7a1f6e-54a4-4c8e-9d53-2f6f0c1d2e3f"


def a_probe() -> Log:
    return probe(PROBE_ID, KEY, NOW)


def a_log(log_id: str = LOG_ID, **payload: Any) -> Log:
    """A call of a second and a half that ended at NOW."""
    told = {
        "id": log_id,
        "session_id": "session-1",
        "model": "gpt-4o",
        "startTime": NOW.timestamp() - 1.5,
        "endTime": NOW.timestamp(),
        "response_cost": 0.0125,
        "prompt_tokens": 1200,
        "completion_tokens": 800,
        "total_tokens": 2000,
        "request_tags": ["ci", "nightly"],
        "end_user": "carol",
        "messages": [{"role": "user", "content": "How high is the Säntis?"}],
        "response": {"choices": [{"index": 0, "message": {"role": "assistant", "content": "2502 m"}}]},
        "model_parameters": {"temperature": 0.1},
    }
    return Log(log_id, NOW, {**a_probe().payload, **told, **payload})


def a_failed_log(**payload: Any) -> Log:
    """A call that the provider refused."""
    refused = {"status": "failure", "error_str": "RateLimitError: slow down", "response": None}
    return a_log(**{**refused, **payload})

"""A test log for tests."""

from datetime import UTC, datetime

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


def a_probe() -> Log:
    return probe("7c9e6679-7425-40de-944b-e07fc1f90ae7", KEY, NOW)

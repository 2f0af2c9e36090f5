"""An installation that is given another zone or start of day while its budgets run: calls go on being decided.

A window that runs keeps its end, whoever looks or charges meanwhile; the next one ends by the other calendar.
"""

from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.config import Settings
from app.container import Services, build
from app.dispatch import TaskName
from tests.api.calls import allowed, limit, refused, settle
from tests.apps import app_over
from tests.clients import Api
from tests.clocks import MovableClock

NEW_YORK, TOKYO = {"timezone": ZoneInfo("America/New_York")}, {"timezone": ZoneInfo("Asia/Tokyo")}
AT_SIX = {"budget_reset_time": time(6)}
MIDNIGHT, FIRST = "2026-11-20T00:00:00.000000Z", "2026-12-01T00:00:00.000000Z"


# The hour of the change, and the ends of the running window and of the next one.
@pytest.mark.parametrize(
    ("calendar", "hour", "spelling", "next_reset", "later_reset", "job_runs"),
    [
        (NEW_YORK, 3, "1d", MIDNIGHT, "2026-11-20T05:00:00.000000Z", False),
        (NEW_YORK, 12, "1d", MIDNIGHT, "2026-11-20T05:00:00.000000Z", True),
        (NEW_YORK, 12, "1mo", FIRST, "2026-12-01T05:00:00.000000Z", False),
        (TOKYO, 12, "1d", MIDNIGHT, "2026-11-20T15:00:00.000000Z", False),
        (TOKYO, 23, "1mo", FIRST, "2026-12-31T15:00:00.000000Z", True),
        (AT_SIX, 3, "1d", MIDNIGHT, "2026-11-20T06:00:00.000000Z", True),
        (AT_SIX, 12, "1d", MIDNIGHT, "2026-11-20T06:00:00.000000Z", False),
    ],
)
def test_what_was_spent_counts_on_until_the_running_window_ends_and_the_next_goes_by_the_changed_calendar(
    api: Api,
    services: Services,
    settings: Settings,
    request: pytest.FixtureRequest,
    clock: MovableClock,
    calendar: dict[str, Any],
    hour: int,
    spelling: str,
    next_reset: str,
    later_reset: str,
    job_runs: bool,
):
    key = api.generate(max_budget=2, budget_duration=spelling)["key"]
    clock.set(datetime(2026, 11, 19, hour, tzinfo=UTC))
    settle(api, allowed(api, key), 1.25)
    held = allowed(api, key, cost=0.25)
    if job_runs:
        keep_books(services)

    changed = build(replace(settings, **calendar), clock)
    request.addfinalizer(changed.close)
    later = Api(app_over(changed))
    number = limit(allowed(later, key, cost=0.25), "key")
    assert (number["used"], number["held"]) == (1.25, 0.5), "what is held counts on as well"
    settle(later, held, 0.25)
    settle(later, allowed(later, key, cost=0.25), 0.25)
    over = refused(later, key, cost=0.5)

    info = later.info(key)
    assert limit(over, "key")["used"] == 1.75
    assert (info["spend"], info["budget_reset_at"]) == (1.75, next_reset)
    preview = later.call("GET", "/budget/calendar", query={"key": key, "count": 2}).body
    assert preview["resets"] == [next_reset, later_reset]
    clock.set(datetime.fromisoformat(next_reset))
    if job_runs:
        keep_books(changed)
    assert later.info(key)["spend"] == 0
    assert limit(allowed(later, key), "key")["used"] == 0
    assert later.info(key)["budget_reset_at"] == later_reset
    settle(later, allowed(later, key, cost=0.5), 0.5)
    keep_books(changed)
    assert later.info(key)["spend"] == 0.5
    assert services.ledger_check.check(10).drifts == []


def keep_books(services: Services) -> None:
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    services.jobs.run(TaskName.RESET_BUDGETS, lambda: True)

"""An installation that is given another zone or start of day while its budgets run: calls go on being decided.

For some hours the present window is then one that began before the stored one.
"""

from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.container import Services
from app.dispatch import TaskName
from tests.api.calls import allowed, limit, refused, settle
from tests.clients import Api
from tests.clocks import MovableClock

# Both begin the day of the 19th later than the UTC day, at which the key's window was last moved.
CALENDARS = [
    pytest.param({"timezone": ZoneInfo("America/New_York")}, "2026-11-19T05:00:00.000000Z", id="zone"),
    pytest.param({"budget_reset_time": time(6)}, "2026-11-19T06:00:00.000000Z", id="start-of-day"),
]


@pytest.mark.parametrize("job_runs", [False, True])
@pytest.mark.parametrize(("calendar", "next_reset"), CALENDARS)
def test_what_was_spent_counts_on_in_the_window_of_the_changed_calendar_until_that_one_ends(
    api: Api,
    services: Services,
    serving: Callable[..., Api],
    clock: MovableClock,
    calendar: dict[str, Any],
    next_reset: str,
    job_runs: bool,
):
    key = api.generate(max_budget=2, budget_duration="1d")["key"]
    clock.set(datetime(2026, 11, 19, 3, tzinfo=UTC))
    settle(api, allowed(api, key), 1.5)
    if job_runs:
        services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
        services.jobs.run(TaskName.RESET_BUDGETS, lambda: True)

    later = serving(**calendar)
    number = limit(allowed(later, key, cost=0.25), "key")
    settle(later, allowed(later, key, cost=0.25), 0.25)
    over = refused(later, key, cost=0.5)

    info = later.info(key)
    assert (number["used"], limit(over, "key")["used"]) == (1.5, 1.75)
    assert (info["spend"], info["budget_reset_at"]) == (1.75, next_reset)
    clock.set(datetime.fromisoformat(next_reset))
    assert later.info(key)["spend"] == 0
    assert limit(allowed(later, key), "key")["used"] == 0
    services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)
    assert services.ledger_check.check(10).drifts == []

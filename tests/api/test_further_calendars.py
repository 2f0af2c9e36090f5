"""Several windows at once on a key or a team, each with a start of day and a zone of its own, and their resets."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from app.container import Services
from tests.api.calls import allowed, refused, settle
from tests.clients import Answer, Api
from tests.clocks import MovableClock
from tests.factories import everything, on_one_store

TOKYO = {
    "budget_duration": "1d",
    "budget_start_time": "06:00",
    "budget_timezone": "Asia/Tokyo",
    "max_budget": 1,
}
HERE = {"budget_duration": "1d", "max_budget": 2}
# The clock stands at 13:47:33 UTC; six in Tokyo is 21:00 UTC.
SIX_IN_TOKYO, MIDNIGHT = "2026-11-18T21:00:00.000000Z", "2026-11-19T00:00:00.000000Z"


class Holder(NamedTuple):
    """How one is made with windows, changed, and asked for; the scope of its windows, and its name to the calendar."""

    make: Callable[[Api, list[dict[str, Any]]], Answer]
    change: Callable[[Api, str, list[dict[str, Any]]], Answer]
    read: Callable[[Api, str], dict[str, Any]]
    scope: str
    named: Callable[[str], dict[str, str]]


def _team(api: Api, windows: list[dict[str, Any]]) -> Answer:
    made = api.post("/team/new", {"team_id": "t", "budget_limits": windows})
    return api.post("/key/generate", {"team_id": "t"}) if made.status == 200 else made


HOLDERS = {
    "key": Holder(
        lambda api, windows: api.post("/key/generate", {"budget_limits": windows}),
        lambda api, key, windows: api.post("/key/update", {"key": key, "budget_limits": windows}),
        lambda api, key: api.info(key),
        "key_window",
        lambda key: {"key": key},
    ),
    "team": Holder(
        _team,
        lambda api, _, windows: api.post("/team/update", {"team_id": "t", "budget_limits": windows}),
        lambda api, _: api.get("/team/info", team_id="t").body["team_info"],
        "team_window",
        lambda _: {"team_id": "t"},
    ),
}
every_holder = pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)


def made(api: Api, holder: Holder, *windows: dict[str, Any]) -> str:
    """The key that counts in these windows."""
    answer = holder.make(api, list(windows))
    assert answer.status == 200, answer
    key: str = answer.body["key"]
    return key


@every_holder
def test_one_length_stands_in_two_zones_and_each_window_resets_at_its_own_hour(
    api: Api, clock: MovableClock, holder: Holder
):
    key = made(api, holder, TOKYO, HERE)
    assert holder.read(api, key)["budget_limits"] == [
        {**TOKYO, "reset_at": SIX_IN_TOKYO},
        {**HERE, "reset_at": MIDNIGHT},
    ]
    settle(api, allowed(api, key), 1)

    found = refused(api, key, cost=0)

    assert [(entry["scope"], entry["resets_at"]) for entry in found["limits"]] == [
        (holder.scope, SIX_IN_TOKYO),
        (holder.scope, MIDNIGHT),
    ]
    clock.advance(found["retry_after"] - 1)
    refused(api, key, cost=0)
    clock.advance(1)
    shown = [(entry["sub"], entry["used"]) for entry in allowed(api, key, cost=0)["limits"]]
    assert shown == [("1d 06:00 Asia/Tokyo", 0), ("1d", 1)]


@every_holder
@on_one_store
def test_the_same_window_goes_on_and_one_in_another_zone_starts_at_zero(api: Api, holder: Holder):
    key = made(api, holder, TOKYO, HERE)
    settle(api, allowed(api, key), 1)

    same = holder.change(api, key, [{**TOKYO, "max_budget": 3}, HERE])
    assert same.status == 200, same
    assert [entry["used"] for entry in allowed(api, key, cost=0)["limits"]] == [1, 1]
    holder.change(api, key, [{**TOKYO, "budget_timezone": "Asia/Seoul"}, HERE])

    assert [entry["used"] for entry in allowed(api, key, cost=0)["limits"]] == [0, 1]


@every_holder
@on_one_store
@pytest.mark.parametrize(
    "windows",
    [
        [TOKYO, {**TOKYO, "max_budget": 5}],
        [{**TOKYO, "budget_timezone": "Mars/Base"}],
        [{**TOKYO, "budget_timezone": "../../etc/passwd"}],
        [{**TOKYO, "budget_start_time": "25:00"}],
        [{**TOKYO, "budget_duration": None}],
        [{**TOKYO, "budget_duration": "1d UTC"}],
    ],
)
def test_windows_that_cannot_be_are_refused_and_change_nothing(
    api: Api, services: Services, holder: Holder, windows: list[dict[str, Any]]
):
    before = everything(services.database)

    answer = holder.make(api, windows)

    assert answer.summary == (400, "invalid_request_error", "budget_limits")
    assert everything(services.database) == before


@every_holder
def test_the_shown_reset_is_the_clocks_with_every_job_stopped(api: Api, clock: MovableClock, holder: Holder):
    lengths = ["5h", "2d", "1mo", "2mo"]
    key = made(api, holder, *({"budget_duration": length, "max_budget": 9} for length in lengths), TOKYO)

    for days in (0, 1, 45, 200):
        clock.advance(timedelta(days=days, hours=7))
        shown = [entry["reset_at"] for entry in holder.read(api, key)["budget_limits"]]
        assert shown == [entry["resets_at"] for entry in allowed(api, key, cost=0)["limits"]]
        calendar = api.call("GET", "/budget/calendar", query={**holder.named(key), "count": 3}).body
        assert [entry["resets"][0] for entry in calendar["budget_limits"]] == shown


@on_one_store
def test_the_calendar_of_a_key_previews_each_of_its_windows_beside_its_own(api: Api):
    key = api.generate(budget_duration="30d", budget_limits=[{"budget_duration": "5h", "max_budget": 1}, TOKYO])[
        "key"
    ]

    found = api.call("GET", "/budget/calendar", query={"key": key, "count": 2}).body

    assert found["resets"] == ["2026-12-01T00:00:00.000000Z", "2027-01-01T00:00:00.000000Z"]
    assert found["budget_limits"] == [
        {
            "budget_duration": "5h",
            "budget_start_time": "00:00:00",
            "budget_timezone": "UTC",
            "budget_rollover": False,
            "window": {"start": "2026-11-18T10:00:00.000000Z", "end": "2026-11-18T15:00:00.000000Z"},
            "resets": ["2026-11-18T15:00:00.000000Z", "2026-11-18T20:00:00.000000Z"],
        },
        {
            "budget_duration": "1d",
            "budget_start_time": "06:00",
            "budget_timezone": "Asia/Tokyo",
            "budget_rollover": False,
            "window": {"start": "2026-11-17T21:00:00.000000Z", "end": SIX_IN_TOKYO},
            "resets": [SIX_IN_TOKYO, "2026-11-19T21:00:00.000000Z"],
        },
    ]

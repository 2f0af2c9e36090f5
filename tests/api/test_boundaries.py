"""With every worker stopped, each window ends at its instant for every reader; the jobs then only write that down.

One world goes through the boundaries of all its windows twice: with all jobs run at each look, and from the same
state again with none at all, until in the end they come back.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from app.clock import iso
from app.container import Services
from app.dispatch import TaskName
from tests.api.calls import MODEL, allowed, settle
from tests.clients import Api
from tests.clocks import START, MovableClock
from tests.factories import JOBS, everything
from tests.servers import RedisServer
from tests.services.due import Stored, restore

KEY, TIERED = "sk-of-every-window-0123456789", "sk-of-the-tier-0123456789"
MICROSECOND = timedelta(microseconds=1)
# When both keys were charged, and how much.
CHARGES = ((START, 3), (START + timedelta(hours=8), 1))


def day(number: int, month: int = 11, year: int = 2026) -> datetime:
    return datetime(year, month, number, tzinfo=UTC)


class Windows(NamedTuple):
    """A spelling, the start of the window around START, and the length of all or else the starts that follow."""

    spelling: str
    start: datetime
    length: timedelta | None = None
    following: tuple[datetime, ...] = ()

    def around(self, at: datetime) -> tuple[datetime, datetime]:
        if self.length is not None:
            start = self.start + (at - self.start) // self.length * self.length
            return start, start + self.length
        return next((start, end) for start, end in pairwise((self.start, *self.following)) if start <= at < end)

    def spent(self, at: datetime) -> int:
        """What the window around that instant holds at it."""
        start, _ = self.around(at)
        return sum(amount for when, amount in CHARGES if start <= when <= at)


# Each ends first at an instant of its own: minutes, hours, days, weeks, months after START.
WINDOWS = {
    "key": Windows("1d", day(18), timedelta(days=1)),
    "key_model": Windows("6h", day(18) + timedelta(hours=12), timedelta(hours=6)),
    "key_window": Windows("1h", day(18) + timedelta(hours=13), timedelta(hours=1)),
    "tier": Windows("2d", day(18), timedelta(days=2)),
    "tier's model": Windows("36h", day(18), timedelta(hours=36)),
    "team": Windows("7d", day(16), timedelta(days=7)),
    "team_model": Windows("90s", START.replace(second=0), timedelta(seconds=90)),
    "team_window": Windows("25m", START.replace(minute=25, second=0), timedelta(minutes=25)),
    "member": Windows("3d", day(18), timedelta(days=3)),
    "user": Windows("30d", day(1), following=(day(1, 12), day(1, 1, 2027), day(1, 2, 2027))),
    "user_model": Windows("4d", day(18), timedelta(days=4)),
    "organization": Windows("3mo", day(1, 10), following=(day(1, 1, 2027), day(1, 4, 2027))),
}
BOUNDARIES = sorted(windows.around(START)[1] for windows in WINDOWS.values())

# What is seen of a window: how much it holds, None where that is not shown there, and when it ends.
Seen = dict[tuple[str, str], tuple[float | None, str]]


@pytest.fixture
def token(api: Api) -> str:
    """A key with a window of every kind, and one that has its windows from its tier; the first one's digest."""

    def of_model(name: str) -> dict[str, Any]:
        return {MODEL: {"budget_limit": 80, "time_period": WINDOWS[name].spelling}}

    def further(name: str) -> list[dict[str, Any]]:
        return [{"budget_duration": WINDOWS[name].spelling, "max_budget": 80}]

    def capped(name: str) -> dict[str, Any]:
        return {"max_budget": 80, "budget_duration": WINDOWS[name].spelling}

    for path, body in (
        ("/organization/new", {"organization_id": "o", "organization_alias": "o", **capped("organization")}),
        (
            "/user/new",
            {
                "user_id": "u",
                "auto_create_key": False,
                "model_max_budget": of_model("user_model"),
                **capped("user"),
            },
        ),
        (
            "/team/new",
            {
                "team_id": "t",
                "organization_id": "o",
                "model_max_budget": of_model("team_model"),
                "budget_limits": further("team_window"),
                "team_member_budget": 80,
                "team_member_budget_duration": WINDOWS["member"].spelling,
                "members_with_roles": [{"role": "user", "user_id": "u"}],
                **capped("team"),
            },
        ),
        ("/budget/new", {"budget_id": "b", "model_max_budget": of_model("tier's model"), **capped("tier")}),
    ):
        answer = api.post(path, body)
        assert answer.status == 200, answer
    made = api.generate(
        key=KEY,
        team_id="t",
        user_id="u",
        model_max_budget=of_model("key_model"),
        budget_limits=further("key_window"),
        **capped("key"),
    )
    api.generate(key=TIERED, key_alias="tiered", budget_id="b")
    charge(api, CHARGES[0][1])
    token: str = made["token"]
    return token


def charge(api: Api, cost: int) -> None:
    for key in (KEY, TIERED):
        settle(api, allowed(api, key, cost, request_id=f"call of {cost}"), cost)


def run(services: Services, *jobs: TaskName) -> None:
    for job in jobs:
        services.jobs.run(job, lambda: True)


# --- what is seen --------------------------------------------------------------------------------------------------


def seen(api: Api, token: str) -> Seen:
    """Every window as every surface shows it."""
    return {
        (surface, name): shown
        for surface, found in (
            ("verify", decided(lambda key: allowed(api, key, 0))),
            ("explain", decided(lambda key: explained(api, key))),
            ("info", dict(informed(api, token))),
            ("list", dict(listed(api))),
        )
        for name, shown in found.items()
    }


def expected(at: datetime) -> Seen:
    """The same, by the clock alone."""
    found: Seen = {}
    for name, windows in WINDOWS.items():
        of_model, further = name.endswith("model"), name.endswith("window")
        spent, end = windows.spent(at), iso(windows.around(at)[1])
        found |= {(surface, name): (spent, end) for surface in ("verify", "explain")}
        if not of_model:  # no list and no info tells of a budget for one model when it ends
            found |= {(surface, name): (None if further else spent, end) for surface in ("info", "list")}
    return found


def decided(ask: Callable[[str], dict[str, Any]]) -> dict[str, tuple[float, str]]:
    found = {limit["scope"]: (limit["used"], limit["resets_at"]) for limit in ask(KEY)["limits"]}
    of_tier = {limit["scope"]: (limit["used"], limit["resets_at"]) for limit in ask(TIERED)["limits"]}
    return found | {"tier": of_tier.pop("key"), "tier's model": of_tier.pop("key_model")} | of_tier


def explained(api: Api, key: str) -> dict[str, Any]:
    """The limits of an explanation; its rules must tell the same."""
    found: dict[str, Any] = api.post("/key/explain", {"key": key, "model": MODEL, "estimate": {"cost": 0}}).body
    of_rules = [rule["inputs"] for rule in found["rules"] if rule["rule"] == "budget"]
    for limit, inputs in zip(found["limits"], of_rules, strict=True):
        assert {name: limit[name] for name in ("scope", "sub", "used", "resets_at")}.items() <= inputs.items()
    return found


def informed(api: Api, token: str) -> Iterator[tuple[str, tuple[float | None, str]]]:
    team = api.get("/team/info", team_id="t").body
    yield from of_key(api.info(token))
    yield from of_team(team["team_info"])
    yield "tier", told(api.info(TIERED))
    yield "member", told(*team["team_memberships"])
    yield "user", told(api.get("/user/info", user_id="u").body["user_info"])
    yield "organization", told(api.get("/organization/info", organization_id="o").body)


def listed(api: Api) -> Iterator[tuple[str, tuple[float | None, str]]]:
    (team,) = api.get("/team/list").body
    (paged,) = api.get("/v2/team/list").body["teams"]
    assert told(team) == told(paged)
    by_alias = {key["key_alias"]: key for key in api.get("/key/list", return_full_object="true").body["keys"]}
    yield from of_key(by_alias[None])
    yield from of_team(team)
    yield "tier", told(by_alias["tiered"])
    yield "member", told(*team["team_memberships"])
    yield "user", told(*api.get("/user/list").body["users"])
    yield "organization", told(*api.get("/organization/list").body)


def of_key(key: dict[str, Any]) -> Iterator[tuple[str, tuple[float | None, str]]]:
    yield "key", told(key)
    yield "key_window", further_of(key)


def of_team(team: dict[str, Any]) -> Iterator[tuple[str, tuple[float | None, str]]]:
    yield "team", told(team)
    yield "team_window", further_of(team)


def told(entity: dict[str, Any]) -> tuple[float, str]:
    return entity["spend"], entity["budget_reset_at"]


def further_of(entity: dict[str, Any]) -> tuple[None, str]:
    (window,) = entity["budget_limits"]
    return None, iso(datetime.fromisoformat(window["reset_at"]))


# --- through the boundaries ----------------------------------------------------------------------------------------


def walk(api: Api, clock: MovableClock, at_each: Callable[[datetime], None]) -> None:
    """Go to a microsecond before each boundary, and to it, charging on the way."""
    charges = list(CHARGES[1:])
    for boundary in BOUNDARIES:
        while charges and charges[0][0] < boundary:
            when, amount = charges.pop(0)
            clock.set(when)
            charge(api, amount)
        for instant in (boundary - MICROSECOND, boundary):
            clock.set(instant)
            at_each(instant)


def state(stored: Stored) -> Stored:
    """All that is stored, but for when the jobs ran and what they tell of their batches.

    Where several windows have passed at once, nothing was spent in the one before: none is kept, or an empty one.
    """
    left = {name: table for name, table in stored.items() if name not in {"job_runs", "events"}}
    left["audit"] = [row for row in stored["audit"] if row["action"] != "reset"]
    left["ledger"] = [{**row, "ledger_id": None} for row in stored["ledger"]]
    left["budget_state"] = [
        row if row["previous_spend_nanos"] else {**row, "previous_start": None, "previous_end": None}
        for row in stored["budget_state"]
    ]
    told = [row for row in stored["events"] if row["kind"] not in {"budget_reset", "job_silent"}]
    left["told"] = sorted(
        ({"kind": row["kind"], "of": row["entity_id"], "what": row["payload"]} for row in told), key=repr
    )
    return left


def test_without_workers_every_window_ends_at_its_instant_and_when_they_return_nothing_was_missed(
    api: Api, services: Services, clock: MovableClock, redis_server: RedisServer, token: str
):
    def look(instant: datetime) -> None:
        assert seen(api, token) == expected(instant), instant

    assert len(BOUNDARIES) == len(set(BOUNDARIES)) == len(WINDOWS)
    look(START)
    at_first = everything(services.database)
    walk(api, clock, lambda _: run(services, TaskName.FOLD_LEDGER, TaskName.RESET_BUDGETS))
    run(services, *JOBS)
    with_jobs = everything(services.database)
    look(clock.now())

    restore(services.database, at_first)
    redis_server.clear()
    clock.set(START)
    walk(api, clock, look)
    left = everything(services.database)
    run(services, *JOBS)

    assert state(left) != state(with_jobs), "somebody has run the jobs"
    assert state(everything(services.database)) == state(with_jobs)
    look(clock.now())
    assert services.ledger_check.check(10).drifts == []

"""Whatever comes in whatever order, a window begins with what those before it spent beyond their caps."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.clock import iso
from app.container import Services
from app.dispatch import TaskName
from tests.clients import Api
from tests.clocks import MovableClock

HOUR = timedelta(hours=1)
HOURLY = {"budget_duration": "1h", "budget_rollover": True}


@dataclass
class Book:
    """The ledger of one account as somebody would keep it who sums up window after window."""

    armed_at: datetime
    cap: int
    charges: list[tuple[datetime, int]] = field(default_factory=list)
    caps: list[tuple[datetime, int]] = field(default_factory=list)

    def spent(self, now: datetime) -> int:
        start = _hour(self.armed_at)
        carried = 0
        while True:
            used = carried + sum(amount for at, amount in self.charges if start <= at < start + HOUR)
            if now < start + HOUR:
                return used
            cap = self.cap
            for at, changed in self.caps:
                if at < start + HOUR:
                    cap = changed
            carried, start = max(0, used - cap), start + HOUR


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


@dataclass
class Played:
    """A key and its team, both of which roll over; each step is one that somebody takes in real life."""

    api: Api
    services: Services
    clock: MovableClock

    def __post_init__(self) -> None:
        self.team_id = str(uuid.uuid4())
        now = self.clock.now()
        made = self.api.post("/team/new", {"team_id": self.team_id, "max_budget": 9, **HOURLY})
        assert made.status == 200, made
        answer = self.api.generate(team_id=self.team_id, max_budget=5, **HOURLY)
        self.key, self.key_id = answer["key"], answer["key_id"]
        self.books = {"key": Book(now, 5), "team": Book(now, 9)}

    def charge(self, amount: int, age: timedelta) -> None:
        now = self.clock.now()
        at = max(now - age, self.books["key"].armed_at)
        sent = {"key": self.key, "request_id": str(uuid.uuid4()), "cost": amount, "occurred_at": iso(at)}
        assert self.api.post("/key/settle", sent).status == 200
        for book in self.books.values():
            book.charges.append((at, amount))

    def pass_on(self, by: timedelta) -> None:
        self.clock.advance(by)

    def fold(self) -> None:
        self.services.jobs.run(TaskName.FOLD_LEDGER, lambda: True)

    def reset(self) -> None:
        self.services.jobs.run(TaskName.RESET_BUDGETS, lambda: True)

    def cap(self, of: str, cap: int) -> None:
        named = {"key": self.key} if of == "key" else {"team_id": self.team_id}
        assert self.api.post(f"/{of}/update", {**named, "max_budget": cap}).status == 200
        self.books[of].caps.append((self.clock.now(), cap))

    def rename(self) -> None:
        """A change that is none of the budget."""
        assert self.api.post("/key/update", {"key": self.key, "tags": [str(uuid.uuid4())]}).status == 200

    def check(self) -> None:
        now = self.clock.now()
        key, team = (self.books[of].spent(now) for of in ("key", "team"))
        assert self.api.info(self.key)["spend"] == key
        info = self.api.get("/team/info", team_id=self.team_id).body
        assert info["team_info"]["spend"] == team
        assert [shown["spend"] for shown in info["keys"]] == [key]

    def decide(self) -> None:
        """A verify says the same, and holds what it allows."""
        now = self.clock.now()
        asked = {"key": self.key, "estimate": {"cost": 1}}
        used = {
            of: (book.spent(now), book.caps[-1][1] if book.caps else book.cap) for of, book in self.books.items()
        }
        fits = all(spent < cap and spent + 1 <= cap for spent, cap in used.values())
        explained = self.api.post("/key/explain", asked).body
        assert explained["allowed"] is fits
        found = self.api.post("/key/verify", asked).body
        assert found["allowed"] is fits, (used, found)
        if fits:
            assert self.api.post("/key/release", {"reservation_id": found["reservation_id"]}).status == 200


steps = st.one_of(
    st.builds(
        lambda amount, age: ("charge", amount, timedelta(minutes=age)), st.integers(1, 8), st.integers(0, 300)
    ),
    st.builds(lambda amount: ("charge", amount, timedelta(0)), st.integers(1, 8)),
    st.builds(lambda minutes: ("pass_on", timedelta(minutes=minutes)), st.integers(10, 200)),
    st.builds(lambda of, cap: ("cap", of, cap), st.sampled_from(["key", "team"]), st.integers(0, 9)),
    st.sampled_from([("fold",), ("reset",), ("rename",), ("decide",)]),
)


# Shrinking takes a new key and many calls for each try: the steps of a failure are few enough as they are.
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(played=st.lists(steps, min_size=6, max_size=18))
def test_in_any_order_every_surface_shows_what_the_windows_before_leave(
    api: Api, services: Services, clock: MovableClock, played: list[tuple[Any, ...]]
):
    of_one = Played(api, services, clock)

    for name, *arguments in played:
        getattr(of_one, name)(*arguments)
        of_one.check()

    of_one.decide()
    for finish in ("fold", "reset", "fold"):
        getattr(of_one, finish)()
        of_one.check()
    assert services.ledger_check.check(10).drifts == []

"""Whatever comes in whatever order, a window begins with what those before it spent beyond their caps."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from threading import Barrier, Thread
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from app.clock import iso
from app.container import Services
from app.dispatch import TaskName
from app.domain.scopes import Scope, ScopeKind
from app.domain.thresholds import CrossingKind
from app.domain.windows import Calendar
from app.models import budget_state, events, rolled_windows
from app.services.accounts import late_charges, spends
from app.services.accounts.rollover import KEPT
from tests.api.calls import allowed, limit, refused, settle, spent, verify
from tests.api.counting import statements
from tests.api.identities import without_redis
from tests.apps import app_over
from tests.clients import Answer, Api
from tests.clocks import MovableClock
from tests.factories import NANOS, on_one_store, rows

HOUR = timedelta(hours=1)
_MOST_OUTAGES = 100
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


# Shrinking takes a new key and many calls for each try: the steps of a failure are few enough as they are. Other
# steps in each run; those of a failure are printed.
@settings(
    max_examples=8,
    deadline=None,
    derandomize=False,
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
    assert api.info(of_one.key)["spend"] == of_one.books["key"].spent(clock.now())
    for finish in ("fold", "reset", "fold"):
        getattr(of_one, finish)()
        of_one.check()
    assert services.ledger_check.check(10).drifts == []


# --- who changes a cap, and who looks ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Holder:
    """Something with a cap of 5 and hours that roll over, whose cap is changed, and whose spend is shown."""

    make: Callable[[Api], str]
    cap: Callable[[Api, str, int | None], Answer]
    spend: Callable[[Api, str], float]


def _key_of_tier(api: Api) -> str:
    api.post("/budget/new", {"budget_id": "tier", "max_budget": 5, **HOURLY})
    return str(api.generate(budget_id="tier")["key"])


def _key_with_own_hours(api: Api) -> str:
    api.post("/budget/new", {"budget_id": "tier", "max_budget": 5})
    return str(api.generate(budget_id="tier", **HOURLY)["key"])


def _in_team(api: Api, **limits: Any) -> str:
    member = [{"role": "user", "user_id": "m"}]
    assert api.post("/team/new", {"team_id": "t", "members_with_roles": member, **limits}).status == 200
    return str(api.generate(team_id="t", user_id="m")["key"])


def _member(api: Api) -> str:
    key = _in_team(api)
    limits = {"max_budget_in_team": 5, **HOURLY}
    assert api.post("/team/member_update", {"team_id": "t", "user_id": "m", **limits}).status == 200
    return key


def _in_organization(api: Api) -> str:
    sent = {"organization_id": "o", "organization_alias": "o", "max_budget": 5, **HOURLY}
    assert api.post("/organization/new", sent).status == 200
    return str(api.generate(organization_id="o")["key"])


def _of_user(api: Api) -> str:
    assert (
        api.post("/user/new", {"user_id": "u", "auto_create_key": False, "max_budget": 5, **HOURLY}).status == 200
    )
    return str(api.generate(user_id="u")["key"])


def _member_spend(api: Api, _key: str) -> float:
    memberships = api.get("/team/info", team_id="t").body["team_memberships"]
    return float(next(each["spend"] for each in memberships if each["user_id"] == "m"))


HOLDERS = {
    "key": Holder(
        lambda api: str(api.generate(max_budget=5, **HOURLY)["key"]),
        lambda api, key, cap: api.post("/key/update", {"key": key, "max_budget": cap}),
        lambda api, key: float(api.info(key)["spend"]),
    ),
    "tier": Holder(
        _key_of_tier,
        lambda api, _, cap: api.post("/budget/update", {"budget_id": "tier", "max_budget": cap}),
        lambda api, key: float(api.info(key)["spend"]),
    ),
    "tier of a key with hours of its own": Holder(
        _key_with_own_hours,
        lambda api, _, cap: api.post("/budget/update", {"budget_id": "tier", "max_budget": cap}),
        lambda api, key: float(api.info(key)["spend"]),
    ),
    "team": Holder(
        lambda api: _in_team(api, max_budget=5, **HOURLY),
        lambda api, _, cap: api.post("/team/update", {"team_id": "t", "max_budget": cap}),
        lambda api, _: float(api.get("/team/info", team_id="t").body["team_info"]["spend"]),
    ),
    "member": Holder(
        _member,
        lambda api, _, cap: api.post(
            "/team/member_update", {"team_id": "t", "user_id": "m", "max_budget_in_team": cap}
        ),
        _member_spend,
    ),
    "user": Holder(
        _of_user,
        lambda api, _, cap: api.post("/user/update", {"user_id": "u", "max_budget": cap}),
        lambda api, _: float(api.get("/user/info", user_id="u").body["user_info"]["spend"]),
    ),
    "organization": Holder(
        _in_organization,
        lambda api, _, cap: api.call(
            "PATCH", "/organization/update", json={"organization_id": "o", "max_budget": cap}
        ),
        lambda api, _: float(api.get("/organization/info", organization_id="o").body["spend"]),
    ),
}
each_holder = pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)


@each_holder
def test_a_changed_cap_counts_from_the_window_in_which_it_is_changed(
    api: Api, services: Services, clock: MovableClock, holder: Holder
) -> None:
    key = holder.make(api)
    spent(api, key, 12)
    assert holder.spend(api, key) == 12
    clock.advance(HOUR)
    assert holder.spend(api, key) == 7

    assert holder.cap(api, key, 1).status == 200

    assert holder.spend(api, key) == 7
    clock.advance(2 * HOUR)
    assert holder.spend(api, key) == 5
    run(services, TaskName.FOLD_LEDGER)
    assert holder.spend(api, key) == 5
    run(services, TaskName.RESET_BUDGETS)
    assert holder.spend(api, key) == 5
    assert services.ledger_check.check(10).drifts == []


@each_holder
@on_one_store
def test_without_a_cap_nothing_is_carried_on(api: Api, clock: MovableClock, holder: Holder) -> None:
    key = holder.make(api)
    spent(api, key, 12)
    clock.advance(HOUR)

    assert holder.cap(api, key, None).status == 200

    assert holder.spend(api, key) == 7
    clock.advance(HOUR)
    assert holder.spend(api, key) == 0


@each_holder
@on_one_store
def test_a_new_cap_carries_nothing_on_of_a_window_that_had_none(
    api: Api, clock: MovableClock, holder: Holder
) -> None:
    key = holder.make(api)
    holder.cap(api, key, None)
    spent(api, key, 12)
    clock.advance(HOUR)
    assert holder.spend(api, key) == 0

    assert holder.cap(api, key, 5).status == 200

    assert holder.spend(api, key) == 0
    clock.advance(HOUR)
    assert holder.spend(api, key) == 0


def test_a_key_is_refused_by_what_it_carries_and_let_in_a_window_later(
    api: Api, services: Services, clock: MovableClock
) -> None:
    key = api.generate(max_budget=5, **HOURLY)["key"]
    spent(api, key, 12)
    run(services, TaskName.FOLD_LEDGER)
    clock.advance(HOUR)

    assert limit(refused(api, key, 1), "key")["used"] == 7
    clock.advance(HOUR)
    found = allowed(api, key, 3)
    assert limit(found, "key")["used"] == 2
    assert not verify(api, key, 1)["allowed"], "it is held already"


@on_one_store
def test_a_call_that_comes_late_after_its_cap_was_lowered_counts_by_the_present_one(
    api: Api, clock: MovableClock
) -> None:
    key = api.generate(max_budget=10, **HOURLY)["key"]
    held = allowed(api, key, 1)
    spent(api, key, 20)
    clock.advance(HOUR)
    assert api.post("/key/update", {"key": key, "max_budget": 5}).status == 200
    clock.advance(HOUR)
    assert limit(refused(api, key, 1), "key")["used"] == 5

    settle(api, held, 1)

    assert limit(refused(api, key, 1), "key")["used"] == 6
    assert api.info(key)["spend"] == 6


def test_a_late_charge_that_redis_was_not_told_of_is_carried_on_by_its_fold(
    api: Api, services: Services, clock: MovableClock
) -> None:
    key = api.generate(max_budget=8, **HOURLY)["key"]
    spent(api, key, 6)
    held = allowed(api, key, 2)
    clock.advance(HOUR)
    allowed(api, key, 1)
    with without_redis(services.settings, clock) as cut_off:
        settle(cut_off, held, 6)

    run(services, TaskName.FOLD_LEDGER)

    assert api.info(key)["spend"] == 4
    refused(api, key, 4)
    allowed(api, key, 3)


def test_a_temporary_increase_is_an_advance(api: Api, clock: MovableClock) -> None:
    key = api.generate(max_budget=5, **HOURLY)["key"]
    expiry = iso(clock.now() + timedelta(minutes=5))
    sent = {"key": key, "temp_budget_increase": 10, "temp_budget_expiry": expiry}
    assert api.post("/key/update", sent).status == 200
    settle(api, allowed(api, key, 12), 12)

    clock.advance(HOUR)

    assert api.info(key)["spend"] == 7


def test_a_window_that_opens_beyond_its_thresholds_tells_of_them_once(
    api: Api, services: Services, clock: MovableClock
) -> None:
    key = api.generate(max_budget=5, soft_budget=4, **HOURLY)
    spent(api, key["key"], 9)
    for _ in range(2):
        run(services, TaskName.FOLD_LEDGER)
        run(services, TaskName.WATCH_BUDGETS)
    told = {row["fact"] for row in _crossed(services)}
    clock.advance(HOUR)

    for _ in range(2):
        run(services, TaskName.RESET_BUDGETS)
        run(services, TaskName.WATCH_BUDGETS)

    opened = [row for row in _crossed(services) if row["fact"] not in told]
    # Four dollars of five: the soft budget, and four fifths of the hard one.
    assert "soft_budget_crossed" in {row["kind"] for row in opened}
    assert {row["entity_id"] for row in opened} == {key["key_id"]}
    assert len({row["fact"] for row in opened}) == len(opened)
    assert len(told) > 0


def _crossed(services: Services) -> list[dict[str, Any]]:
    kinds = {kind.value for kind in CrossingKind}
    return [row for row in rows(services.database, events) if row["kind"] in kinds]


def test_another_window_takes_what_was_carried_along(api: Api, clock: MovableClock) -> None:
    key = api.generate(max_budget=5, **HOURLY)["key"]
    spent(api, key, 12)
    clock.advance(HOUR)

    assert api.post("/key/update", {"key": key, "budget_duration": "1d"}).status == 200

    assert api.info(key)["spend"] == 7


def test_a_window_that_is_no_longer_to_roll_over_begins_at_zero(api: Api, clock: MovableClock) -> None:
    key = api.generate(max_budget=5, **HOURLY)["key"]
    spent(api, key, 12)
    clock.advance(HOUR)
    assert api.post("/key/update", {"key": key, "budget_rollover": False}).status == 200
    assert api.info(key)["spend"] == 7

    clock.advance(HOUR)

    assert api.info(key)["spend"] == 0


def test_what_no_charge_can_come_to_any_more_is_let_go(api: Api, services: Services, clock: MovableClock) -> None:
    key = api.generate(max_budget=1, **HOURLY)["key"]
    for number in range(3):
        spent(api, key, 5 + number)
        run(services, TaskName.FOLD_LEDGER)
        clock.advance(HOUR)
        run(services, TaskName.RESET_BUDGETS)
    assert kept(services) == 3
    carried = api.info(key)["spend"]
    clock.advance(KEPT + HOUR)

    assert api.info(key)["spend"] == 0
    run(services, TaskName.RESET_BUDGETS)

    assert carried == 15
    # The window that was just left, and the one before it: of what came after that it says the cap.
    assert kept(services) == 2
    assert services.ledger_check.check(10).drifts == []


def test_a_key_that_is_deleted_takes_its_windows_along(api: Api, services: Services, clock: MovableClock) -> None:
    key = api.generate(max_budget=1, **HOURLY)["key"]
    spent(api, key, 5)
    clock.advance(HOUR)
    run(services, TaskName.RESET_BUDGETS)
    assert kept(services) == 1

    assert api.post("/key/delete", {"keys": [key]}).status == 200

    assert kept(services) == 0


def kept(services: Services) -> int:
    return len(rows(services.database, rolled_windows))


def run(services: Services, name: TaskName) -> int:
    return services.jobs.run(name, lambda: True)


@pytest.mark.parametrize(
    ("duration", "start"),
    [("1h", None), ("7s", None), ("1d", "13:47:40")],
    ids=["hours", "seconds", "from a second on"],
)
def test_readers_take_what_waits_by_the_second_and_show_what_the_fold_makes_of_it(
    api: Api, services: Services, clock: MovableClock, duration: str, start: str | None
) -> None:
    window = {"budget_duration": duration, "budget_start_time": start, "budget_rollover": True}
    made = api.generate(max_budget=0.0001, **window)
    began = clock.now()
    clock.advance(timedelta(days=2))
    spent(api, made["key"], 0.00001)
    for number in range(30):
        at = began + number * timedelta(seconds=0.4)
        sent = {"key": made["key"], "request_id": f"{number}", "cost": 0.25, "occurred_at": iso(at)}
        assert api.post("/key/settle", sent).status == 200
    with services.database.read() as connection:
        found = connection.execute(select(*spends.rolled_columns()).select_from(budget_state)).mappings().one()

    late = spends.rolled_part(found)["late"]
    before = api.info(made["key"])["spend"]
    run(services, TaskName.FOLD_LEDGER)

    assert len(late) <= 13
    assert sum(amount for amount, _ in late) == 30 * NANOS // 4
    assert 4 < before < 7.5
    assert api.info(made["key"])["spend"] == before
    assert services.ledger_check.check(10).drifts == []


@pytest.mark.parametrize("count", [5, 500])
def test_a_late_charge_reads_the_windows_that_it_can_change_however_many_are_kept(
    api: Api, services: Services, clock: MovableClock, count: int
) -> None:
    made = api.generate(max_budget=5, **HOURLY)
    spent(api, made["key"], 12)
    began = _hour(clock.now())
    clock.advance(count * HOUR)
    run(services, TaskName.RESET_BUDGETS)
    place = {"scope": "key", "scope_id": made["key_id"], "sub": ""}
    between = [
        {**place, "window_start": began + number * HOUR, "used_nanos": 1, "cap_nanos": 5 * NANOS}
        for number in range(1, count)
    ]
    with services.database.transaction() as transaction:
        transaction.execute(insert(rolled_windows), between)
    (state,) = rows(services.database, budget_state)
    scope, calendar = Scope(ScopeKind.KEY, made["key_id"]), Calendar(ZoneInfo("UTC"), time(0))
    late = [(NANOS, clock.now() - HOUR), (NANOS, clock.now() - 2 * HOUR)]

    with services.database.transaction() as transaction, statements(services.database) as sent:
        found = late_charges.load(transaction, {scope: state}, {scope: late}, calendar)[scope]

    assert len(sent) == 1
    assert [stretch.start for stretch in found.before] == [_hour(clock.now()) - age * HOUR for age in (2, 1)]
    assert {stretch.used_nanos for stretch in found.after} == {NANOS + 1}


# --- side by side --------------------------------------------------------------------------------------------------


def test_charges_and_jobs_side_by_side_leave_what_the_ledger_says(
    api: Api, services: Services, clock: MovableClock
) -> None:
    made = api.generate(max_budget=5, **HOURLY)
    book = Book(clock.now(), 5)
    began = clock.now()
    clock.advance(3 * HOUR)
    barrier = Barrier(4)
    books: list[tuple[datetime, int]] = []
    statuses: list[int] = []

    def charge(which: int) -> None:
        own = Api(app_over(services))
        barrier.wait(60)
        for number in range(12):
            at = began + (number % 4) * HOUR
            sent = {"key": made["key"], "request_id": f"{which}-{number}", "cost": 3, "occurred_at": iso(at)}
            # A busy store is an outage for a moment, and nothing else may stand in the way.
            answered = (own.post("/key/settle", sent).status for _ in range(_MOST_OUTAGES))
            statuses.append(next((status for status in answered if status != 503), 503))
            books.append((at, 3))

    def keep(name: TaskName) -> None:
        barrier.wait(60)
        for _ in range(12):
            run(services, name)

    threads = [Thread(target=charge, args=(which,)) for which in range(2)]
    threads += [Thread(target=keep, args=(name,)) for name in (TaskName.FOLD_LEDGER, TaskName.RESET_BUDGETS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert statuses == [200] * 24
    book.charges = books

    for _ in range(2):
        assert api.info(made["key"])["spend"] == book.spent(clock.now())
        clock.advance(HOUR)
        run(services, TaskName.RESET_BUDGETS)
        run(services, TaskName.FOLD_LEDGER)
    assert len(books) == 24
    assert services.ledger_check.check(10).drifts == []


# --- cost ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rolls", [False, True])
@on_one_store
def test_a_charge_costs_one_statement_more_where_its_windows_roll_over(
    api: Api, services: Services, clock: MovableClock, rolls: bool
) -> None:
    key = api.generate(max_budget=5, budget_duration="1h", budget_rollover=rolls)["key"]
    reservation = allowed(api, key, 1)

    with statements(services.database) as sent:
        settle(api, reservation, 1)
    same_window = len(sent)
    reservation = allowed(api, key, 1)
    clock.advance(HOUR)
    reservation_of_next = allowed(api, key, 1)
    with statements(services.database) as sent:
        settle(api, reservation_of_next, 1)
    moving = len(sent)

    # The windows, the ledger, what waits. Of those that roll over: whether one has to move; and where one does, the
    # lock, the look again, what is let go, what is kept, the move and whoever is to look.
    assert (same_window, moving) == ((4, 10) if rolls else (3, 3))

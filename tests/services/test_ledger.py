"""Accounts and corrections: lifetime spend is the sum of the ledger."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select

from app.config import Settings
from app.db import Database
from app.domain.access import Caller, Role
from app.domain.limits import Account
from app.domain.rollover import Terms
from app.domain.scopes import Scope, ScopeKind
from app.domain.spend import Spend, spend_of
from app.domain.windows import Calendar
from app.models import budget_state, ledger
from app.services.accounts import spends
from app.services.accounts.account_rows import among
from app.services.accounts.accounts import armed_account, open_account, open_accounts, rearm
from app.services.audit.audit import Act
from app.services.decisions.rebasing import Rebasing
from app.services.ledger.folding import Folding
from app.services.ledger.ledger import correct
from app.store.balances import Balances
from app.store.connection import HotRedis
from tests.clocks import START, MovableClock
from tests.environment import REDIS_SECONDS
from tests.factories import on_one_store, rows

KEY = "3f1c"
SCOPE = Scope(ScopeKind.KEY, KEY)


def _act(user_id: str | None, now: datetime) -> Act:
    return Act(Caller(role=Role.PROXY_ADMIN, user_id=user_id), now)


TOMORROW = datetime.fromisoformat("2026-11-19T00:00:00+00:00")
NEXT_MONTH = datetime.fromisoformat("2026-12-01T00:00:00+00:00")


class KeyAccount:
    """The account of one key, changed as use cases change it: each in a transaction of its own."""

    def __init__(self, database: Database, calendar: Calendar, clock: MovableClock, folding: Folding) -> None:
        self._database = database
        self._folding = folding
        self._calendar = calendar
        self._clock = clock
        self.spelling: str | None = None

    def open(self, spelling: str | None) -> Account:
        self.spelling = spelling
        return self._run(lambda tx, now: open_account(tx, SCOPE, spelling, self._calendar, now))

    def rearm(self, after: str | None) -> None:
        before, self.spelling = self.spelling, after
        self._run(
            lambda tx, now: rearm(
                tx, among(tx, [SCOPE]), before=before, after=after, calendar=self._calendar, now=now
            )
        )

    def correct(self, to_nanos: int, actor: str | None = "admin") -> int:
        return self._run(lambda tx, now: self.correct_in(tx, to_nanos, _act(actor, now)))

    def correct_in(self, transaction: Connection, to_nanos: int, act: Act) -> int:
        spend = self.spend
        account = Account(SCOPE, spend.window, spend.armed_at)
        return correct(transaction, act, account, to_nanos, {"key_id": KEY}, self._calendar)

    def fold(self) -> None:
        """Fold whatever waits."""
        self._folding.fold_due()

    @property
    def state(self) -> dict[str, Any]:
        (found,) = rows(self._database, budget_state, scope="key", scope_id=KEY)
        return found

    @property
    def spend(self) -> Spend:
        with self._database.read() as connection:
            rows_ = connection.execute(
                select(*spends.account_columns()).where(
                    budget_state.c.scope == "key", budget_state.c.scope_id == KEY
                )
            )
            account = spends.account_part(rows_.mappings().one())
        return spend_of(account, Terms(self.spelling), self._calendar, self._clock.now())

    @property
    def booked(self) -> int:
        with self._database.read() as connection:
            total = connection.execute(select(func.sum(ledger.c.amount_nanos)).where(ledger.c.key_id == KEY))
            return int(total.scalar_one() or 0)

    def _run(self, work: Callable[[Any, datetime], Any]) -> Any:
        with self._database.transaction() as transaction:
            return work(transaction, self._clock.now())


@pytest.fixture
def calendar(settings: Settings) -> Calendar:
    return Calendar(settings.timezone, settings.budget_reset_time)


@pytest.fixture
def folding(database: Database, settings: Settings, clock: MovableClock, calendar: Calendar) -> Iterator[Folding]:
    redis = HotRedis(settings.hot_redis_url, seconds=REDIS_SECONDS)
    rebasing = Rebasing(database, Balances(redis, longest_lease_seconds=60), calendar)
    yield Folding(database, rebasing, clock, calendar, alert_percentages=settings.budget_alert_percentages)
    redis.close()


@pytest.fixture
def account(database: Database, calendar: Calendar, clock: MovableClock, folding: Folding) -> KeyAccount:
    return KeyAccount(database, calendar, clock, folding)


# --- opening -----------------------------------------------------------------------------------------------


def test_a_new_account_is_empty(account: KeyAccount):
    opened = account.open(None)

    assert opened == Account(SCOPE)
    assert account.spend == Spend(0, 0, None)
    assert account.state == {
        "scope": "key",
        "scope_id": KEY,
        "sub": "",
        "armed_at": None,
        "parked_at": None,
        "parked_reason": None,
        "windowless": False,
        "window_start": None,
        "reset_at": None,
        "window_spend_nanos": 0,
        "lifetime_spend_nanos": 0,
        "carried_nanos": 0,
        "previous_start": None,
        "previous_end": None,
        "previous_spend_nanos": 0,
        "rolled_by": None,
    }


def test_a_new_account_with_a_window_is_armed_now(account: KeyAccount):
    opened = account.open("1d")

    spend = account.spend
    assert (opened.window, opened.armed_at) == (spend.window, spend.armed_at)
    state = account.state
    assert (state["armed_at"], state["window_start"]) == (START, START.replace(hour=0, minute=0, second=0))
    assert state["reset_at"] == spend.reset_at == TOMORROW


@pytest.mark.parametrize(("spelling", "kept"), [(None, 7), ("1d", 0)])
def test_what_was_charged_before_there_was_a_row_stays_but_a_window_starts_at_zero(
    database: Database, account: KeyAccount, spelling: str | None, kept: int
):
    with database.transaction() as transaction:
        transaction.execute(
            insert(budget_state).values(
                scope="key", scope_id=KEY, sub="", window_spend_nanos=7, lifetime_spend_nanos=12
            )
        )

    account.open(spelling)

    assert (account.spend.window_nanos, account.spend.lifetime_nanos) == (kept, 12)


def test_many_accounts_are_opened_at_once_each_with_its_window(
    database: Database, calendar: Calendar, clock: MovableClock
):
    with database.transaction() as transaction:
        wanted = {"a": None, "b": "1d", "c": "30d"}
        open_accounts(
            transaction,
            [
                armed_account(Scope(ScopeKind.USER, user_id), spelling, calendar, clock.now())
                for user_id, spelling in wanted.items()
            ],
        )
        open_accounts(transaction, [])

    found = {row["scope_id"]: row["reset_at"] for row in rows(database, budget_state, scope="user")}
    assert found == {"a": None, "b": TOMORROW, "c": NEXT_MONTH}


# --- another window ----------------------------------------------------------------------------------------


def test_a_window_armed_where_there_was_none_starts_at_zero(account: KeyAccount):
    account.open(None)
    account.correct(500)

    account.rearm("1d")

    spend = account.spend
    assert (spend.window_nanos, spend.lifetime_nanos, spend.reset_at) == (0, 500, TOMORROW)


def test_a_window_that_replaces_another_takes_its_spend_along(account: KeyAccount, clock: MovableClock):
    account.open("1d")
    account.correct(500)
    clock.advance(timedelta(hours=2))

    account.rearm("30d")

    spend = account.spend
    assert (spend.window_nanos, spend.lifetime_nanos, spend.reset_at) == (500, 500, NEXT_MONTH)
    assert account.state["armed_at"] == clock.now()


def test_what_a_window_that_has_passed_held_is_not_taken_along(account: KeyAccount, clock: MovableClock):
    account.open("1d")
    account.correct(500)
    clock.set(TOMORROW)

    account.rearm("30d")

    assert (account.spend.window_nanos, account.spend.lifetime_nanos) == (0, 500)


def test_without_a_window_the_spend_so_far_stays(account: KeyAccount, clock: MovableClock):
    account.open("1d")
    account.correct(500)

    account.rearm(None)
    clock.advance(timedelta(days=400))

    assert (account.spend.window_nanos, account.spend.lifetime_nanos, account.spend.reset_at) == (500, 500, None)
    assert account.state["window_start"] is None


@pytest.mark.parametrize("spelling", ["14d", None])
def test_the_same_window_again_changes_nothing(account: KeyAccount, clock: MovableClock, spelling: str | None):
    account.open(spelling)
    account.correct(500)
    before = account.state
    clock.advance(timedelta(days=3))

    account.rearm(spelling)

    assert account.state == before


# --- corrections -------------------------------------------------------------------------------------------


def test_a_correction_is_a_ledger_row_of_the_difference(database: Database, account: KeyAccount):
    account.open("1d")

    account.correct(500)
    account.correct(200, actor=None)

    assert (account.spend.window_nanos, account.spend.lifetime_nanos) == (200, 200)
    booked = rows(database, ledger)
    assert [(row["amount_nanos"], row["actor"]) for row in booked] == [(500, "admin"), (-300, None)]
    assert {(row["kind"], row["key_id"], row["occurred_at"], row["recorded_at"]) for row in booked} == {
        ("correction", KEY, START, START)
    }
    assert len({row["request_id"] for row in booked}) == 2


def test_a_correction_to_what_stands_there_books_nothing(database: Database, account: KeyAccount):
    account.open(None)
    account.correct(500)

    account.correct(500)

    assert len(rows(database, ledger)) == 1


def test_a_correction_after_a_window_has_passed_counts_in_the_present_one(
    account: KeyAccount, clock: MovableClock
):
    account.open("1d")
    account.correct(500)
    clock.set(TOMORROW + timedelta(hours=1))

    account.correct(200)

    assert (account.spend.window_nanos, account.spend.lifetime_nanos) == (200, 700)
    assert account.state["window_start"] == TOMORROW
    assert account.booked == 700


def test_a_correction_that_fails_leaves_nothing(database: Database, account: KeyAccount, clock: MovableClock):
    account.open("1d")
    before = account.state

    with pytest.raises(RuntimeError), database.transaction() as transaction:
        account.correct_in(transaction, 500, _act("admin", clock.now()))
        raise RuntimeError

    assert (account.state, account.booked) == (before, 0)


def test_whatever_happens_lifetime_is_the_sum_of_the_ledger(account: KeyAccount, clock: MovableClock):
    account.open(None)
    steps: list[Callable[[], Any]] = [
        lambda: account.correct(9_000_000_000_000_000),
        lambda: account.rearm("1d"),
        lambda: account.correct(700),
        lambda: clock.set(TOMORROW),
        lambda: account.correct(1),
        lambda: account.rearm("30d"),
        lambda: account.correct(0),
        lambda: clock.set(NEXT_MONTH + timedelta(days=70)),
        lambda: account.rearm("7d"),
        lambda: account.correct(12_345),
        lambda: account.rearm(None),
        lambda: account.correct(3),
    ]

    for step in steps:
        step()

        before = account.spend
        assert before.lifetime_nanos == account.booked
        account.fold()
        assert account.spend == before


@on_one_store
def test_a_correction_touches_no_other_account(
    database: Database, account: KeyAccount, calendar: Calendar, clock: MovableClock
):
    account.open(None)
    with database.transaction() as transaction:
        for scope in (Scope(ScopeKind.TEAM, KEY), Scope(ScopeKind.KEY, "other")):
            open_account(transaction, scope, None, calendar, clock.now())

    account.correct(500)
    account.fold()

    spent = {(row["scope"], row["scope_id"]): row["lifetime_spend_nanos"] for row in rows(database, budget_state)}
    assert spent == {("key", KEY): 500, ("team", KEY): 0, ("key", "other"): 0}

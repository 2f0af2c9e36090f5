"""However often workers are killed while windows pass and charges arrive, each account is what its ledger says.

Two processes fold, two reset and two charge; the first four are killed at random moments and started again, while
the clock goes over one boundary after the other. How many accounts there are and how often something is killed are
the options `--accounts` and `--kills`; `make test-resets` has a hundred thousand of them.
"""

import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event as Waiter
from typing import Any, Self

import pytest
from sqlalchemy import ColumnElement, func, select

from app.config import Settings
from app.container import Services
from app.dispatch import TaskName
from app.domain.scopes import ScopeKind
from app.models import budget_state, daily_spend, ledger, ledger_unfolded
from tests.clients import Api
from tests.faults import balance_sheets, families
from tests.faults.bookkeepers import Gateway, Process, SharedClock, Surroundings, Worker, flag
from tests.faults.families import BOUNDARY, LENGTHS
from tests.services.every_scope import fold, reset
from tests.services.job_processes import environment_of

pytestmark = pytest.mark.processes

# Before the boundary, and after it; then half a day ends, then a day.
INSTANTS = tuple(BOUNDARY + timedelta(hours=hours) for hours in (-1, 1, 13, 25))
# A batch of either job sends about as many statements.
WORDS_OF_A_BATCH = 20
# Nothing at all has happened for so long.
STALLED_SECONDS = 120.0
LOOK_SECONDS = 0.01
# At each instant one call for so many accounts.
ACCOUNTS_PER_CALL = 80


@pytest.fixture
def clock() -> SharedClock:
    """One for this process and for all that it starts."""
    return SharedClock(families.MADE_AT)


@pytest.fixture
def accounts(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--accounts"))


class Staff:
    """The processes at work on one store."""

    def __init__(self, settings: Settings, clock: SharedClock, folder: Path, keys: int, seed: int) -> None:
        environment = environment_of(settings) | {"KEYLEDGER_BUSY_SECONDS": "30"}
        self._charging_ends, self._work_ends = flag(), flag()

        def around(name: str, ends: Any) -> Surroundings:
            return Surroundings(environment, clock, ends, folder / f"{name}.log")

        self.workers = [
            Worker(name, around(name, self._work_ends), task)
            for task in (TaskName.FOLD_LEDGER, TaskName.RESET_BUDGETS)
            for name in (f"{task} {number}" for number in range(2))
        ]
        self.gateways = [
            Gateway(name, around(name, self._charging_ends), keys, seed + number)
            for number, name in enumerate(("gateway 0", "gateway 1"))
        ]
        self._running: list[Process] = []

    def __enter__(self) -> Self:
        for process in (*self.workers, *self.gateways):
            process.start()
            self._running.append(process)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.abandon()

    @property
    def calls(self) -> int:
        return sum(gateway.calls for gateway in self.gateways)

    @property
    def nanos(self) -> int:
        return sum(gateway.nanos for gateway in self.gateways)

    def wait(self, left: Callable[[], int], what: str) -> None:
        """Wait until nothing is left; fail where a process has ended by itself, or where nothing becomes less."""
        before, since = None, time.monotonic()
        while (now := left()) > 0:
            for process in self._running:
                process.check()
            if now != before:
                before, since = now, time.monotonic()
            if time.monotonic() - since > STALLED_SECONDS:
                logs = "\n".join(f"--- {process.name}\n{process.tail()}" for process in self._running)
                pytest.fail(f"waited for {what}: {now} left for {STALLED_SECONDS:g} s\n{logs}")
            Waiter().wait(LOOK_SECONDS)

    def kill_one(self, chance: random.Random) -> None:
        """Kill a worker some statements later, while it writes or else wherever it is, and start it again."""
        victim = chance.choice(self.workers)
        first = victim.words + chance.randint(1, WORDS_OF_A_BATCH)
        last = first + WORDS_OF_A_BATCH

        def left() -> int:
            return 0 if victim.words >= first and victim.writes else last - victim.words

        self.wait(left, f"{victim.name} to send something")
        victim.kill()
        victim.start()

    def end_charging(self) -> None:
        self._end(self._charging_ends, self.gateways)

    def end(self) -> None:
        self._end(self._work_ends, self.workers)

    def _end(self, flag: Any, processes: Sequence[Process]) -> None:
        flag.value = 1
        for process in processes:
            process.end(STALLED_SECONDS)
            self._running.remove(process)


@dataclass(frozen=True)
class Left:
    """What is still to be done."""

    services: Services

    def due(self) -> int:
        """Windows that have passed and that nobody has moved."""
        return self._count(budget_state.c.reset_at <= self.services.clock.now())

    def unfolded(self) -> int:
        return self._count(ledger_unfolded.c.ledger_id.is_not(None))

    def _count(self, which: ColumnElement[bool]) -> int:
        with self.services.database.read() as connection:
            return int(connection.execute(select(func.count()).where(which)).scalar_one())


def test_each_account_is_what_its_ledger_says_after_boundaries_with_charges_and_kills(
    services: Services, settings: Settings, api: Api, clock: SharedClock, tmp_path: Path, accounts: int, kills: int
) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    count = accounts // len(LENGTHS)
    families.make(api, services, count)
    left, began, told = Left(services), time.monotonic(), [f"seed {seed}"]

    with Staff(settings, clock, tmp_path, count, seed) as staff:
        for number, instant in enumerate(INSTANTS, start=1):
            since = time.monotonic()
            clock.set(instant)
            due = left.due()
            of_now = kills * number // len(INSTANTS) - kills * (number - 1) // len(INSTANTS)
            for _ in range(of_now):
                meant = staff.calls + accounts // ACCOUNTS_PER_CALL // of_now
                staff.wait(lambda meant=meant: meant - staff.calls, "charges")
                staff.kill_one(chance)
            staff.wait(left.due, "windows that are due")
            told.append(f"{instant:%d %H:%M}: {due:,} due, moved within {time.monotonic() - since:.1f} s")
        staff.end_charging()
        staff.wait(left.unfolded, "charges that are not folded")
        staff.end()
    assert (fold(services), reset(services)) == (None, 0)

    sheet = balance_sheets.draw(services.database)
    undone = sum(worker.undone for worker in staff.workers)
    told.append(
        f"{kills} kills, {undone} of them between a write and its commit; {staff.calls:,} calls charged; "
        f"{time.monotonic() - began:.1f} s"
    )
    sys.stdout.write("\n".join([*told, *map(str, sheet)]) + "\n")
    assert [(line.kind, line.accounts) for line in sheet] == [(kind.value, count) for kind in sorted(LENGTHS)]
    assert [line for line in sheet if line.wrong] == []
    # What the sheet is drawn from is all that was acknowledged, and the windows are those of the clock.
    assert recorded(services) == (2 * count + staff.calls, count * families.SPENT_NANOS + staff.nanos)
    assert windows(services) == {kind.value: {window_of(kind)} for kind in LENGTHS}
    assert services.ledger_check.check(10).drifts == []


def recorded(services: Services) -> tuple[int, int]:
    """How many charges there are, and how much; the ledger and the daily sums must agree."""
    sums = (
        (func.count(ledger.c.ledger_id), func.sum(ledger.c.amount_nanos)),
        (func.sum(daily_spend.c.requests), func.sum(daily_spend.c.spend_nanos)),
    )
    with services.database.read() as connection:
        of_rows, of_days = (tuple(map(int, connection.execute(select(*each)).one())) for each in sums)
    assert of_rows == of_days
    return of_rows[0], of_rows[1]


def windows(services: Services) -> dict[str, set[tuple[datetime, datetime]]]:
    """The windows that the accounts of each kind are in."""
    found: dict[str, set[tuple[datetime, datetime]]] = defaultdict(set)
    columns = (budget_state.c.scope, budget_state.c.window_start, budget_state.c.reset_at)
    with services.database.read() as connection:
        for scope, start, end in connection.execute(select(*columns).distinct()):
            found[scope].add((start, end))
    return found


def window_of(kind: ScopeKind) -> tuple[datetime, datetime]:
    """The window of the last instant, counted from the boundary."""
    length = LENGTHS[kind][0]
    start = BOUNDARY + (INSTANTS[-1] - BOUNDARY) // length * length
    return start, start + length

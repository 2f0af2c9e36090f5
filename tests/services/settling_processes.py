"""Processes that settle, each with services of its own, all at once."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from app.config import Settings
from app.container import build
from app.services.audit.audit import SYSTEM, Act
from app.services.decisions.charges import Settled, Usage
from app.services.decisions.reservations import Subject
from tests.clocks import MovableClock
from tests.forks import forks
from tests.services.job_processes import PROCESS_SECONDS, environment_of


class Settling:
    """So many processes, each of which charges all of the keys so often, one call at a time."""

    def __init__(
        self,
        settings: Settings,
        now: datetime,
        keys: Sequence[str],
        *,
        processes: int,
        calls: int,
        cost_nanos: int,
    ) -> None:
        environment = environment_of(settings) | {"KEYLEDGER_BUSY_SECONDS": "30"}
        self._barrier = forks.Barrier(processes)
        self._processes = [
            forks.Process(
                target=_settle,
                args=(
                    environment,
                    now,
                    self._barrier,
                    [(key, f"{number}-{call}") for call in range(calls) for key in keys],
                ),
                kwargs={"cost_nanos": cost_nanos},
                daemon=True,
            )
            for number in range(processes)
        ]
        for process in self._processes:
            process.start()

    @property
    def runs(self) -> bool:
        """Whether any of them is at work."""
        return any(process.is_alive() for process in self._processes)

    def check(self) -> None:
        """Wait for all of them; fail where one has failed."""
        for process in self._processes:
            process.join(PROCESS_SECONDS)
        assert [process.exitcode for process in self._processes] == [0] * len(self._processes)


def _settle(
    environment: Mapping[str, str],
    now: datetime,
    barrier: Any,
    calls: Sequence[tuple[str, str]],
    *,
    cost_nanos: int,
) -> None:
    services = build(Settings.parse(environment), MovableClock(now))
    barrier.wait(PROCESS_SECONDS)
    for key, request_id in calls:
        usage = Usage(Subject(key=key, request_id=request_id), cost_nanos=cost_nanos)
        (settled,) = services.settlements.settle(Act(SYSTEM, now), [usage])
        assert isinstance(settled, Settled), settled
    services.close()

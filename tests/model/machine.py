"""Hypothesis chooses what happens next: which request begins, which goes on, what is lost, how time goes by."""

from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from hypothesis.strategies import integers, sampled_from

from tests.model import changes
from tests.model.redis import Verdict
from tests.model.requests import Answer
from tests.model.scopes import SCOPES, WINDOW
from tests.model.world import PROCESSES, World

TO_THE_END = 1000
AT_ONCE = 4  # requests under way

processes = integers(0, PROCESSES - 1)
indexes = integers(0, AT_ONCE - 1)
# How far a request gets before something else happens.
distances = sampled_from([0, 1, 2, 3, 4, TO_THE_END, TO_THE_END])
has_room = precondition(lambda self: len(self.world.under_way) < AT_ONCE)
has_reservation = precondition(lambda self: self.world.reservations and len(self.world.under_way) < AT_ONCE)


class Machine(RuleBasedStateMachine):
    """`parts` are exchanged for faulty ones by whoever plants a fault."""

    parts: ClassVar[dict[str, Any]] = {}
    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.world = World(**self.parts)

    def teardown(self) -> None:
        self.world.come_to_rest()
        self.world.check_at_rest()
        type(self).steps += self.world.steps

    @has_room
    @rule(process=processes, estimate=integers(0, 5), again=indexes, distance=distances)
    def verify(self, process: int, estimate: int, again: int, distance: int) -> None:
        repeated = self.world.reservations and again == 0
        request_id = self._reservation(0).request_id if repeated else self.world.fresh()
        self._begin(distance, process, "verify", request_id, estimate)

    @precondition(lambda self: self.world.under_way)
    @rule(which=indexes, distance=distances)
    def go_on(self, which: int, distance: int) -> None:
        self.world.go_on(which % len(self.world.under_way), distance or 1)

    @precondition(lambda self: self.world.under_way)
    @rule(which=indexes)
    def fail(self, which: int) -> None:
        self.world.fail(which % len(self.world.under_way))

    @rule(ticks=sampled_from([1, 1, 2, 4, WINDOW]))
    def tick(self, ticks: int) -> None:
        self.world.tick(ticks)

    @rule(process=processes, name=sampled_from(["flushall", "crash", "crash"]))
    def trouble(self, process: int, name: str) -> None:
        getattr(self.world, name)(*([] if name == "flushall" else [process]))

    def _begin(self, distance: int, process: int, name: str, *arguments: Any) -> None:
        self.world.start(process, name, *arguments)
        self.world.go_on(len(self.world.under_way) - 1, distance)

    def _reservation(self, which: int) -> Any:
        """The latest ones first."""
        return self.world.reservations[-1 - which % len(self.world.reservations)]


class Policies(Machine):
    """Who may: administrators change things while keys are used."""

    @has_room
    @rule(process=processes, change=sampled_from(changes.ALL), distance=distances)
    def change(self, process: int, change: Any, distance: int) -> None:
        self._begin(distance, process, "change", change)


class Calls(Machine):
    """How much: calls are settled, given up or forgotten."""

    @has_room
    @rule(process=processes, estimate=integers(1, 5), amount=integers(0, 6), distance=distances)
    def call(self, process: int, estimate: int, amount: int, distance: int) -> None:
        """A verify that is allowed in one go, and the settle that follows."""
        request_id = self.world.fresh()
        answer = self.world.do(process, "verify", request_id, estimate)
        if isinstance(answer, Answer) and answer.verdict is Verdict.ALLOWED:
            self._begin(distance, process, "settle", self.world.reservation(request_id), amount)

    @has_reservation
    @rule(process=processes, which=indexes, amount=integers(0, 6), distance=distances)
    def settle(self, process: int, which: int, amount: int, distance: int) -> None:
        self._begin(distance, process, "settle", self._reservation(which), amount)

    @has_reservation
    @rule(
        process=processes, which=indexes, name=sampled_from(["release", "release", "extend"]), distance=distances
    )
    def release_or_extend(self, process: int, which: int, name: str, distance: int) -> None:
        self._begin(distance, process, name, self._reservation(which).request_id)


class Books(Machine):
    """What was never held is charged or corrected, and the books are kept."""

    @has_room
    @rule(process=processes, scope=sampled_from([None, *SCOPES]), amount=integers(0, 6), distance=distances)
    def charge_or_correct(self, process: int, scope: Any, amount: int, distance: int) -> None:
        """A charge that nobody held, or an administrator who sets what a scope has spent."""
        name, what = ("correct", scope) if scope else ("settle_without_hold", self.world.fresh())
        self._begin(distance, process, name, what, amount)

    @has_room
    @rule(process=processes, name=sampled_from(["fold 1", "fold 3", "reap", "reap", "move"]), distance=distances)
    def keep_the_books(self, process: int, name: str, distance: int) -> None:
        name, *limit = name.split()
        self._begin(distance, process, name, *map(int, limit))


class Balances(Calls, Books):
    """How much, as a whole."""


class Everything(Policies, Balances):
    """All of it at once."""


class Rolling(Everything):
    """All of it, of a key that carries on what it spends beyond its cap."""

    parts: ClassVar[dict[str, Any]] = {"rolls": True}


def explore(machine: type[Machine], examples: int, events: int) -> None:
    """Run the machine; the same orders of events every time."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=events,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )

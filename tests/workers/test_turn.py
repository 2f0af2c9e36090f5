"""One sweep at a time in a worker: the turn of a process ends with it, and meanwhile the jobs go on."""

import os
import signal
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import pytest

from app.dispatch import TaskName
from tests.integrations.receivers import Receiver, silence
from tests.servers import eventually
from tests.workers.running import Up
from workers.turn import Turn

_fork = get_context("fork")

# More than the two processes of the worker could take in hand together.
RECEIVERS = 20
OUTBOUND_SECONDS, TURNS = 5, 5


class Process:
    """One process of a pool, which takes its turn when it is told to and holds it until it is told to end."""

    def __init__(self, turn: Turn) -> None:
        self._ours, theirs = _fork.Pipe()
        self._process = _fork.Process(target=_work, args=(turn, theirs), daemon=True)
        self._process.start()

    def tries(self) -> bool:
        """Whether it got the turn."""
        self._ours.send("try")
        assert self._ours.poll(20)
        return bool(self._ours.recv())

    def ends_its_turn(self) -> None:
        self._ours.send("end")
        assert self._ours.recv() == "ended"

    def kill(self) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.join(60)

    def close(self) -> None:
        self._process.kill()
        self._process.join(60)


def _work(turn: Turn, told: Connection) -> None:
    while told.recv() == "try":
        with turn.taken() as mine:
            told.send(mine)
            if mine:
                assert told.recv() == "end"
        if mine:
            told.send("ended")


@pytest.fixture
def pool() -> Iterator[list[Process]]:
    turn = Turn()
    turn.open()
    processes = [Process(turn) for _ in range(2)]
    yield processes
    for process in processes:
        process.close()


def test_only_one_process_of_a_pool_has_the_turn(pool: list[Process]):
    one, other = pool

    assert (one.tries(), other.tries(), other.tries()) == (True, False, False)
    one.ends_its_turn()
    assert other.tries()


def test_the_turn_of_a_process_that_is_killed_is_free(pool: list[Process]):
    one, other = pool
    assert one.tries()

    one.kill()

    assert other.tries()


def test_without_a_pool_it_is_always_ones_turn():
    with Turn().taken() as mine:
        assert mine


# --- a true worker ---------------------------------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[Receiver]:
    with Receiver(reply=silence) as receiver:
        yield receiver


@pytest.fixture
def up(tmp_path_factory: pytest.TempPathFactory, silent: Receiver) -> Iterator[Up]:
    settings = {
        "KEYLEDGER_REAP_INTERVAL_SECONDS": "1",
        "KEYLEDGER_OUTBOUND_SECONDS": str(OUTBOUND_SECONDS),
        "WEBHOOK_URL": " ".join(f"{silent.url}/{number}" for number in range(RECEIVERS)),
    }
    with Up(tmp_path_factory.mktemp("turn"), **settings) as up:
        up.start()
        yield up


@pytest.mark.processes
def test_holds_are_reaped_at_their_interval_while_receivers_hang(up: Up, silent: Receiver):
    runs: set[Any] = set()

    def has_turns() -> bool:
        found = up.rows("SELECT last_finished_at FROM job_runs WHERE name = ?", TaskName.REAP_HOLDS.value)
        runs.update(at for (at,) in found)
        hanging = up.rows("SELECT 1 FROM deliveries WHERE attempts = 0 LIMIT 1")
        assert len(runs) >= TURNS or hanging, f"{len(runs)} turns only"
        return len(runs) >= TURNS

    up.post("/key/generate")
    eventually(lambda: silent.connections, 60)

    eventually(has_turns, 120)

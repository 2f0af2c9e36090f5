"""A process of the service that SIGKILLs itself at a chosen point of one request.

The points are every SQL statement before it is sent, every commit before it is sent, and every return of a
connection: the one after a commit lies between commit and publication. They are counted as they come, whatever
the code does there; nothing of the service is replaced.
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from sqlalchemy import Engine, Pool, event

from app.config import Settings
from app.container import build
from tests import leaks
from tests.apps import app_over
from tests.clients import MASTER_KEY
from tests.forks import forks

COMMIT = "COMMIT"
RETURN = "the connection is given back"
ANSWER = "the answer is ready"


@dataclass
class Points:
    """What the process has come by, and at how many of them it dies; None: it does not."""

    dies_at: int | None
    passed: list[str] = field(default_factory=list)

    def reach(self, point: str) -> None:
        self.passed.append(point)
        if len(self.passed) == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)


def points_of(environment: Mapping[str, str], path: str, body: Mapping[str, Any]) -> list[str]:
    """Let a process answer the request, which must succeed; the points that it came by."""
    receiver, sender = forks.Pipe(duplex=False)
    assert _run(environment, path, body, None, sender) == 0
    status, passed = receiver.recv()
    assert status == 200
    return list(passed)


def die_at(number: int, environment: Mapping[str, str], path: str, body: Mapping[str, Any]) -> None:
    """Let a process die at that point of answering the request, counted from one."""
    _, sender = forks.Pipe(duplex=False)
    assert _run(environment, path, body, number, sender) == -signal.SIGKILL, f"no point {number} was reached"


def _run(
    environment: Mapping[str, str], path: str, body: Mapping[str, Any], dies_at: int | None, sender: Connection
) -> int | None:
    leaks.SECRETS.remember_request(dict(body))
    process = forks.Process(target=_answer, args=(environment, path, body, dies_at, sender), daemon=True)
    process.start()
    process.join(60)
    assert process.exitcode is not None, "the process does not end"
    return process.exitcode


def _answer(
    environment: Mapping[str, str], path: str, body: Mapping[str, Any], dies_at: int | None, sender: Connection
) -> None:
    points = Points(dies_at)
    client = app_over(build(Settings.parse(environment))).test_client()
    event.listen(Engine, "before_cursor_execute", lambda _conn, _cursor, text, *_: points.reach(text))
    event.listen(Engine, "commit", lambda _: points.reach(COMMIT))
    event.listen(Pool, "checkin", lambda *_: points.reach(RETURN))
    reply = client.post(path, json=body, headers={"Authorization": f"Bearer {MASTER_KEY}"})
    points.reach(ANSWER)
    sender.send((reply.status_code, points.passed))

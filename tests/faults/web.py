"""Real web processes of the service, started, called and killed from outside only."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, Self

from tests import leaks
from tests.clients import MASTER_KEY
from tests.environment import ENVIRONMENT
from tests.faults.proxy import RedisProxy
from tests.servers import RedisServer, Server, eventually, free_port

ROOT = Path(__file__).resolve().parents[2]
CALL_SECONDS = 20.0
THREADS = 8
# Short enough that marks of killed writers lapse, and that nobody waits for a Redis that is held, while tests go on.
LAPSING: Mapping[str, str] = {
    "KEYLEDGER_CHANGE_SECONDS": "2",
    "KEYLEDGER_COMMIT_SECONDS": "0.5",
    "KEYLEDGER_HOT_REDIS_SECONDS": "1",
}
# Of those who all want the same, the last waits until the others are done, however slow the machine is.
PATIENT_SECONDS = 60.0
PATIENT: Mapping[str, str] = {
    "KEYLEDGER_BUSY_SECONDS": f"{PATIENT_SECONDS:g}",
}


@dataclass(frozen=True)
class Reply:
    status: int
    body: Any


class Away(Exception):
    """The process did not answer: whether the request was done, nobody knows."""


class Web(Server):
    """One web server: a main process and the worker that it minds."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__()
        self.port = free_port()
        self._environment = {
            **environment,
            "PYTHONPATH": str(ROOT),
            "PORT": str(self.port),
            "KEYLEDGER_DATA_DIR": str(self.folder),
            "KEYLEDGER_WEB_THREADS": str(THREADS),
            "KEYLEDGER_DRAIN_SECONDS": "0",
        }

    def answers(self) -> bool:
        try:
            with Caller(self, seconds=2) as caller:
                return caller.call("GET", "/health/liveliness").status == 200
        except Away:
            return False

    def begin(self) -> None:
        """Start the server without waiting for it."""
        self._process = self._launch()

    def wait(self) -> None:
        """Wait until it answers; one whose workers died too often has ended, and is started again."""
        eventually(self._answers_or_begins)

    def _answers_or_begins(self) -> bool:
        if not self.pids():
            self.begin()
        return self.answers()

    def close(self) -> None:
        """Stop it; no key may stand in its log."""
        told = leaks.in_folder(self.folder)
        super().close()
        assert not told, "a plaintext key was logged"

    def kill_worker(self) -> None:
        """SIGKILL to what serves the requests; the main process replaces it."""
        for pid in self.pids()[1:]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _launch(self) -> subprocess.Popen[bytes]:
        return self._spawn([sys.executable, "-m", "app.cli", "web"], environment=self._environment)


class Caller:
    """One connection to one web process, kept open; not for two threads at once."""

    def __init__(self, web: Web, *, key: str = MASTER_KEY, seconds: float = CALL_SECONDS) -> None:
        leaks.SECRETS.remember(key)
        self._connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=seconds)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def post(self, path: str, **body: Any) -> Reply:
        leaks.SECRETS.remember_request(body)
        return self.call("POST", path, json.dumps(body).encode())

    def get(self, path: str) -> Reply:
        return self.call("GET", path)

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str | bytes] | None = None
    ) -> Reply:
        """Send one request; raises Away. After that the next one makes a new connection."""
        try:
            self._connection.request(method, path, body, {**self._headers, **(headers or {})})
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Away from error
        told = leaks.in_answer(path, body or b"", answer.status, str(answer.headers), content)
        assert not told, f"{path} tells a key that it should not"
        return Reply(answer.status, json.loads(content))


class Pair:
    """Two web processes on one store and one Redis, each behind a proxy of its own."""

    def __init__(
        self,
        database_url: str,
        redis: RedisServer,
        proxies: tuple[RedisProxy, RedisProxy],
        settings: Mapping[str, str],
    ) -> None:
        self.database_url = database_url
        self.redis = redis
        self.proxies = proxies
        shared = {
            "DATABASE_URL": database_url,
            **ENVIRONMENT,
            **settings,
        }
        self.webs = tuple(Web({**shared, "REDIS_URL": proxy.url}) for proxy in proxies)
        # A server dies with the thread that started it, and the threads of a proxy are short-lived.
        self.starter = ThreadPoolExecutor(1)

    def wait(self) -> None:
        for web in self.webs:
            web.wait()

    def restart_redis(self) -> None:
        """Kill it and start it again; from any thread."""
        self.starter.submit(self.redis.restart).result()

    def generate(self, **fields: Any) -> str:
        """Make a key that must succeed; its plaintext."""
        with Caller(self.webs[0]) as caller:
            reply = caller.post("/key/generate", **fields)
        assert reply.status == 200, reply
        return str(reply.body["key"])


@contextmanager
def pair_on(database_url: str, settings: Mapping[str, str] = LAPSING) -> Iterator[Pair]:
    """Two processes on a migrated store, and their Redis."""
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        first, second = (stack.enter_context(RedisProxy(redis.port)) for _ in range(2))
        pair = Pair(database_url, redis, (first, second), settings)
        stack.callback(pair.starter.shutdown)
        for web in pair.webs:
            stack.callback(web.close)
            web.begin()
        pair.wait()
        yield pair
        assert not leaks.in_redis(redis.url), "a plaintext key was stored"


def all_at_once(works: list[Callable[[], Any]]) -> list[Any]:
    """Do each work in a thread of its own, all of them started together; their results, or the first error."""
    results: list[Any] = [None] * len(works)
    errors: list[BaseException] = []

    def run(index: int, work: Callable[[], Any]) -> None:
        try:
            results[index] = work()
        except BaseException as error:  # noqa: BLE001 - raised below, where the test sees it
            errors.append(error)

    threads = [Thread(target=partial(run, index, work), daemon=True) for index, work in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "a client does not end"
    if errors:
        raise errors[0]
    return results

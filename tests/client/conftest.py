"""Two running services, and the reference's client in an environment of its own (`make test-client` makes it)."""

import json
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from tests.workers.running import ROOT, Up

ENVIRONMENT = ROOT / ".venv-client"
MASTER_KEY = "sk-master-of-the-client-0123456789"
CALL_SECONDS = 60.0


class Driver:
    """The process that makes the calls of the reference's Python client: for every server, one after the other."""

    def __init__(self, home: Path) -> None:
        self._environment = _environment(home)
        self._log = home / "driver.log"

    def __enter__(self) -> Self:
        argv = [str(ENVIRONMENT / "bin" / "python"), str(Path(__file__).parent / "drive.py")]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=self._environment, bufsize=0
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Let one call be made; what it returned or raised."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        ready, _, _ = select.select([self._process.stdout], [], [], CALL_SECONDS)
        line = self._process.stdout.readline() if ready else b""
        assert line, f"no answer:\n{self._log.read_text()}"
        answer: dict[str, Any] = json.loads(line)
        return answer


class ReferenceClient:
    """The reference's Python client and its command, talking to one server."""

    def __init__(self, up: Up, driver: Driver, home: Path) -> None:
        self.url = f"http://127.0.0.1:{up.port}"
        self._driver = driver
        self._environment = _environment(home)

    def call(self, part: str, method: str, *, caller: str = MASTER_KEY, **arguments: Any) -> Any:
        """What the client returns for one call; an AssertionError where it raised."""
        answer = self.outcome(part, method, caller=caller, **arguments)
        assert "returned" in answer, answer
        return answer["returned"]

    def outcome(self, part: str, method: str, *, caller: str = MASTER_KEY, **arguments: Any) -> dict[str, Any]:
        return self._driver.ask(
            {"url": self.url, "key": caller, "part": part, "method": method, "arguments": arguments}
        )

    def command(self, *words: str, caller: str = MASTER_KEY) -> subprocess.CompletedProcess[str]:
        """Run the reference's command line."""
        return subprocess.run(
            [str(ENVIRONMENT / "bin" / "lite"), "--base-url", self.url, "--api-key", caller, *words],
            capture_output=True,
            text=True,
            timeout=CALL_SECONDS,
            env=self._environment | {"COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            check=False,
        )


def _environment(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "PATH": "/usr/bin:/bin", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def _running(folder: Path) -> Iterator[Up]:
    with Up(folder, KEYLEDGER_MASTER_KEY=MASTER_KEY) as up:
        up.start()
        yield up


@pytest.fixture(scope="session")
def first_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    yield from _running(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="session")
def second_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    yield from _running(tmp_path_factory.mktemp("second"))


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    with Driver(tmp_path_factory.mktemp("driver")) as driver:
        yield driver


@pytest.fixture(scope="session")
def client(first_up: Up, driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> ReferenceClient:
    return ReferenceClient(first_up, driver, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def other_client(second_up: Up, driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> ReferenceClient:
    return ReferenceClient(second_up, driver, tmp_path_factory.mktemp("other-home"))

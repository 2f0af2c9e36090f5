"""Two running services, and the reference's client in an environment of its own (`make test-client` makes it)."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workers.running import ROOT, Up

ENVIRONMENT = ROOT / ".venv-client"
MASTER_KEY = "sk-master-of-the-client-0123456789"


class ReferenceClient:
    """The reference's Python client and its command, talking to one server."""

    def __init__(self, up: Up, home: Path) -> None:
        self.url = f"http://127.0.0.1:{up.port}"
        self._home = home

    def call(self, part: str, method: str, *, caller: str = MASTER_KEY, **arguments: Any) -> Any:
        """What the client returns for one call; an AssertionError where it raised."""
        answer = self.outcome(part, method, caller=caller, **arguments)
        assert "returned" in answer, answer
        return answer["returned"]

    def outcome(self, part: str, method: str, *, caller: str = MASTER_KEY, **arguments: Any) -> dict[str, Any]:
        request = {"url": self.url, "key": caller, "part": part, "method": method, "arguments": arguments}
        done = self._run([str(ENVIRONMENT / "bin" / "python"), str(Path(__file__).parent / "drive.py")], [request])
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)[0]
        return answer

    def command(self, *words: str, caller: str = MASTER_KEY) -> subprocess.CompletedProcess[str]:
        """Run the reference's command line."""
        return self._run([str(ENVIRONMENT / "bin" / "lite"), "--base-url", self.url, "--api-key", caller, *words])

    def _run(self, argv: list[str], stdin: Any = None) -> subprocess.CompletedProcess[str]:
        environment = {"HOME": str(self._home), "PATH": "/usr/bin:/bin", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        return subprocess.run(
            argv,
            input=json.dumps(stdin),
            capture_output=True,
            text=True,
            timeout=60,
            env=environment | {"COLUMNS": "200"},
            check=False,
        )


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
def client(first_up: Up, tmp_path_factory: pytest.TempPathFactory) -> ReferenceClient:
    return ReferenceClient(first_up, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def other_client(second_up: Up, tmp_path_factory: pytest.TempPathFactory) -> ReferenceClient:
    return ReferenceClient(second_up, tmp_path_factory.mktemp("other-home"))

"""Logs of calls and a true worker that is killed while it sends them."""

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from redis import Redis

from app import create_app
from app.broker import CeleryDispatch
from app.config import Settings
from app.container import Services, build
from app.dispatch import TaskName
from app.models import call_logs, deliveries
from tests import leaks
from tests.clients import Api
from tests.environment import ENVIRONMENT
from tests.factories import rows
from tests.integrations.receivers import Received, Receiver, answer
from tests.servers import eventually
from tests.workers.worker import Worker

pytestmark = pytest.mark.processes

# A lease is three times as long: so long a killed worker's logs wait for the next one.
OUTBOUND_SECONDS = 0.5
LOGS, KILLS = 350, 3


@pytest.fixture
def environment(store_url: str, redis_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": store_url,
        "REDIS_URL": redis_url,
        **ENVIRONMENT,
        "KEYLEDGER_OUTBOUND_ALLOW": "127.0.0.1",
        "KEYLEDGER_OUTBOUND_SECONDS": str(OUTBOUND_SECONDS),
    }


@pytest.fixture
def running(environment: dict[str, str]) -> Iterator[Services]:
    """The same service in this process, for telling and looking; its clock is the machine's."""
    with closing(build(Settings.parse(environment))) as services:
        yield services


def test_a_worker_that_is_killed_while_it_delivers_loses_no_log(
    environment: dict[str, str], running: Services, tmp_path: Path
):
    taken: list[dict[str, str]] = []
    killed: list[int] = []
    worker = Worker(environment, tmp_path)

    def take(request: Received) -> bytes:
        """Of the first requests every other one is the worker's last: it is killed before it hears the answer."""
        if len(killed) < KILLS and len(receiver.received) % 2 == 1:
            killed.append(len(request.json))
            worker.kill()
        else:
            taken.extend(request.json)
        return answer(200)

    with Receiver() as receiver, worker, Redis.from_url(environment["REDIS_URL"]) as broker:
        receiver.routes["/logs"] = take
        dispatch = CeleryDispatch(environment["REDIS_URL"], broker)
        told = _tell(running, receiver)

        def is_done() -> bool:
            if not worker.is_running():
                worker.start()
            dispatch.send(TaskName.DELIVER, [], message_id=str(uuid.uuid4()), expires_seconds=2)
            left = rows(running.database, deliveries)
            return not left and all(row["payload"] is None for row in rows(running.database, call_logs))

        eventually(is_done, 90)

    assert len(killed) == KILLS
    assert all(killed)
    assert {payload["litellm_call_id"] for payload in taken} == told
    # Each call is one identity, however often it was sent.
    assert len({(payload["id"], payload["litellm_call_id"]) for payload in taken}) == LOGS
    sent = b"".join(request.body + repr(request.headers).encode() for request in receiver.received)
    assert leaks.SECRETS.inside(sent + worker.log().encode()) == set()


def _tell(services: Services, receiver: Receiver) -> set[str]:
    api = Api(create_app(services))
    variables = {"generic_api_endpoint": f"{receiver.url}/logs"}
    key = api.generate(metadata={"logging": [{"callback_name": "generic_api", "callback_vars": variables}]})["key"]
    names = [f"r{number}" for number in range(LOGS)]
    logs = [{"status": "success", "key": key, "request_id": name, "metadata": {"key": key}} for name in names]
    results = api.post("/key/log", {"logs": logs}).body["results"]
    assert [found["callbacks"] for found in results] == [1] * LOGS
    return set(names)

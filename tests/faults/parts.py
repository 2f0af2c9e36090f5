"""The worker and beat as processes of a pair's deployment, to be killed and started again."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from redis import Redis
from redis.exceptions import RedisError

from app.store.heartbeats import Heartbeats, Part
from tests import leaks
from tests.environment import ENVIRONMENT
from tests.faults.web import ROOT, Pair
from tests.servers import Server

JOB_SECONDS = 1


class Process(Server):
    """One part, with the jobs at intervals of a second."""

    def __init__(self, pair: Pair, part: Part) -> None:
        super().__init__()
        self._part = part
        self._url = pair.redis.url
        self._environment = {
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": pair.database_url,
            "REDIS_URL": pair.redis.url,
            **ENVIRONMENT,
            "KEYLEDGER_DATA_DIR": str(self.folder),
            "KEYLEDGER_HEARTBEAT_SECONDS": str(JOB_SECONDS),
            "KEYLEDGER_FOLD_INTERVAL_SECONDS": str(JOB_SECONDS),
            "KEYLEDGER_REAP_INTERVAL_SECONDS": str(JOB_SECONDS),
        }

    def lives(self) -> bool:
        """Whether it runs; where it does not it is started, as whoever keeps it running would do."""
        if self.pids():
            return True
        self._process = self._launch()
        return False

    def answers(self) -> bool:
        """Whether it has given a sign of life to the present Redis."""
        try:
            with Redis.from_url(self._url) as client:
                return Heartbeats(client).read()[self._part] is not None
        except RedisError:
            return False

    def close(self) -> None:
        """Stop it; no key may stand in its log."""
        told = leaks.in_folder(self.folder)
        super().close()
        assert not told, "a plaintext key was logged"

    def _launch(self) -> subprocess.Popen[bytes]:
        return self._spawn([sys.executable, "-m", "app.cli", str(self._part)], environment=self._environment)


@contextmanager
def parts_of(pair: Pair) -> Iterator[tuple[Process, Process]]:
    """Worker and beat, begun."""
    with ExitStack() as stack:
        processes = Process(pair, Part.WORKER), Process(pair, Part.BEAT)
        for process in processes:
            stack.callback(process.close)
            process.lives()
        yield processes

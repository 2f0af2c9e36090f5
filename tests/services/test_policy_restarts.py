"""A Redis that comes back with an old file is a lost Redis, not an old one.

Its file may hold the very tokens under which a process has cached a key before it was blocked. Nothing of them
may count: names carry the server's run_id, which no restart repeats.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from app.store import policies
from app.store.connection import HotRedis
from app.store.policies import Freshness, Policies, Versions
from tests.environment import REDIS_SECONDS
from tests.servers import RedisServer, eventually

KEY = policies.key("k-1")


class SavingRedis(RedisServer):
    """A Redis that starts from the file that it finds: a dump, or the log of its commands."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = self.folder / file

    def start_from(self, copy: Path) -> None:
        """Come back as it was when the copy was taken."""
        self.kill()
        shutil.copyfile(copy, self.file)
        self.start()

    def write_file(self) -> None:
        with Redis.from_url(self.url) as client:
            if self.file.suffix == ".rdb":
                client.save()
            else:
                client.bgrewriteaof()
                eventually(lambda: not client.info("persistence")["aof_rewrite_in_progress"], 10)

    def _spawn(self, argv: list[str], **options: Any) -> subprocess.Popen[bytes]:
        log = "yes" if self.file.suffix == ".aof" else "no"
        return super()._spawn([*argv, "--appendonly", log, "--appendfsync", "always"], **options)


@pytest.fixture(params=["dump.rdb", "appendonly.aof"])
def server(request: pytest.FixtureRequest) -> Iterator[SavingRedis]:
    with SavingRedis(request.param) as server:
        yield server


@pytest.fixture
def process(server: SavingRedis) -> Iterator[Policies]:
    with closing(HotRedis(server.url, seconds=REDIS_SECONDS)) as redis:
        yield Policies(redis, change_seconds=60, commit_seconds=1)


def stored_token(server: SavingRedis, versions: Versions) -> str | None:
    """What the server holds under the name that the token had when it was read."""
    with Redis.from_url(server.url, decode_responses=True) as client:
        found: str | None = client.hget(f"keyledger:{versions.run_id}:policy:{KEY.kind}:{KEY.id}", "token")
    return found


def test_an_old_file_does_not_bring_old_copies_back(
    server: SavingRedis, process: Policies, tmp_path: Path
) -> None:
    blocked_since = process.adopt([KEY])
    server.write_file()
    copy = shutil.copyfile(server.file, tmp_path / "copy")
    with process.change([KEY]):
        pass
    assert process.check(blocked_since) is Freshness.STALE

    server.start_from(copy)

    assert stored_token(server, blocked_since) == blocked_since.tokens[0], "the file is not the old one"
    assert process.check(blocked_since) is Freshness.STALE


def test_a_mark_of_an_earlier_life_does_not_count_in_the_next(
    server: SavingRedis, process: Policies, tmp_path: Path
) -> None:
    with process.change([KEY]):
        server.write_file()
        copy = shutil.copyfile(server.file, tmp_path / "copy")
        server.start_from(copy)

        after = process.adopt([KEY])

        assert not after.dirty

    assert process.check(after) is Freshness.STALE


def test_a_connection_that_was_open_before_a_restart_is_not_used_after_it(
    server: SavingRedis, process: Policies
) -> None:
    before = process.adopt([KEY])

    server.restart()
    after = process.adopt([KEY])

    assert after.run_id != before.run_id
    assert after.tokens != before.tokens
    assert process.check(before) is Freshness.STALE
    assert process.check(after) is Freshness.FRESH

"""The clock decides, not the job: with no worker at all, every reader sees what it sees with one at work.

Two installations get keys of the same kinds. In one, worker and beat write down each second what has passed; in
the other there is only a web process, and nothing is ever written down. Both are asked without a pause while the
instants pass, and every answer is held against the clock; in the end both must tell the same.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest

from app.clock import SystemClock
from app.domain.windows import Calendar
from tests.environment import ENVIRONMENT
from tests.faults.web import Caller, Web
from tests.servers import RedisServer, eventually
from tests.stores import sqlite_template, sqlite_url
from tests.workers.running import Up, rows

pytestmark = pytest.mark.processes

SOON_SECONDS = 30
CLOCK = SystemClock()
WINDOW = timedelta(seconds=3)
INCREASE_SECONDS = 4
ADMINISTRATOR = {"user_id": "boss", "user_role": "proxy_admin"}
# What tells one key from another of its kind, and when each was made.
IDENTITY = frozenset({"token", "key_name", "key_id", "created_at", "updated_at", "settings_updated_at", "expires"})


@dataclass(frozen=True)
class Installation:
    """A web process, a key of an administrator, and the SQLite file."""

    web: Any
    administrator: str
    store: Path

    def get(self, path: str, caller: str | None = None, /, **query: str) -> tuple[int, Any]:
        with Caller(self.web, key=caller or self.administrator) as connection:
            reply = connection.get(f"{path}?{urlencode(query)}")
        return reply.status, reply.body

    def post(self, path: str, caller: str | None = None, /, **body: Any) -> tuple[int, Any]:
        with Caller(self.web, key=caller or self.administrator) as connection:
            reply = connection.post(path, **body)
        return reply.status, reply.body

    def done(self, path: str, **body: Any) -> Any:
        status, answer = self.post(path, **body)
        assert status == 200, answer
        return answer

    def audited(self) -> set[str]:
        """What jobs have written down."""
        return {action for (action,) in rows(self.store, "SELECT action FROM audit WHERE actor_role = 'system'")}


@pytest.fixture(scope="module")
def at_work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Everything runs, and every job each second."""
    intervals = {"KEYLEDGER_EXPIRY_INTERVAL_SECONDS": "1", "KEYLEDGER_RESET_INTERVAL_SECONDS": "1"}
    with Up(tmp_path_factory.mktemp("at-work"), **intervals) as up:
        up.start()
        yield Installation(up, up.post("/user/new", **ADMINISTRATOR)["key"], up.data / "keyledger.sqlite3")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A web process without worker and beat."""
    store = sqlite_template(tmp_path_factory.mktemp("alone"))
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        settings = {
            "DATABASE_URL": sqlite_url(store),
            "REDIS_URL": redis.url,
            **ENVIRONMENT,
        }
        web = stack.enter_context(Web(settings))
        with Caller(web) as caller:
            made = caller.post("/user/new", **ADMINISTRATOR)
        yield Installation(web, made.body["key"], store)


class Keys:
    """One key of each kind in an installation, and the instants at which something about it ends."""

    def __init__(self, installation: Installation) -> None:
        self._in = installation
        made = installation.done("/key/generate", key_alias="expiring", duration="2s")
        self.expiring, self.expires_at = made["key"], datetime.fromisoformat(made["expires"])
        made = installation.done("/key/generate", key_alias="window", budget_duration="3s", spend=1.5)
        self.reset_at = first_reset(made)
        self.raised = self._raised()
        self.old = installation.done("/key/generate", key_alias="rotated")["key"]
        rotated = installation.done("/key/regenerate", key=self.old, grace_period="3s")
        self.rotated, self.rotated_at = rotated["key"], datetime.fromisoformat(rotated["updated_at"])

    def _raised(self) -> str:
        self._in.done("/user/new", user_id="ann", user_role="internal_user", auto_create_key=False)
        made = self._in.done(
            "/key/generate", key_alias="raised", user_id="ann", max_budget=10, metadata={"app": "x"}
        )
        self.lowered_at = CLOCK.now() + timedelta(seconds=INCREASE_SECONDS)
        self._in.done(
            "/key/update", key=made["key"], temp_budget_increase=5, temp_budget_expiry=self.lowered_at.isoformat()
        )
        return made["key"]

    @property
    def over_at(self) -> datetime:
        """The instant after which nothing of all this is left."""
        return max(self.expires_at, self.reset_at, self.lowered_at, self.grace_ends_at)

    @property
    def grace_ends_at(self) -> datetime:
        return self.rotated_at + timedelta(seconds=3)

    # --- what is seen --------------------------------------------------------------------------------------

    def observe(self) -> None:
        """Ask once for everything; each answer must be what the clock says of the moment of its asking."""
        self._opens(self.expiring, self.expires_at)
        self._opens(self.old, self.grace_ends_at)
        assert self._in.get("/key/info", self.rotated)[0] == 200
        for source in (self.info, self.listed):
            sent, row, answered = CLOCK.now(), source("expiring"), CLOCK.now()
            _by_the_clock(sent, answered, self.expires_at, row["status"], "active", "expired")
            sent, row, answered = CLOCK.now(), source("window"), CLOCK.now()
            _by_the_clock(sent, answered, self.reset_at, (row["spend"], row["total_spend"]), (1.5, 1.5), (0, 1.5))
            assert sent < datetime.fromisoformat(row["budget_reset_at"]) <= answered + WINDOW
            sent, row, answered = CLOCK.now(), source("raised"), CLOCK.now()
            _by_the_clock(sent, answered, self.lowered_at, len(row["metadata"]), 3, 1)
        sent, answer, answered = (
            CLOCK.now(),
            self._in.post("/key/generate", self.raised, max_budget=15),
            CLOCK.now(),
        )
        _by_the_clock(sent, answered, self.lowered_at, answer[0], 200, 400)

    def _opens(self, key: str, until: datetime) -> None:
        sent, answer, answered = CLOCK.now(), self._in.get("/key/info", key), CLOCK.now()
        _by_the_clock(sent, answered, until, answer[0], 200, 401)

    def info(self, alias: str) -> dict[str, Any]:
        status, body = self._in.get("/key/info", key=self._token(alias))
        assert status == 200, body
        return body["info"]

    def listed(self, alias: str, **query: str) -> dict[str, Any]:
        status, body = self._in.get("/key/list", key_alias=alias, return_full_object="true", **query)
        assert status == 200, body
        (row,) = body["keys"]
        return row

    def _token(self, alias: str) -> str:
        return self.listed(alias)["token"]

    def told(self) -> dict[str, Any]:
        """What is told of every key, by info and by list, without what tells it from another of its kind."""
        return {
            (source.__name__, alias): {
                name: value for name, value in source(alias).items() if name not in IDENTITY
            }
            for source in (self.info, self.listed)
            for alias in ("expiring", "window", "raised", "rotated")
        }

    def refused(self) -> list[tuple[int, str]]:
        """How the ended are refused: the expired, the one past its grace, what goes beyond the former budget."""
        answers = [
            self._in.get("/key/info", self.expiring),
            self._in.get("/key/info", self.old),
            self._in.post("/key/generate", self.raised, max_budget=15),
        ]
        return [(status, body["error"]["type"]) for status, body in answers]


def first_reset(made: dict[str, Any]) -> datetime:
    """The end of the window in which a key was made."""
    armed_at = datetime.fromisoformat(made["created_at"])
    return Calendar(ZoneInfo("UTC"), time(0)).window(made["budget_duration"], armed_at, armed_at).end


def _by_the_clock(
    sent: datetime, answered: datetime, instant: datetime, seen: Any, before: Any, after: Any
) -> None:
    """An answer is the one of before or of after; asked while the instant passed, it may be either."""
    allowed = ([before] if sent < instant else []) + ([after] if answered >= instant else [])
    assert seen in allowed, f"asked from {sent} to {answered}, with {instant} between before and after"


def test_without_any_worker_keys_windows_increases_and_graces_end_at_their_instants(
    at_work: Installation, alone: Installation
) -> None:
    kept, left = Keys(at_work), Keys(alone)

    while CLOCK.now() <= max(kept.over_at, left.over_at):
        kept.observe()
        left.observe()
    eventually(lambda: at_work.audited() >= {"expire", "reset", "end_increase", "end_grace"}, SOON_SECONDS)
    kept.observe()
    left.observe()

    # A window may pass between the one question and the other, but not always.
    eventually(lambda: kept.told() == left.told(), SOON_SECONDS)
    refusals = [(401, "expired_key"), (401, "token_not_found_in_db"), (400, "invalid_request_error")]
    assert (kept.refused(), left.refused()) == (refusals, refusals)
    for keys in (kept, left):
        assert keys.listed("expiring", status="expired")["status"] == "expired"
    assert alone.audited() == set(), "no job should have run"
    assert rows(alone.store, "SELECT count(*) FROM keys WHERE expiry_recorded_at IS NOT NULL") == [(0,)]

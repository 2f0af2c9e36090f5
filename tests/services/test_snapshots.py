"""What a process remembers of a key: how little it asks, and that it never remembers too long."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, event, insert, select, update

from app.config import Settings
from app.container import Services, build
from app.db import Database
from app.domain import minting
from app.domain.minting import Secret
from app.models import key_secrets, keys, teams
from app.services.audit import SYSTEM, Act
from app.services.snapshots import Snapshots
from app.store import policies
from app.store.connection import HotRedis, Lease, Script
from app.store.policies import Policies
from tests.clocks import MovableClock
from tests.faults.proxy import RedisProxy
from tests.servers import RedisServer, eventually

ADOPT = policies._ADOPT


@dataclass
class Statements:
    """Counts what is sent to SQL."""

    texts: list[str] = field(default_factory=list)

    def during(self, work: Callable[[], Any]) -> int:
        before = len(self.texts)
        work()
        return len(self.texts) - before


@contextmanager
def counted(engine: Engine) -> Iterator[Statements]:
    statements = Statements()

    def note(_conn: Any, _cursor: Any, text: str, *_: Any) -> None:
        statements.texts.append(text)

    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


class Interrupted(HotRedis):
    """A connection to Redis after each of whose calls of one script something else happens."""

    def __init__(self, url: str, script: Script, then: Callable[[], None]) -> None:
        super().__init__(url)
        self._script, self._then = script, then

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        with super().lease() as lease:
            run, ran = lease.run, []

            def noting(script: Script, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
                ran.append(script)
                return run(script, keys, arguments)

            lease.run = noting  # type: ignore[method-assign]
            yield lease
        if self._script in ran:
            self._then()


@pytest.fixture
def act(clock: MovableClock) -> Act:
    return Act(SYSTEM, clock.now())


@pytest.fixture
def writer(settings: Settings, clock: MovableClock) -> Iterator[Services]:
    """Another process, which changes keys."""
    services = build(settings, clock)
    yield services
    services.close()


@pytest.fixture
def new(database: Database, redis_url: str) -> Iterator[Callable[..., Snapshots]]:
    """Make the memory of one more process."""
    opened: list[HotRedis] = []

    def make(redis: HotRedis | None = None, seconds: float = 60) -> Snapshots:
        opened.append(redis or HotRedis(redis_url))
        return Snapshots(database, Policies(opened[-1], change_seconds=60, commit_seconds=1), seconds=seconds)

    yield make
    for redis in opened:
        redis.close()


@pytest.fixture
def snapshots(new: Callable[..., Snapshots]) -> Snapshots:
    return new()


def make_key(services: Services, act: Act, **fields: Any) -> str:
    return services.keys.generate(act, fields, "/key/generate").view.token


def add_team(database: Database, clock: MovableClock, team_id: str) -> None:
    now = clock.now()
    with database.transaction() as tx:
        tx.execute(insert(teams).values(team_id=team_id, created_at=now, updated_at=now))


# --- how much is asked ---------------------------------------------------------------------------------------------


def test_a_cold_key_costs_two_statements_and_a_warm_one_none(
    writer: Services, snapshots: Snapshots, database: Database, act: Act
) -> None:
    token = make_key(writer, act)
    with counted(database.engine) as sql:
        cold = sql.during(lambda: snapshots.of(token, act.at))
        warm = sql.during(lambda: snapshots.of(token, act.at))

    assert (cold, warm) == (2, 0)


def test_an_absent_key_is_remembered_as_absent(snapshots: Snapshots, database: Database, act: Act) -> None:
    token = minting.digest("sk-nobody-has-ever-made-this")
    with counted(database.engine) as sql:
        cold = sql.during(lambda: snapshots.of(token, act.at))
        warm = sql.during(lambda: snapshots.of(token, act.at))

    assert (cold, warm) == (2, 0)
    assert snapshots.of(token, act.at) is None


def test_without_redis_sql_decides_every_request_and_nothing_is_kept(
    writer: Services, new: Callable[..., Snapshots], database: Database, act: Act, redis_server: RedisServer
) -> None:
    warm_token, cold_token = make_key(writer, act), make_key(writer, act)
    with RedisProxy(redis_server.port) as proxy, counted(database.engine) as sql:
        snapshots = new(HotRedis(proxy.url))
        snapshots.of(warm_token, act.at)
        proxy.cut()

        warm = [sql.during(lambda: snapshots.of(warm_token, act.at)) for _ in range(2)]
        cold = [sql.during(lambda: snapshots.of(cold_token, act.at)) for _ in range(2)]

    assert (warm, cold) == ([1, 1], [2, 2])


# --- what makes a copy stale ---------------------------------------------------------------------------------------

VERBS: dict[str, Callable[[Services, Act, str], Any]] = {
    "block": lambda services, act, key: services.key_ends.set_blocked(act, key, "/key/block", blocked=True),
    "update": lambda services, act, key: services.key_changes.update(
        act, {"key": key, "blocked": True}, "/key/update"
    ),
    "delete": lambda services, act, key: services.key_ends.delete(act, [key], []),
}


@pytest.mark.parametrize("verb", VERBS)
def test_another_process_sees_a_change_at_once(
    writer: Services, snapshots: Snapshots, act: Act, verb: str
) -> None:
    token = make_key(writer, act)
    before = snapshots.of(token, act.at)

    VERBS[verb](writer, act, token)
    after = snapshots.of(token, act.at)

    assert before is not None
    assert not before.key["blocked"]
    assert after is None or after.key["blocked"]


def test_unblocking_is_seen_at_once(writer: Services, snapshots: Snapshots, act: Act) -> None:
    token = make_key(writer, act, blocked=True)
    assert snapshots.of(token, act.at).key["blocked"]  # type: ignore[union-attr]

    writer.key_ends.set_blocked(act, token, "/key/unblock", blocked=False)

    assert not snapshots.of(token, act.at).key["blocked"]  # type: ignore[union-attr]


def test_a_remembered_absence_ends_when_the_key_is_made(writer: Services, snapshots: Snapshots, act: Act) -> None:
    chosen = Secret("sk-chosen-by-the-caller-1")
    assert snapshots.of(minting.digest(chosen.reveal()), act.at) is None

    token = make_key(writer, act, key=chosen.reveal())

    assert snapshots.of(token, act.at) is not None


def test_a_key_made_again_after_its_deletion_is_seen_at_once(
    writer: Services, snapshots: Snapshots, act: Act
) -> None:
    chosen = "sk-chosen-by-the-caller-2"
    token = make_key(writer, act, key=chosen)
    snapshots.of(token, act.at)
    writer.key_ends.delete(act, [token], [])
    assert snapshots.of(token, act.at) is None

    make_key(writer, act, key=chosen, tpm_limit=7)

    assert snapshots.of(token, act.at).key["tpm_limit"] == 7  # type: ignore[union-attr]


def test_a_copy_hangs_on_the_versions_that_were_read_before_it(
    writer: Services, new: Callable[..., Snapshots], database: Database, act: Act, redis_url: str
) -> None:
    token = make_key(writer, act)
    pending = [lambda: VERBS["block"](writer, act, token)]
    snapshots = new(Interrupted(redis_url, ADOPT, lambda: pending.pop()() if pending else None))

    snapshots.of(token, act.at)
    with counted(database.engine) as sql:
        again = sql.during(lambda: snapshots.of(token, act.at))

    assert again == 2, "a copy is kept as if it were as new as the versions that came after it"
    assert snapshots.of(token, act.at).key["blocked"]  # type: ignore[union-attr]


def test_while_a_change_is_under_way_sql_decides_and_nothing_is_kept(
    writer: Services, snapshots: Snapshots, database: Database, act: Act
) -> None:
    token = make_key(writer, act)
    found = snapshots.of(token, act.at)
    assert found is not None
    with (
        writer.keys._policies.change([policies.key(found.key["key_id"])]),
        counted(database.engine) as sql,
    ):
        counts = [sql.during(lambda: snapshots.of(token, act.at)) for _ in range(3)]
        with database.transaction() as tx:
            tx.execute(update(keys).values(blocked=True))
        seen = snapshots.of(token, act.at)

    assert counts == [2, 2, 2]
    assert seen is not None
    assert seen.key["blocked"]


# --- ids that move -------------------------------------------------------------------------------------------------


def move(database: Database, token: str, team_id: str) -> None:
    """Change the key's team behind everybody's back."""
    key_id = select(key_secrets.c.key_id).where(key_secrets.c.token == token).scalar_subquery()
    with database.transaction() as tx:
        tx.execute(update(keys).where(keys.c.key_id == key_id).values(team_id=team_id))


def test_ids_that_move_between_two_reads_are_read_again(
    writer: Services,
    new: Callable[..., Snapshots],
    database: Database,
    act: Act,
    clock: MovableClock,
    redis_url: str,
) -> None:
    add_team(database, clock, "new")
    token = make_key(writer, act, team_id="old")
    pending = [lambda: move(database, token, "new")]
    snapshots = new(Interrupted(redis_url, ADOPT, lambda: pending.pop()() if pending else None))

    seen = snapshots.of(token, act.at)
    with database.transaction() as tx:
        tx.execute(update(teams).where(teams.c.team_id == "new").values(blocked=True))
    writer.keys._policies.publish([policies.team("new")])
    later = snapshots.of(token, act.at)

    assert seen is not None
    assert later is not None
    assert (seen.team or {})["team_id"] == "new"
    assert (later.team or {})["blocked"], "the copy does not hang on the team that it was moved to"


def test_ids_that_never_stand_still_are_answered_from_sql_and_not_kept(
    writer: Services, new: Callable[..., Snapshots], database: Database, act: Act, redis_url: str
) -> None:
    token = make_key(writer, act, team_id="0")
    moves = iter(range(1, 100))
    snapshots = new(Interrupted(redis_url, ADOPT, lambda: move(database, token, str(next(moves)))))

    first, second = snapshots.of(token, act.at), snapshots.of(token, act.at)

    assert first is not None
    assert second is not None
    assert (first.key["team_id"], second.key["team_id"]) == ("5", "10")


# --- time ----------------------------------------------------------------------------------------------------------


def test_a_secret_in_grace_closes_at_its_instant_though_no_version_changes(
    writer: Services, snapshots: Snapshots, database: Database, act: Act, clock: MovableClock
) -> None:
    token = make_key(writer, act)
    in_grace = minting.digest("sk-in-grace-until-the-clock-says-so")
    revoke_at = clock.now() + timedelta(hours=1)
    with database.transaction() as tx:
        key_id = tx.execute(select(key_secrets.c.key_id).where(key_secrets.c.token == token)).scalar_one()
        tx.execute(
            insert(key_secrets).values(
                token=in_grace, key_id=key_id, key_name="sk-...o", created_at=clock.now(), revoke_at=revoke_at
            )
        )

    assert snapshots.of(in_grace, revoke_at - timedelta(microseconds=1)) is not None
    assert snapshots.of(in_grace, revoke_at) is None
    assert snapshots.of(in_grace, revoke_at) is None


def test_a_copy_never_grows_older_than_the_limit(
    writer: Services, new: Callable[..., Snapshots], database: Database, act: Act, redis_url: str
) -> None:
    """What a writer that was killed before it could publish leaves when its mark was lost as well."""
    token = make_key(writer, act)
    snapshots = new(seconds=0.2)
    snapshots.of(token, act.at)
    with database.transaction() as tx:
        tx.execute(update(keys).values(blocked=True))

    assert eventually(lambda: snapshots.of(token, act.at).key["blocked"], 5)  # type: ignore[union-attr]


def test_a_lost_redis_is_an_empty_memory(
    writer: Services, snapshots: Snapshots, database: Database, act: Act, redis_url: str
) -> None:
    token = make_key(writer, act)
    snapshots.of(token, act.at)
    with Redis.from_url(redis_url) as client, counted(database.engine) as sql:
        client.flushall()

        assert sql.during(lambda: snapshots.of(token, act.at)) == 2
        assert sql.during(lambda: snapshots.of(token, act.at)) == 0

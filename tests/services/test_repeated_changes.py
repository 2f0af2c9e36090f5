"""A change that stands but was not announced is announced by being sent again, whatever is left to do by then.

The one order of events that leaves an old copy in force: Redis loses the mark, another process keeps the old
state, the change is committed, its publication fails. The writer says so; whoever asks again ends the old state.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from redis import Redis
from sqlalchemy import Connection, event

from app.config import Settings
from app.container import Services, build
from app.errors import Conflict, NothingFound, ServiceError, StoreUnavailable, UnknownKey, WriteStands
from app.services.audit.audit import Act
from app.store import policies
from tests.clocks import MovableClock
from tests.faults.proxy import Command, Cut, RedisProxy, runs

OLD, NEW, GRACED = "sk-old-0123456789abcdef", "sk-new-0123456789abcdef", "sk-graced-0123456789abcdef"


@pytest.fixture
def writer(settings: Settings, clock: MovableClock, proxy: RedisProxy) -> Iterator[Services]:
    """The process that changes keys, and reaches Redis only as a test allows."""
    with closing(build(replace(settings, redis_url=proxy.url, hot_redis_url=proxy.url), clock)) as services:
        yield services


@contextmanager
def unannounced(writer: Services, proxy: RedisProxy, reader: Services, act: Act, *secrets: str) -> Iterator[None]:
    """Lose the mark of a change, let the reader keep the state of then by these secrets, and the publication fail."""

    def lose_the_mark(_: Connection) -> None:
        with Redis.from_url(reader.settings.redis_url) as redis:
            redis.flushall()
        for secret in secrets:
            reader.callers.authenticate(secret, act.at)

    def fail_to_publish(command: Command) -> None:
        if runs(command, policies._PUBLISH):
            raise Cut

    event.listen(writer.database.engine, "commit", lose_the_mark)
    proxy.watch = fail_to_publish
    with pytest.raises(WriteStands):
        yield
    event.remove(writer.database.engine, "commit", lose_the_mark)
    proxy.watch = None
    for secret in secrets:
        reader.callers.authenticate(secret, act.at)  # the old copy decides, which is why the writer said so


def assert_closed(reader: Services, act: Act, *secrets: str) -> None:
    for secret in secrets:
        with pytest.raises(UnknownKey):
            reader.callers.authenticate(secret, act.at)


@pytest.fixture
def key_id(writer: Services, act: Act) -> str:
    """A key with an alias, a secret and another one in grace."""
    made = writer.keys.generate(act, {"key": GRACED, "key_alias": "twice"}, "/key/generate")
    writer.key_rotation.regenerate(act, GRACED, {"new_key": OLD, "grace_period": "1d"}, "/key/regenerate")
    return made.view.key_id


DELETED_BY: dict[str, Callable[[Services, Act], object]] = {
    "plaintext": lambda services, act: services.key_ends.delete(act, [OLD], []),
    "secret in grace": lambda services, act: services.key_ends.delete(act, [GRACED], []),
    "alias": lambda services, act: services.key_ends.delete(act, [], ["twice"]),
    "name beside one that lives": lambda services, act: services.key_ends.delete(act, [OLD], ["other"]),
}


@pytest.mark.parametrize("name", DELETED_BY)
@pytest.mark.usefixtures("key_id")
def test_a_delete_that_is_sent_again_ends_what_copies_are_left(
    services: Services, writer: Services, proxy: RedisProxy, act: Act, name: str
):
    delete = DELETED_BY[name]
    with unannounced(writer, proxy, services, act, OLD, GRACED):
        delete(writer, act)
    writer.keys.generate(act, {"key_alias": "other"}, "/key/generate")

    if name.endswith("lives"):
        assert delete(writer, act) == ["other"]
    else:
        with pytest.raises(NothingFound):
            delete(writer, act)

    assert_closed(services, act, OLD, GRACED)


@pytest.mark.usefixtures("key_id")
def test_a_delete_that_is_sent_again_and_cannot_be_announced_is_no_verdict(
    services: Services, writer: Services, proxy: RedisProxy, act: Act
):
    with unannounced(writer, proxy, services, act, OLD):
        writer.key_ends.delete(act, [OLD], [])
    proxy.cut()

    with pytest.raises(StoreUnavailable):
        writer.key_ends.delete(act, [OLD], [])


REPEATED: dict[str, tuple[str, dict[str, str], type[ServiceError] | None]] = {
    # What a repeat by this name meets, and how it is answered.
    "a secret that opens nothing any more": (OLD, {}, NothingFound),
    "a secret in grace": (OLD, {"grace_period": "1h"}, None),
    "a secret in grace, the new one chosen": (OLD, {"grace_period": "1h", "new_key": NEW}, Conflict),
}


@pytest.mark.parametrize("case", REPEATED)
def test_a_regenerate_that_is_sent_again_ends_what_copies_are_left(
    services: Services, writer: Services, proxy: RedisProxy, act: Act, key_id: str, case: str
):
    name, sent, error = REPEATED[case]
    sent = {**sent, "team_id": "gone-over-to"}
    with unannounced(writer, proxy, services, act, OLD, GRACED):
        writer.key_rotation.regenerate(act, name, sent, "/key/regenerate")

    if error is None:
        writer.key_rotation.regenerate(act, name, sent, "/key/regenerate")
    else:
        with pytest.raises(error):
            writer.key_rotation.regenerate(act, name, sent, "/key/regenerate")

    if error is NothingFound:
        assert_closed(services, act, OLD)
    assert services.callers.authenticate(GRACED, act.at).team_id == "gone-over-to"
    assert services.key_reads.info(act, GRACED).key_id == key_id


CHANGED: dict[str, Callable[[Services, Act], object]] = {
    "block": lambda services, act: services.key_ends.set_blocked(act, OLD, "/key/block", blocked=True),
    "update": lambda services, act: services.key_changes.update(act, {"key": OLD, "blocked": True}, "/key/update"),
}


@pytest.mark.parametrize("verb", CHANGED)
@pytest.mark.usefixtures("key_id")
def test_a_change_that_is_sent_again_ends_what_copies_are_left(
    services: Services, writer: Services, proxy: RedisProxy, act: Act, verb: str
):
    with unannounced(writer, proxy, services, act, OLD, GRACED):
        CHANGED[verb](writer, act)

    CHANGED[verb](writer, act)

    for secret in (OLD, GRACED):
        with pytest.raises(ServiceError, match="blocked"):
            services.callers.authenticate(secret, act.at)


@pytest.mark.usefixtures("key_id")
def test_what_was_deleted_long_ago_is_announced_no_more(
    writer: Services, proxy: RedisProxy, clock: MovableClock, act: Act
):
    writer.key_ends.delete(act, [OLD], ["twice"])
    commands: list[Command] = []
    proxy.watch = commands.append

    clock.advance(timedelta(hours=2))
    with pytest.raises(NothingFound):
        writer.key_ends.delete(replace(act, at=clock.now()), [OLD], ["twice"])

    assert commands == []

"""What every command does first: read the settings, see that the stores answer, and say in one line where not."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from app.config import Settings
    from app.container import Services


def settings() -> "Settings":
    """The settings of a process of a deployment: all that it needs stands in its environment."""
    return _parsed(os.environ)  # noqa: TID251 - a command is where a process begins


def settings_beside_up() -> "Settings":
    """The settings of an operator's command, which may leave to the data directory what that knows."""
    from app.data_dir import Unusable  # noqa: PLC0415
    from app.local_environment import beside_up  # noqa: PLC0415

    try:
        return _parsed(beside_up(os.environ))  # noqa: TID251 - as above
    except Unusable as fault:
        fail(str(fault))


def _parsed(environment: Mapping[str, str]) -> "Settings":
    from app.config import BadSettings, Settings  # noqa: PLC0415

    try:
        return Settings.parse(environment)
    except BadSettings as bad:
        fail(*bad.faults)


def require(answers: Callable[["Settings"], None], settings: "Settings") -> None:
    from app.errors import StoreUnavailable  # noqa: PLC0415

    try:
        answers(settings)
    except StoreUnavailable as unavailable:
        fail(unavailable.message)


@contextmanager
def opened() -> Iterator["Services"]:
    """The services of an operator's command, on the stores that the settings name; ends it where they are away."""
    from app import container  # noqa: PLC0415
    from app.errors import StoreUnavailable  # noqa: PLC0415

    found = settings_beside_up()
    require(sql_answers, found)
    services = container.build(found)
    try:
        yield services
    except StoreUnavailable as unavailable:
        fail(unavailable.message)
    finally:
        services.close()


def sql_answers(settings: "Settings") -> None:
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from app.db import Database, normalise_url  # noqa: PLC0415
    from app.errors import SqlUnavailable, reason_of  # noqa: PLC0415

    try:
        database = Database(settings.database_url, pool_size=1, busy_seconds=settings.busy_seconds)
        try:
            database.ping()
        finally:
            database.close()
    except (SqlUnavailable, SQLAlchemyError, OSError) as error:
        where = normalise_url(settings.database_url).render_as_string(hide_password=True)
        raise SqlUnavailable(f"The SQL store {where} does not answer: {reason_of(error)}.") from error


def redis_answers(settings: "Settings") -> None:
    import redis  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    from app.errors import RedisUnavailable, reason_of  # noqa: PLC0415

    once = Retry(NoBackoff(), 0)
    for url in {settings.redis_url, settings.hot_redis_url}:
        try:
            with redis.Redis.from_url(url, socket_timeout=2.0, socket_connect_timeout=2.0, retry=once) as client:
                client.ping()
        except (redis.RedisError, ValueError, OSError) as error:
            where = _without_password(url)
            raise RedisUnavailable(f"Redis at {where} does not answer: {reason_of(error)}.") from error


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}".partition("?")[0]


def fail(*faults: str) -> NoReturn:
    for fault in faults:
        click.echo(f"keyledger: {fault}", err=True)
    sys.exit(1)

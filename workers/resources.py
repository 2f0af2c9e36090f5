"""What one worker or beat process holds, made on first use: its settings, its services, its signs of life.

A pool process makes its own after the fork, because connections do not survive one.
"""

from functools import cache
from typing import TYPE_CHECKING

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.config import Settings, from_environment
from app.store.heartbeats import Heartbeats

if TYPE_CHECKING:
    from app.container import Services

# A sign of life is written from inside the loop that it vouches for: better missed than waited for.
HEARTBEAT_STORE_SECONDS = 1.0


@cache
def settings() -> Settings:
    """The settings of this process; raises BadSettings."""
    return from_environment()


@cache
def services() -> "Services":
    """The services of this process."""
    from app.container import build  # noqa: PLC0415 - beat has no use for them

    return build(settings())


@cache
def broker() -> Redis:
    """The broker, for what is asked in between and must not keep anybody waiting."""
    return Redis.from_url(
        settings().redis_url,
        socket_timeout=HEARTBEAT_STORE_SECONDS,
        socket_connect_timeout=HEARTBEAT_STORE_SECONDS,
        retry=Retry(NoBackoff(), 1),
    )


@cache
def heartbeats() -> Heartbeats:
    """Where this process leaves its signs of life."""
    return Heartbeats(broker())


def release() -> None:
    """Let go of all that this process holds; what is asked for afterwards is made anew."""
    if services.cache_info().currsize:
        services().close()
    for held in (services, heartbeats, broker, settings):
        held.cache_clear()

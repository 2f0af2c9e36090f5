"""The commands of `keyledger`: one for everything on this machine, one for each process of a deployment.

A process command parses its settings once and sees that its stores answer; a fault is one plain line on stderr
and exit status 1. Then it becomes the real program, so that signals go straight to it. Imports are made where
they are needed: a supervisor or a server's main process should not carry what only its children use.
"""

import os
import runpy
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NoReturn

import click

from app.dispatch import QueueName

if TYPE_CHECKING:
    from app.config import Settings

# Between two batches others get their turn at the store's one writing place.
PAUSE_SECONDS = 0.05
CELERY = ("celery", "--app", "workers.celery", "--quiet")


# So many drifts are printed: whoever has more has one cause for all of them.
MOST_DRIFTS = 100


@click.group(name="keyledger")
def main() -> None:
    """Virtual keys for LLM gateways: issue, limit, revoke and account for them.

    Settings come from the environment; README.md lists them.
    """


@main.command()
def up() -> None:
    """Run everything on this machine: store, Redis, web, worker and beat."""
    from app.supervisor import up as run_all  # noqa: PLC0415

    sys.exit(run_all())


@main.command()
@click.option("--host", help="The address to listen on, in place of KEYLEDGER_HOST.")
def web(host: str | None) -> None:
    """Serve HTTP on KEYLEDGER_HOST and PORT with WEB_CONCURRENCY processes."""
    if host:
        os.environ["KEYLEDGER_HOST"] = host  # noqa: TID251 - what the server's own processes will parse
    settings = _settings()
    _check(_sql_answers, settings)
    _become("app.serving")


@main.command()
def worker() -> None:
    """Run the jobs and deliveries that are due."""
    settings = _settings()
    _check(_sql_answers, settings)
    _check(_redis_answers, settings)
    _become(
        *(*CELERY, "worker", "--queues", ",".join(QueueName), "--loglevel", settings.log_level),
        # Nobody listens to what workers tell each other.
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    )


@main.command()
def beat() -> None:
    """Send the periodic jobs to the queue; a second one waits for the first to end."""
    settings = _settings()
    _check(_redis_answers, settings)
    # The short form of --scheduler means another thing for `worker`: always spelt out.
    _become(*CELERY, "beat", "--scheduler", "workers.heartbeat:Scheduler", "--loglevel", settings.log_level)


@main.command()
def migrate() -> None:
    """Bring the schema of the SQL store up to date."""
    settings = _settings()
    _check(_sql_answers, settings)
    _check(_upgrade, settings)


@main.group()
def secrets() -> None:
    """Care for the secrets that are stored sealed."""


@secrets.command()
def rotate() -> None:
    """Seal every stored secret anew, under KEYLEDGER_SALT_KEY.

    Give all processes the new key, and the old one as KEYLEDGER_PREVIOUS_SALT_KEY, first. Stopped half-way, it is
    started again; when it has ended well, the previous key can be forgotten.
    """
    settings = _settings()
    _check(_sql_answers, settings)
    _check(_rotate, settings)


@main.group()
def ledger() -> None:
    """The balances of all accounts."""


@ledger.command()
def check() -> None:
    """Recompute every balance from the ledger; exits with 1 where one has drifted. Changes nothing."""
    settings = _settings()
    _check(_sql_answers, settings)
    sys.exit(_ledger_check(settings))


@ledger.command()
def rebase() -> None:
    """Set the counters in Redis to what the ledger says. May be interrupted, and run while calls are decided."""
    settings = _settings()
    _check(_sql_answers, settings)
    _check(_redis_answers, settings)
    _rebase(settings)


@main.group()
def events() -> None:
    """What was told to the outside, and what could not be."""


@events.command("list")
@click.option("--state", type=click.Choice(["waiting", "parked", "delivered", "unaddressed"]))
@click.option("--kind", help="Such as budget_crossed.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
def list_events(state: str | None, kind: str | None, limit: int) -> None:
    """Print the newest events, one a line: id, instant, kind, entity, state."""
    from app import event_commands  # noqa: PLC0415

    settings = _settings()
    _check(_sql_answers, settings)
    _print(event_commands.listed(settings, state=state, kind=kind, limit=limit))


@events.command()
@click.argument("event_ids", nargs=-1, metavar="[ID]...")
@click.option("--parked", is_flag=True, help="All deliveries that were given up.")
@click.option("--target", help="With --parked: only those to this target, such as slack:0.")
def replay(event_ids: tuple[str, ...], parked: bool, target: str | None) -> None:
    """Send events again: what was given up, else what was delivered, with the same ids."""
    if parked == bool(event_ids) or (target is not None and not parked):
        raise click.UsageError("Name events, or --parked with or without --target.")
    from app import event_commands  # noqa: PLC0415

    settings = _settings()
    _check(_sql_answers, settings)
    if parked:
        _print(event_commands.replayed_parked(settings, target))
    else:
        _print(event_commands.replayed(settings, event_ids))


def _settings() -> "Settings":
    from app.config import BadSettings, from_environment  # noqa: PLC0415

    try:
        return from_environment()
    except BadSettings as bad:
        _fail(*bad.faults)


def _check(answers: Callable[["Settings"], None], settings: "Settings") -> None:
    from app.errors import StoreUnavailable  # noqa: PLC0415

    try:
        answers(settings)
    except StoreUnavailable as unavailable:
        _fail(unavailable.message)


def _print(lines: Iterable[str]) -> None:
    from app.errors import ServiceError  # noqa: PLC0415

    try:
        for line in lines:
            click.echo(line)
    except ServiceError as error:
        _fail(error.message)


def _upgrade(settings: "Settings") -> None:
    from app.db import Database  # noqa: PLC0415
    from app.migrate import upgrade  # noqa: PLC0415

    database = Database(settings.database_url, pool_size=1, busy_seconds=settings.busy_seconds)
    try:
        upgrade(database)
    finally:
        database.close()


def _rotate(settings: "Settings") -> None:
    from app.container import build  # noqa: PLC0415

    services = build(settings)
    unopened = 0
    try:
        for batch in services.secret_rotation.batches():
            click.echo(f"{batch.table}: {batch.rows} rows read, {batch.resealed} sealed anew")
            unopened += batch.unopened
            time.sleep(PAUSE_SECONDS)
    finally:
        services.close()
    if unopened:
        _fail(f"{unopened} rows hold a secret that neither salt key opens; they were left as they are.")
    click.echo("Every stored secret is sealed with the present salt key.")


def _ledger_check(settings: "Settings") -> int:
    from app import container  # noqa: PLC0415
    from app.domain.money import dollars  # noqa: PLC0415

    services = container.build(settings)
    try:
        found = services.ledger_check.check(MOST_DRIFTS)
    finally:
        services.close()
    for drift in found.drifts:
        named = ":".join(part for part in (drift.scope, drift.scope_id, drift.sub) if part)
        for what, amounts in (("lifetime", drift.lifetime), ("window", drift.window)):
            if amounts is not None:
                held, owed = map(dollars, amounts)
                click.echo(f"{named}: the {what} spend is {held}, the ledger says {owed}", err=True)
    more = " or more" if len(found.drifts) == MOST_DRIFTS else ""
    click.echo(
        f"{found.accounts} accounts against {found.entries} ledger rows: "
        f"{len(found.drifts)}{more} drifted, {found.unknown} windows are checked from their next start on"
    )
    return 1 if found.drifts else 0


def _rebase(settings: "Settings") -> None:
    from app import container  # noqa: PLC0415

    services = container.build(settings)
    done = 0
    try:
        for count in services.ledger_check.rebase():
            done += count
            click.echo(f"\r{done} accounts", nl=False, err=True)
    finally:
        services.close()
    click.echo(f"\r{done} accounts: their counters are what the ledger says", err=True)


def _sql_answers(settings: "Settings") -> None:
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from app.db import Database, normalise_url  # noqa: PLC0415
    from app.errors import StoreUnavailable  # noqa: PLC0415

    try:
        database = Database(settings.database_url, pool_size=1, busy_seconds=settings.busy_seconds)
        try:
            database.ping()
        finally:
            database.close()
    except (StoreUnavailable, SQLAlchemyError, OSError) as error:
        where = normalise_url(settings.database_url).render_as_string(hide_password=True)
        raise StoreUnavailable(f"The SQL store {where} does not answer: {_reason(error)}.") from error


def _redis_answers(settings: "Settings") -> None:
    import redis  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    from app.errors import StoreUnavailable  # noqa: PLC0415

    once = Retry(NoBackoff(), 0)
    for url in {settings.redis_url, settings.hot_redis_url}:
        try:
            with redis.Redis.from_url(url, socket_timeout=2.0, socket_connect_timeout=2.0, retry=once) as client:
                client.ping()
        except (redis.RedisError, ValueError, OSError) as error:
            where = _without_password(url)
            raise StoreUnavailable(f"Redis at {where} does not answer: {_reason(error)}.") from error


def _reason(error: BaseException) -> str:
    """The first line of what lies at the bottom of an error."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}".partition("?")[0]


def _become(module: str, *arguments: str) -> None:
    """Go on as another program in this very process, by name: nothing here imports the web or the workers."""
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _fail(*faults: str) -> NoReturn:
    for fault in faults:
        click.echo(f"keyledger: {fault}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()

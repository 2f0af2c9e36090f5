"""The commands of `keyledger`: one for everything on this machine, one for each process of a deployment.

A process command parses its settings once and sees that its stores answer; a fault is one plain line on stderr
and exit status 1. Then it becomes the real program, so that signals go straight to it. Imports are made where
they are needed: a supervisor or a server's main process should not carry what only its children use.
"""

import atexit
import os
import runpy
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING

import click

from app.commands.events import events
from app.commands.jobs import jobs
from app.commands.ledger import ledger
from app.commands.secrets import secrets
from app.commands.starting import redis_answers, require, settings, settings_beside_up, sql_answers
from app.dispatch import QueueName

if TYPE_CHECKING:
    from app.config import Settings

COUNTED_IN = "PROMETHEUS_MULTIPROC_DIR"
CELERY = ("celery", "--app", "workers.celery", "--quiet")


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
    found = settings()
    require(sql_answers, found)
    _count_together()
    _become("app.serving")


@main.command()
def worker() -> None:
    """Run the jobs and deliveries that are due."""
    found = settings()
    require(sql_answers, found)
    require(redis_answers, found)
    _count_together()
    _become(
        *(*CELERY, "worker", "--queues", ",".join(QueueName), "--loglevel", found.log_level),
        # Nobody listens to what workers tell each other.
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    )


@main.command()
def beat() -> None:
    """Send the periodic jobs to the queue; a second one waits for the first to end."""
    found = settings()
    require(redis_answers, found)
    # The short form of --scheduler means another thing for `worker`: always spelt out.
    _become(*CELERY, "beat", "--scheduler", "workers.heartbeat:Scheduler", "--loglevel", found.log_level)


@main.command()
def migrate() -> None:
    """Bring the schema of the SQL store up to date."""
    found = settings_beside_up()
    require(sql_answers, found)
    require(_upgrade, found)


for group in (events, jobs, ledger, secrets):
    main.add_command(group)


def _upgrade(settings: "Settings") -> None:
    from app.db import Database  # noqa: PLC0415
    from app.migrate import upgrade  # noqa: PLC0415

    database = Database(settings.database_url, pool_size=1, busy_seconds=settings.busy_seconds)
    try:
        upgrade(database)
    finally:
        database.close()


def _count_together() -> None:
    """Give the processes of this program a place to count together, for as long as this one lives."""
    if os.environ.get(COUNTED_IN):  # noqa: TID251 - the name is prometheus-client's own, which reads it there
        return
    place, own = tempfile.mkdtemp(prefix="keyledger-metrics-"), os.getpid()
    os.environ[COUNTED_IN] = place  # noqa: TID251 - what this program's own processes will parse

    @atexit.register
    def _remove() -> None:
        if os.getpid() == own:
            shutil.rmtree(place, ignore_errors=True)


def _become(module: str, *arguments: str) -> None:
    """Go on as another program in this very process, by name: nothing here imports the web or the workers."""
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

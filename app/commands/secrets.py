"""`keyledger secrets`: care for the secrets that are stored sealed."""

import time

import click

from app.commands.starting import fail, opened
from app.services.jobs.job_batches import PAUSE_SECONDS


@click.group()
def secrets() -> None:
    """Care for the secrets that are stored sealed."""


@secrets.command()
def rotate() -> None:
    """Seal every stored secret anew, under KEYLEDGER_SALT_KEY.

    Give all processes the new key, and the old one as KEYLEDGER_PREVIOUS_SALT_KEY, first. Stopped half-way, it is
    started again; when it has ended well, the previous key can be forgotten.
    """
    unopened = 0
    with opened() as services:
        for batch in services.secret_rotation.batches():
            click.echo(f"{batch.table}: {batch.rows} rows read, {batch.resealed} sealed anew")
            unopened += batch.unopened
            time.sleep(PAUSE_SECONDS)
    if unopened:
        fail(f"{unopened} rows hold a secret that neither salt key opens; they were left as they are.")
    click.echo("Every stored secret is sealed with the present salt key.")

"""`keyledger ledger`: the balances of all accounts, held against the ledger."""

import sys

import click

from app.commands.starting import opened, redis_answers, require, settings_beside_up

# So many drifts are printed: whoever has more has one cause for all of them.
MOST_DRIFTS = 100


@click.group()
def ledger() -> None:
    """The balances of all accounts."""


@ledger.command()
def check() -> None:
    """Recompute every balance from the ledger; exits with 1 where one has drifted. Changes nothing."""
    from app.domain.money import dollars  # noqa: PLC0415

    with opened() as services:
        found = services.ledger_check.check(MOST_DRIFTS)
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
    sys.exit(1 if found.drifts else 0)


@ledger.command()
def rebase() -> None:
    """Set the counters in Redis to what the ledger says. May be interrupted, and run while calls are decided."""
    require(redis_answers, settings_beside_up())
    done = 0
    with opened() as services:
        for count in services.ledger_check.rebase():
            done += count
            click.echo(f"\r{done} accounts", nl=False, err=True)
    click.echo(f"\r{done} accounts: their counters are what the ledger says", err=True)

"""`keyledger jobs`: how the periodic jobs stand, and doing one here and now."""

from typing import TYPE_CHECKING

import click

from app.commands.starting import fail, opened

if TYPE_CHECKING:
    from app.services.jobs.job_batches import Parked, ParkedRow
    from app.services.jobs.jobs import JobRecord

_PREFIX = "keyledger."
_COLUMNS = ("job", "every", "last start", "last end", "next due", "rows", "parked", "failures", "last error")


@click.group(invoke_without_command=True)
@click.pass_context
def jobs(context: click.Context) -> None:
    """Show when each periodic job ran last, what it did, and when it is due next."""
    if context.invoked_subcommand is not None:
        return
    with opened() as services:
        parked = services.jobs.parked()
        table = [_COLUMNS, *(_line(record, parked[record.name]) for record in services.jobs.records())]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for name, found in parked.items():
        for row in found.first:
            click.echo(f"{name.removeprefix(_PREFIX)} has parked {_name(row)}: {row.reason}")
        if found.rows > len(found.first):
            click.echo(f"{name.removeprefix(_PREFIX)} has parked {found.rows - len(found.first)} more")


@jobs.command()
@click.argument("name")
def run(name: str) -> None:
    """Do the work of the job NAME until nothing is due; safe while the workers do it too."""
    with opened() as services:
        found = {task.removeprefix(_PREFIX): task for task in services.jobs.names}
        task = found.get(name.removeprefix(_PREFIX))
        if task is None:
            fail(f"There is no job '{name}'. There are: {', '.join(found)}.")
        rows = services.jobs.run_out_of_turn(task)
    click.echo(f"{name}: {rows} rows")


def _name(row: "ParkedRow") -> str:
    return " ".join(part for part in (row.scope, row.scope_id, row.sub) if part)


def _line(record: "JobRecord", parked: "Parked") -> tuple[str, ...]:
    from app.clock import iso  # noqa: PLC0415

    return (
        record.name.removeprefix(_PREFIX),
        f"{record.interval_seconds:g} s",
        iso(record.last_started_at) or "never",
        iso(record.last_finished_at) or "never",
        iso(record.next_due_at) or "now",
        str(record.last_rows),
        str(parked.rows),
        str(record.failures),
        record.last_error or "",
    )

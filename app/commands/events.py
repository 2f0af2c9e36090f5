"""`keyledger events`: what was told to the outside, and what could not be."""

import sys
import time
import uuid
from collections.abc import Sequence

import click

from app.commands.starting import fail, opened, settings_beside_up
from app.services.jobs.job_batches import PAUSE_SECONDS


@click.group()
def events() -> None:
    """What was told to the outside, and what could not be."""


@events.command("list")
@click.option("--state", type=click.Choice(["waiting", "parked", "delivered", "unaddressed"]))
@click.option("--kind", help="Such as budget_crossed.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
def list_events(state: str | None, kind: str | None, limit: int) -> None:
    """Print the newest events, one a line: id, instant, kind, entity, state."""
    from app.services.audit.audit import SYSTEM, Act  # noqa: PLC0415
    from app.services.events.event_reads import EventQuery  # noqa: PLC0415

    with opened() as services:
        query = EventQuery(state=state, kind=kind, size=limit)
        found = services.event_reads.list(Act(SYSTEM, services.clock.now()), query)
    for event in (view.fields() for view in found.events):
        named = f"{event['entity']}:{event['entity_id']}"
        click.echo(f"{event['event_id']}  {event['created_at']}  {event['kind']}  {named}  {event['state']}")


@events.command()
@click.argument("event_ids", nargs=-1, metavar="[ID]...")
@click.option("--parked", is_flag=True, help="All deliveries that were given up.")
@click.option("--target", help="With --parked: only those to this target, such as slack:0.")
def replay(event_ids: tuple[str, ...], parked: bool, target: str | None) -> None:
    """Send events again: what was given up, else what was delivered, with the same ids."""
    if parked == bool(event_ids) or (target is not None and not parked):
        raise click.UsageError("Name events, or --parked with or without --target.")
    if parked:
        _replay_parked(target)
    else:
        _replay(event_ids)


@events.command("test")
def send_test() -> None:
    """Send a test message to every channel and say what each answered; mail goes to TEST_EMAIL_ADDRESS.

    Webhooks that may carry the secrets of scheduled rotations have targets of their own for these, named by their
    URLs. What such a target or the mail server has taken confirms it for them.
    """
    from app.channels import carriers_of, channels_of, senders_of  # noqa: PLC0415
    from app.clock import SystemClock  # noqa: PLC0415
    from app.domain.deliveries import Claimed, StoredEvent, Subject  # noqa: PLC0415
    from app.domain.event_routing import MAIL  # noqa: PLC0415
    from app.services.sealing.sealing import Sealer  # noqa: PLC0415

    found, clock = settings_beside_up(), SystemClock()
    event = StoredEvent(str(uuid.uuid4()), "test_message", "service", "Keyledger", {}, clock.now())
    senders = senders_of(found.messages, Sealer(found.salt_key), clock, found.outbound_seconds)
    carriers = carriers_of(found.messages)
    recipients = dict.fromkeys([*channels_of(found.messages).kinds_of, *carriers.webhooks], "")
    if MAIL in senders and found.messages.test_address is not None:
        recipients[MAIL] = found.messages.test_address
    if not recipients:
        fail("No channel is set that could be tested; mail needs TEST_EMAIL_ADDRESS.")
    taken = []
    for target, recipient in recipients.items():
        claimed = Claimed(0, Subject.EVENT, event.event_id, recipient, None, event.created_at, event)
        result = senders[target.partition(":")[0]].send(target, [claimed])[0]
        taken += [target] if result.ok else []
        click.echo(f"{target}: {'delivered' if result.ok else result.reason} ({result.milliseconds} ms)")
    _confirm([target for target in carriers.targets if target in taken])
    sys.exit(len(taken) < len(recipients))


def _confirm(targets: Sequence[str]) -> None:
    """Write down that these have taken something; the store is needed for nothing else here."""
    from app.services.events import delivery  # noqa: PLC0415

    if targets:
        with opened() as services, services.database.transaction() as transaction:
            delivery.confirm(transaction, targets, services.clock.now())


def _replay(event_ids: tuple[str, ...]) -> None:
    from app.errors import Conflict, NotFound  # noqa: PLC0415
    from app.services.audit.audit import SYSTEM, Act  # noqa: PLC0415

    with opened() as services:
        act = Act(SYSTEM, services.clock.now())
        for event_id in event_ids:
            try:
                event = services.event_replay.replay(act, event_id)
            except NotFound:
                fail(f"There is no event {event_id}; those before it were replayed.")
            except Conflict as conflict:
                fail(f"{event_id}: {conflict.message} Those before it were replayed.")
            click.echo(f"{event_id}: {event.state}")


def _replay_parked(target: str | None) -> None:
    from app.services.audit.audit import SYSTEM, Act  # noqa: PLC0415

    done = 0
    with opened() as services:
        act = Act(SYSTEM, services.clock.now())
        while count := services.event_replay.replay_parked(act, target):
            done += count
            time.sleep(PAUSE_SECONDS)
    click.echo(f"{done} deliveries wait again.")

"""What is not kept: secrets go after a day at the latest, old events by a setting, and facts stay known."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from app.db import Database
from app.models import deliveries as deliveries_table
from app.models import events
from app.services.events.deliveries import Deliveries
from app.services.events.event_retention import TIDY_BATCH, EventRetention
from tests.api.counting import statements
from tests.clocks import MovableClock
from tests.deliveries.world import KIND, Post, drain, engine, happen, heard, only, to
from tests.factories import add_user, rows
from tests.integrations.receivers import Receiver, answer

DAY = timedelta(hours=24)
MAILED = frozenset({KIND})
TO_BOB = {"payload": {"user_id": "bob"}, "sealed": "a sealed key"}


@pytest.fixture
def mailing(database: Database, clock: MovableClock, post: Post) -> Deliveries:
    add_user(database, "bob", user_email="bob@example.com")
    return engine(database, clock, to(mailed=MAILED), post)


# --- secrets ---------------------------------------------------------------------------------------------------


def test_what_is_sealed_moves_into_the_mail_and_goes_when_that_is_delivered(
    database: Database, clock: MovableClock, mailing: Deliveries, receiver: Receiver
):
    receiver.reply = answer(503)
    happen(database, 1, clock.now(), **TO_BOB)

    drain(mailing)
    waiting = only(database, deliveries_table)["sealed"], only(database, events)["sealed"]
    receiver.reply = answer(200)
    clock.advance(1)
    drain(mailing)

    assert waiting == ("a sealed key", None)
    assert [request.json["kept"] for request in receiver.received] == ["a sealed key"] * 2
    assert only(database, deliveries_table)["sealed"] is None


def test_a_mail_that_is_not_delivered_in_a_day_goes_without_what_was_sealed(
    database: Database, clock: MovableClock, mailing: Deliveries, receiver: Receiver
):
    receiver.reply = answer(503)
    happen(database, 1, clock.now(), **TO_BOB)
    clock.advance(timedelta(hours=23))
    drain(mailing)  # the day is the event's: the delivery is younger
    receiver.reply = answer(200)

    clock.advance(timedelta(hours=1))
    drain(mailing)

    assert [request.json["kept"] for request in receiver.received] == ["a sealed key", None]


def test_after_a_day_without_a_worker_the_first_sweep_erases_before_it_sends(
    database: Database, clock: MovableClock, mailing: Deliveries, receiver: Receiver
):
    happen(database, 1, clock.now(), **TO_BOB)
    clock.advance(DAY)

    mailing.sweep()

    assert [request.json["kept"] for request in receiver.received] == [None]
    assert only(database, events)["sealed"] is only(database, deliveries_table)["sealed"] is None


def test_however_much_is_sealed_all_of_it_goes_before_anything_is_sent(
    database: Database, clock: MovableClock, mailing: Deliveries, receiver: Receiver
):
    receiver.reply = answer(503)
    happen(database, TIDY_BATCH, clock.now(), **TO_BOB)
    drain(mailing)
    clock.advance(1)
    happen(database, TIDY_BATCH + 1, clock.now(), **TO_BOB)
    receiver.received.clear()
    clock.advance(DAY)

    mailing.sweep()

    assert {row["sealed"] for table in (events, deliveries_table) for row in rows(database, table)} == {None}
    assert {request.json["kept"] for request in receiver.received} == {None}


def test_what_was_sealed_for_nobody_is_gone_when_that_is_known(
    database: Database, clock: MovableClock, deliveries: Deliveries
):
    happen(database, 1, clock.now(), kind="of no channel", sealed="a sealed key")

    deliveries.sweep()

    assert only(database, events)["sealed"] is None


# --- old events ------------------------------------------------------------------------------------------------


def purge(database: Database, clock: MovableClock, days: int | None = 30) -> int:
    return EventRetention(database, clock, days=days).purge_due().rows


def test_old_events_go_with_their_deliveries_and_younger_ones_stay(
    database: Database, clock: MovableClock, deliveries: Deliveries, receiver: Receiver
):
    receiver.reply = answer(400)
    happen(database, 3, clock.now())
    drain(deliveries)
    clock.advance(timedelta(days=30, seconds=1))
    (young,) = happen(database, 1, clock.now())
    drain(deliveries)

    with statements(database) as sent:
        purged = purge(database, clock)

    assert (purged, len(sent)) == (3, 3)
    assert [row["event_id"] for row in rows(database, events)] == [young]
    assert [row["subject_id"] for row in rows(database, deliveries_table)] == [young]
    assert heard(receiver)[-1] == young


def test_without_the_setting_everything_is_kept(database: Database, clock: MovableClock, deliveries: Deliveries):
    happen(database, 1, clock.now())
    drain(deliveries)
    clock.advance(timedelta(days=3650))

    assert purge(database, clock, None) == 0
    assert len(rows(database, events)) == 1


def test_what_waits_or_is_not_routed_is_kept_however_old(
    database: Database, clock: MovableClock, deliveries: Deliveries, receiver: Receiver
):
    receiver.reply = answer(503)
    happen(database, 1, clock.now())
    drain(deliveries)
    clock.advance(1)
    happen(database, 1, clock.now())
    clock.advance(timedelta(days=31))

    assert purge(database, clock) == 0


def test_a_fact_stays_known_as_long_as_it_could_be_told_again(
    database: Database, clock: MovableClock, deliveries: Deliveries
):
    now = clock.now()
    over, ends = (now + timedelta(days=days) for days in (20, 90))
    payloads = {
        "of a budget without a window": {"window_end": None},
        "of nothing with a window": {},
        "of a window that is over": {"window_end": over.isoformat()},
        "of a long window": {"window_end": ends.isoformat()},
    }
    told = {"kind": KIND, "entity": "key", "entity_id": "k", "created_at": now, "routed_at": now}
    with database.transaction() as transaction:
        transaction.execute(
            insert(events),
            [{"event_id": fact, "fact": fact, "payload": payload, **told} for fact, payload in payloads.items()],
        )
        transaction.execute(update(events).values(routed_at=now))
    clock.advance(timedelta(days=55))

    assert purge(database, clock) == 1
    assert {row["fact"] for row in rows(database, events)} == payloads.keys() - {"of a window that is over"}

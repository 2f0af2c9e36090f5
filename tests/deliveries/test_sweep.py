"""What a sweep promises: everything arrives, an outage costs little and loses nothing, nothing is sent in a rush."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import update

from app.db import Database
from app.models import deliveries as deliveries_table
from app.models import events, targets
from app.services.events import delivery
from app.services.events.claiming import MOST_TARGETS, claim
from app.services.events.deliveries import BROKEN, UNKNOWN_TARGET, Deliveries
from app.services.events.delivery import Event
from app.services.events.recording import record
from tests.api.counting import statements
from tests.clocks import START, MovableClock
from tests.deliveries.world import HOURS, KIND, Post, drain, engine, happen, heard, only, to
from tests.factories import rows
from tests.integrations.receivers import Receiver, answer, cut, reset, silence

# --- everything arrives ----------------------------------------------------------------------------------------


def test_each_event_arrives_once_at_each_target_and_is_marked(
    database: Database, clock: MovableClock, receiver: Receiver, post: Post
):
    ids = happen(database, 12, clock.now())
    deliveries = engine(database, clock, to("post:0", "post:1"), post)

    drain(deliveries)

    paths = Counter(request.path for request in receiver.received)
    assert paths == {"/post:0": 12, "/post:1": 12}
    assert Counter(heard(receiver)) == dict.fromkeys(ids, 2)
    sent = rows(database, deliveries_table)
    assert {(row["delivered_at"], row["parked_at"], row["attempts"]) for row in sent} == {(clock.now(), None, 1)}
    assert {row["routed_at"] for row in rows(database, events)} == {clock.now()}
    assert {(row["next_attempt_at"], row["failures"]) for row in rows(database, targets)} == {(None, 0)}
    assert {row["last_delivered_at"] for row in rows(database, targets)} == {clock.now()}


def test_a_sweep_over_what_was_delivered_sends_nothing(
    database: Database, clock: MovableClock, receiver: Receiver, deliveries: Deliveries
):
    happen(database, 3, clock.now())
    drain(deliveries)

    batch = deliveries.sweep()

    assert (batch.rows, batch.more, len(receiver.received)) == (0, False, 3)


def test_an_event_that_nobody_is_told_is_routed_to_nobody(database: Database, clock: MovableClock, post: Post):
    happen(database, 2, clock.now(), kind="of no channel")

    drain(engine(database, clock, to("post:0"), post))

    assert rows(database, deliveries_table) == rows(database, targets) == []
    assert {row["routed_at"] for row in rows(database, events)} == {clock.now()}


def test_what_happens_while_a_target_is_sent_to_is_not_forgotten(
    database: Database, clock: MovableClock, receiver: Receiver, deliveries: Deliveries
):
    (first,) = happen(database, 1, clock.now())

    def meanwhile(_request: object) -> bytes:
        clock.advance(1)
        if len(receiver.received) == 1:
            happen(database, 1, clock.now())
            drain(deliveries)  # another process: the target is leased, so it only routes
        return answer(200)

    receiver.routes["/post:0"] = meanwhile

    drain(deliveries)

    assert heard(receiver)[0] == first
    assert len(heard(receiver)) == 2
    assert only(database, targets)["next_attempt_at"] is None


# --- routing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 200])
def test_a_sweep_costs_the_same_for_one_event_and_for_many(
    database: Database, clock: MovableClock, receiver: Receiver, count: int
):
    happen(database, count, clock.now())
    deliveries = engine(database, clock, to("post:0"), Post(receiver, clock, most=200))

    with statements(database) as sent:
        deliveries.sweep()

    assert len(receiver.received) == count
    # Erase two, park; route: find, two for the deliveries, mark; claim: find, lease, load two; record: lock, two.
    assert len(sent) == 3 + 4 + 4 + 3


def test_an_idle_sweep_looks_at_what_is_due_and_writes_nothing(database: Database, deliveries: Deliveries):
    with statements(database) as sent:
        deliveries.sweep()

    assert len(sent) == 3 + 1 + 1


def test_routing_again_what_was_routed_makes_no_second_delivery(
    database: Database, clock: MovableClock, receiver: Receiver, deliveries: Deliveries
):
    happen(database, 2, clock.now())
    drain(deliveries)
    with database.transaction() as transaction:
        transaction.execute(update(events).values(routed_at=None))

    drain(deliveries)

    assert len(rows(database, deliveries_table)) == len(receiver.received) == 2


def test_events_are_written_down_by_one_statement(database: Database, clock: MovableClock):
    happened = [Event(KIND, "key", str(number), {}, fact=f"fact {number % 3}") for number in range(9)]

    with statements(database) as sent, database.transaction() as transaction:
        delivery.enqueue(transaction, happened, clock.now())

    assert len(sent) == 1
    assert sorted(row["fact"] for row in rows(database, events)) == ["fact 0", "fact 1", "fact 2"]


# --- leases ----------------------------------------------------------------------------------------------------


def test_many_at_once_never_send_to_one_target_twice(database: Database, clock: MovableClock, receiver: Receiver):
    ids = happen(database, 40, clock.now())
    post = Post(receiver, clock, seconds=20)
    everybody = [engine(database, clock, to("post:0", "post:1", "post:2"), post) for _ in range(4)]

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(drain, everybody))
    drain(everybody[0])

    assert Counter(heard(receiver)) == dict.fromkeys(ids, 3)


def test_a_claim_is_nobody_elses_until_its_lease_is_over(
    database: Database, clock: MovableClock, deliveries: Deliveries
):
    happen(database, 1, clock.now())
    deliveries._routers[0].route_due(clock.now())
    lease = clock.now() + timedelta(seconds=6)

    def claimed() -> list[str]:
        with database.transaction() as transaction:
            found = claim(transaction, lambda _: 5, clock.now(), clock.now() + timedelta(seconds=6))
        return [each.target for each in found]

    first, second = claimed(), claimed()
    clock.set(lease)

    assert (first, second, claimed()) == (["post:0"], [], ["post:0"])


def test_whoever_comes_back_after_its_lease_leaves_the_target_to_the_next_one(
    database: Database, clock: MovableClock, receiver: Receiver, post: Post, deliveries: Deliveries
):
    happen(database, 2, clock.now())
    deliveries._routers[0].route_due(clock.now())
    with database.transaction() as transaction:
        (late,) = claim(transaction, lambda _: 1, clock.now(), clock.now() + timedelta(seconds=6))
    clock.advance(6)
    with database.transaction() as transaction:
        (present,) = claim(transaction, lambda _: 1, clock.now(), clock.now() + timedelta(seconds=6))

    with database.transaction() as transaction:
        record(transaction, late, post.send("post:0", late.claimed), {}, clock.now(), 0.5)

    assert only(database, targets)["next_attempt_at"] == present.lease
    assert [row["delivered_at"] for row in rows(database, deliveries_table)] == [clock.now(), None]


def test_more_targets_than_are_sent_to_at_once_all_have_their_turn(
    database: Database, clock: MovableClock, receiver: Receiver, post: Post
):
    names = [f"post:{number}" for number in range(2 * MOST_TARGETS + 1)]
    happen(database, 1, clock.now())

    sweeps = drain(engine(database, clock, to(*names), post))

    assert sorted(request.path for request in receiver.received) == sorted(f"/{name}" for name in names)
    assert sweeps == 4  # the last one finds nothing


# --- outages ---------------------------------------------------------------------------------------------------


def test_an_hour_without_the_target_costs_few_attempts_loses_nothing_and_ends_without_a_rush(
    database: Database, clock: MovableClock, receiver: Receiver, deliveries: Deliveries
):
    receiver.reply = answer(503)
    ids = happen(database, 30, clock.now())
    back = START + timedelta(hours=1)
    while clock.now() < back:
        drain(deliveries)
        clock.set(only(database, targets)["next_attempt_at"])
        if len(receiver.received) == 5:
            ids += happen(database, 30, clock.now())
    tried = len(receiver.received)
    waiting = only(database, targets)
    receiver.reply = answer(200)

    deliveries.sweep()
    probed = len(receiver.received) - tried
    deliveries.sweep()
    burst = len(receiver.received) - tried - probed
    drain(deliveries)

    assert 15 < tried < 40
    assert (waiting["failures"], waiting["last_error"]) == (tried, "HTTP 503")
    assert (probed, burst) == (1, 5)  # one to see whether it is back, then a batch at a time
    assert sorted(heard(receiver)[tried:]) == sorted(ids)
    assert {row["delivered_at"] is not None for row in rows(database, deliveries_table)} == {True}


def test_one_target_that_is_away_holds_up_no_other(
    database: Database, clock: MovableClock, receiver: Receiver, post: Post
):
    receiver.routes["/post:0"] = answer(500)
    happen(database, 12, clock.now())

    drain(engine(database, clock, to("post:0", "post:1"), post))

    assert Counter(request.path for request in receiver.received) == {"/post:0": 1, "/post:1": 12}


@pytest.mark.parametrize("reply", [answer(500), answer(408), answer(425), answer(429), cut, reset, silence])
def test_what_may_pass_is_tried_again_after_a_rest(
    database: Database, clock: MovableClock, receiver: Receiver, reply: object
):
    receiver.reply = reply  # type: ignore[assignment]
    happen(database, 1, clock.now())
    deliveries = engine(database, clock, to("post:0"), Post(receiver, clock, seconds=0.3))

    drain(deliveries)
    receiver.reply = answer(200)
    drain(deliveries)
    rested = only(database, deliveries_table)
    clock.advance(1)
    drain(deliveries)

    assert (rested["attempts"], rested["parked_at"], rested["delivered_at"]) == (1, None, None)
    assert rested["last_error"]
    assert only(database, deliveries_table)["delivered_at"] == clock.now()
    assert set(heard(receiver)) == {rows(database, events)[0]["event_id"]}


@pytest.mark.parametrize(("asked", "rest"), [("120", 120), ("0", 0.75), ("999999", 3600)])
def test_a_wait_that_the_target_asks_for_is_kept_up_to_an_hour(
    database: Database, clock: MovableClock, receiver: Receiver, deliveries: Deliveries, asked: str, rest: float
):
    receiver.reply = answer(429, Retry_After=asked)
    happen(database, 1, clock.now())

    drain(deliveries)

    assert only(database, targets)["next_attempt_at"] == clock.now() + timedelta(seconds=rest)


def test_one_event_that_always_fails_does_not_hold_up_those_behind_it(
    database: Database, clock: MovableClock, receiver: Receiver, deliveries: Deliveries
):
    happen(database, 1, clock.now(), payload={"poison": True})
    clock.advance(1)
    ids = happen(database, 20, clock.now())
    receiver.routes["/post:0"] = lambda request: answer(500 if b"poison" in request.body else 200)

    for _ in range(60):
        drain(deliveries)
        clock.advance(1)

    assert set(ids) <= set(heard(receiver))
    assert Counter(heard(receiver)).most_common(2)[1][1] == 1  # only the failing one was repeated


def test_a_sender_that_does_not_come_back_holds_up_no_sweep_and_leaves_its_target_to_the_lease(
    database: Database, clock: MovableClock, receiver: Receiver, post: Post
):
    receiver.routes["/post:0"] = silence
    happen(database, 1, clock.now())

    engine(database, clock, to("post:0", "post:1"), post, seconds=0.2).sweep()

    states = {row["target"]: row["next_attempt_at"] for row in rows(database, targets)}
    assert states == {"post:0": clock.now() + timedelta(seconds=0.6), "post:1": None}
    sent = {row["target"]: (row["attempts"], row["delivered_at"]) for row in rows(database, deliveries_table)}
    assert sent == {"post:0": (0, None), "post:1": (1, clock.now())}


# --- parking ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302])
def test_what_will_not_pass_is_parked_with_the_reason_and_the_next_one_tried(
    database: Database, clock: MovableClock, receiver: Receiver, deliveries: Deliveries, status: int
):
    receiver.reply = answer(status)
    happen(database, 2, clock.now())

    drain(deliveries)

    parked = rows(database, deliveries_table)
    assert {(row["parked_at"], row["attempts"]) for row in parked} == {(clock.now(), 1)}
    assert all(f"HTTP {status}" in row["last_error"] for row in parked)
    assert (only(database, targets)["failures"], only(database, targets)["next_attempt_at"]) == (0, None)


def test_a_target_that_is_not_configured_any_more_parks_what_waits(
    database: Database, clock: MovableClock, post: Post
):
    happen(database, 12, clock.now())

    drain(engine(database, clock, to("gone:0"), post))

    assert {row["last_error"] for row in rows(database, deliveries_table)} == {UNKNOWN_TARGET}
    assert {row["parked_at"] for row in rows(database, deliveries_table)} == {clock.now()}


def test_what_waits_for_too_long_is_parked_with_the_last_error_of_its_target(
    database: Database, clock: MovableClock, receiver: Receiver, deliveries: Deliveries
):
    receiver.reply = answer(503)
    happen(database, 3, clock.now())
    drain(deliveries)
    clock.advance(timedelta(hours=HOURS, seconds=1))
    (young,) = happen(database, 1, clock.now())

    batch = deliveries.sweep()

    parked = [row for row in rows(database, deliveries_table) if row["parked_at"] is not None]
    assert (batch.parked, len(parked)) == (3, 3)
    assert {row["last_error"] for row in parked} == {"not delivered within 72 hours: HTTP 503"}
    assert heard(receiver)[-1] == young


def test_a_sender_that_breaks_is_a_failure_of_that_target_alone(
    database: Database, clock: MovableClock, receiver: Receiver, post: Post
):
    happen(database, 1, clock.now())
    deliveries = engine(database, clock, to("post:0", "post:1"), post)
    deliveries._routers[0].route_due(clock.now())
    with database.transaction() as transaction:  # an event that is kept no longer breaks the sender of these tests
        transaction.execute(
            update(deliveries_table).where(deliveries_table.c.target == "post:0").values(subject_id="gone")
        )

    drain(deliveries)

    states = {row["target"]: (row["failures"], row["last_error"]) for row in rows(database, targets)}
    assert states == {"post:0": (1, BROKEN), "post:1": (0, None)}
    assert {row["parked_at"] for row in rows(database, deliveries_table)} == {None}

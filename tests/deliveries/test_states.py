"""GET /events by state: every event that is in it, once and in order, however many deliveries it has."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.container import Services
from app.db import Database
from app.models import deliveries as delivery_rows
from app.models import events
from tests.api.counting import statements
from tests.clients import Api
from tests.clocks import MovableClock
from tests.deliveries.world import Post, drain, engine, happen, to
from tests.factories import rows
from tests.integrations.receivers import Receiver, answer

STATES = ("waiting", "parked", "delivered", "unaddressed")
MANY = 7


def tell(
    database: Database, clock: MovableClock, post: Post, *, targets: Sequence[str], reply: int | None
) -> list[str]:
    """Let some events have happened, a second apart, each for these targets, which answer so; the newest first."""
    made = []
    for _ in range(MANY):
        clock.advance(1)
        made += happen(database, 1, clock.now(), kind="key_updated" if targets else "of no channel")
    if reply is not None:
        post.receiver.reply = answer(reply)
        drain(engine(database, clock, to(*targets), post))
    return made[::-1]


def walk(api: Api, size: int, **query: Any) -> list[str]:
    """All events that a walk by cursors meets."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = api.get("/events", page_size=size, **query, **cursor)
        assert page.status == 200, page
        found += [event["event_id"] for event in page.body["events"]]
        following = page.headers.get("x-keyledger-next-cursor")
        if following is None:
            return found
        cursor = {"cursor": following}


@pytest.fixture
def told(services: Services, clock: MovableClock, receiver: Receiver, post: Post) -> dict[str, list[str]]:
    """Some events in each state, all but the last for two targets; by the state, their ids, the newest first."""
    database, two = services.database, ("post:0", "post:1")
    return {
        "delivered": tell(database, clock, post, targets=two, reply=200),
        "parked": tell(database, clock, post, targets=two, reply=400),
        "unaddressed": tell(database, clock, post, targets=(), reply=200),
        "waiting": tell(database, clock, post, targets=two, reply=503),
    }


@pytest.mark.parametrize("size", [1, 3, 100])
def test_each_state_is_walked_by_cursors_in_both_directions_and_shows_every_event_once(
    api: Api, services: Services, clock: MovableClock, told: dict[str, list[str]], post: Post, size: int
):
    told["waiting"] = tell(services.database, clock, post, targets=["post:0"], reply=None) + told["waiting"]

    for state in STATES:
        assert walk(api, size, state=state) == told[state]
        assert walk(api, size, state=state, sort_order="asc") == told[state][::-1]
        assert walk(api, size, state=state, entity="key", kind="no such kind") == []
        assert api.get("/events", state=state, page_size=size).body["total"] == len(told[state])


@pytest.mark.parametrize("state", STATES)
def test_a_state_is_narrowed_down_by_the_other_filters(
    api: Api, services: Services, told: dict[str, list[str]], state: str
):
    of_state = told[state][2:5]
    with services.database.transaction() as transaction:
        transaction.execute(update(events).where(events.c.event_id.in_(of_state)).values(entity_id="another"))
    created = {row["event_id"]: row["created_at"] for row in rows(services.database, events)}
    oldest, newest = (created[event_id].isoformat() for event_id in (of_state[-1], of_state[0]))

    assert walk(api, 2, state=state, entity_id="another") == of_state
    assert walk(api, 2, state=state, start_date=oldest, end_date=newest) == of_state


def test_an_event_that_is_replayed_changes_its_state_and_nothing_else_of_the_order(
    api: Api, told: dict[str, list[str]]
):
    for state in ("parked", "delivered", "unaddressed"):
        assert api.post(f"/events/{told[state][3]}/replay", {}).status == 200

    replayed = [told[state][3] for state in ("unaddressed", "parked", "delivered")]
    assert walk(api, 2, state="waiting") == told["waiting"] + replayed
    for state in ("parked", "delivered", "unaddressed"):
        assert walk(api, 2, state=state) == told[state][:3] + told[state][4:]


def test_what_the_release_before_has_written_is_found_in_its_state_as_well(
    api: Api, services: Services, told: dict[str, list[str]]
):
    """Deliveries without the time of their event come last; an event may not say that it has some."""
    older = told["parked"][2]
    with services.database.transaction() as transaction:
        of_older = delivery_rows.c.subject_id == older
        transaction.execute(update(delivery_rows).where(of_older).values(happened_at=None))
        transaction.execute(update(events).values(addressed=None))

    expected = [event_id for event_id in told["parked"] if event_id != older] + [older]
    for size in (1, 3, 100):
        assert walk(api, size, state="parked") == expected
        assert walk(api, size, state="unaddressed") == told["unaddressed"]


@pytest.mark.parametrize("state", STATES)
def test_a_page_of_a_state_takes_four_statements_and_three_behind_a_cursor(
    api: Api, services: Services, told: dict[str, list[str]], state: str
):
    api.get("/events", state=state)

    with statements(services.database) as first:
        page = api.get("/events", state=state, page_size=3)
    with statements(services.database) as second:
        api.get("/events", state=state, page_size=3, cursor=page.headers["x-keyledger-next-cursor"])

    assert (len(first), len(second)) == (4, 3)


def test_the_time_of_an_event_stands_in_its_deliveries(
    services: Services, clock: MovableClock, told: dict[str, list[str]]
):
    created = {row["event_id"]: row["created_at"] for row in rows(services.database, events)}

    found = rows(services.database, delivery_rows)

    assert len(found) == 3 * 2 * MANY
    assert all(row["happened_at"] == created[row["subject_id"]] for row in found)
    assert clock.now() - max(created.values()) < timedelta(seconds=1)

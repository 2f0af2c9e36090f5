"""GET /events, /events/{id} and /events/targets; POST /events/{id}/replay; and `keyledger events`."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from app.container import Services
from app.domain.event_routing import Channels
from app.models import audit, events
from app.services.audit.audit import SYSTEM, Act
from app.services.events.deliveries import Deliveries
from tests.api.counting import statements
from tests.clients import Api
from tests.clocks import MovableClock
from tests.deliveries.world import KIND, Post, drain, engine, happen, heard, only, to
from tests.environment import ENVIRONMENT
from tests.factories import rows
from tests.integrations.receivers import Receiver, answer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def told(services: Services, clock: MovableClock, receiver: Receiver, post: Post) -> dict[str, str]:
    """An event in each state, the newest last; by the state, its id."""
    database = services.database
    deliveries = engine(database, clock, to("post:0"), post)
    (delivered,) = happen(database, 1, clock.now(), entity_id="one")
    drain(deliveries)
    clock.advance(1)
    (parked,) = happen(database, 1, clock.now(), entity_id="two")
    receiver.reply = answer(400)
    drain(deliveries)
    clock.advance(1)
    (unaddressed,) = happen(database, 1, clock.now(), kind="of no channel", entity="team", entity_id="two")
    drain(deliveries)
    clock.advance(1)
    (waiting,) = happen(database, 1, clock.now(), entity_id="three")
    receiver.reply = answer(503)
    drain(deliveries)
    receiver.reply = answer(200)
    return {"delivered": delivered, "parked": parked, "unaddressed": unaddressed, "waiting": waiting}


@pytest.fixture
def deliveries(services: Services, clock: MovableClock, post: Post) -> Deliveries:
    return engine(services.database, clock, to("post:0"), post)


def ids(api: Api, **query: Any) -> list[str]:
    found = api.get("/events", **query)
    assert found.status == 200, found
    return [event["event_id"] for event in found.body["events"]]


# --- reading ---------------------------------------------------------------------------------------------------


def test_nothing_has_happened_yet(api: Api):
    assert api.get("/events").body == {"events": [], "total": 0, "page": 1, "page_size": 10, "total_pages": 0}
    assert api.get("/events/targets").body == {
        "targets": [],
        "total": 0,
        "page": 1,
        "page_size": 100,
        "total_pages": 0,
    }


def test_each_event_is_in_one_state_and_found_by_it(api: Api, told: dict[str, str]):
    everything = api.get("/events").body["events"]

    assert [event["state"] for event in everything] == ["waiting", "unaddressed", "parked", "delivered"]
    assert {event["state"]: event["event_id"] for event in everything} == told
    assert {state: ids(api, state=state) for state in told} == {state: [told[state]] for state in told}


def test_an_event_that_is_not_routed_yet_waits(api: Api, services: Services, clock: MovableClock):
    (fresh,) = happen(services.database, 1, clock.now())

    assert ids(api, state="waiting") == [fresh]
    assert api.get(f"/events/{fresh}").body["state"] == "waiting"
    assert api.get(f"/events/{fresh}").body["routed_at"] is None


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"kind": "key_updated"}, ["waiting", "parked", "delivered"]),
        ({"entity": "team"}, ["unaddressed"]),
        ({"entity_id": "two"}, ["unaddressed", "parked"]),
        ({"entity_id": "two", "entity": "key"}, ["parked"]),
        ({"start_date": "2026-11-18T13:47:34Z"}, ["waiting", "unaddressed", "parked"]),
        ({"end_date": "2026-11-18T13:47:34Z"}, ["parked", "delivered"]),
        ({"sort_order": "asc", "kind": "key_updated"}, ["delivered", "parked", "waiting"]),
        ({"kind": "no such kind"}, []),
    ],
)
def test_events_are_found_by_kind_entity_and_time(
    api: Api, told: dict[str, str], query: dict[str, str], found: list[str]
):
    assert ids(api, **query) == [told[state] for state in found]


@pytest.mark.parametrize("query", [{"state": "lost"}, {"page_size": 0}, {"page_size": 101}, {"sort_order": "up"}])
def test_a_filter_that_cannot_be_right_is_refused(api: Api, query: dict[str, Any]):
    assert api.get("/events", **query).status == 422


def test_pages_go_on_by_a_cursor_that_fits_no_other_list(api: Api, services: Services, clock: MovableClock):
    made = happen(services.database, 5, clock.now())
    first = api.get("/events", page_size=2)
    cursor = first.headers["x-keyledger-next-cursor"]
    happen(services.database, 1, clock.advance(1))

    second = api.get("/events", page_size=2, cursor=cursor)
    other = api.get("/events", page_size=2, cursor=cursor, kind="key_updated")

    assert [event["event_id"] for event in second.body["events"]] == [made[2], made[1]]
    assert (first.body["total"], first.body["total_pages"], second.body["total"]) == (5, 3, 5)
    assert other.summary == (400, "invalid_request_error", "cursor")


@pytest.mark.parametrize("size", [1, 100])
def test_a_page_costs_the_same_however_long_it_is(
    api: Api, services: Services, clock: MovableClock, deliveries: Deliveries, size: int
):
    happen(services.database, 120, clock.now())
    drain(deliveries)
    ids(api)

    with statements(services.database) as sent:
        found = ids(api, page_size=size)

    assert (len(found), len(sent)) == (size, 4)


def test_one_event_is_shown_with_its_deliveries_and_no_secret(
    api: Api, services: Services, clock: MovableClock, told: dict[str, str]
):
    shown = api.get(f"/events/{told['parked']}").body

    (delivery,) = shown.pop("deliveries")
    assert shown == {
        "event_id": told["parked"],
        "kind": "key_updated",
        "entity": "key",
        "entity_id": "two",
        "fact": None,
        "payload": {"n": 1},
        "created_at": "2026-11-18T13:47:34.000000Z",
        "routed_at": "2026-11-18T13:47:34.000000Z",
        "state": "parked",
        "counts": {"waiting": 0, "parked": 1, "delivered": 0},
    }
    assert delivery.pop("delivery_id") > 0
    assert delivery == {
        "target": "post:0",
        "recipient": "",
        "state": "parked",
        "attempts": 1,
        "last_error": "HTTP 400",
        "created_at": "2026-11-18T13:47:34.000000Z",
        "delivered_at": None,
        "parked_at": "2026-11-18T13:47:34.000000Z",
    }


def test_an_unknown_event_is_a_404(api: Api):
    assert api.get("/events/none").summary == (404, "not_found_error", "id")
    assert api.post("/events/none/replay").summary == (404, "not_found_error", "id")


def test_targets_show_their_health_and_what_waits(api: Api, clock: MovableClock, told: dict[str, str]):
    (target,) = api.get("/events/targets").body["targets"]

    assert target.pop("next_attempt_at") > "2026-11-18T13:47:36"
    assert target == {
        "target": "post:0",
        "waiting": 1,
        "parked": 1,
        "failures": 1,
        "last_delivered_at": "2026-11-18T13:47:33.000000Z",
        "last_error": "HTTP 503",
    }


@pytest.mark.parametrize("size", [1, 60])
def test_a_page_of_targets_costs_the_same_however_long_it_is(
    api: Api, services: Services, clock: MovableClock, receiver: Receiver, post: Post, size: int
):
    receiver.reply = answer(503)
    names = sorted(f"post:{number:02}" for number in range(60))
    happen(services.database, 2, clock.now())
    drain(engine(services.database, clock, to(*names), post))
    api.get("/events/targets")

    with statements(services.database) as sent:
        page = api.get("/events/targets", page_size=size).body

    assert [target["target"] for target in page["targets"]] == names[:size]
    assert {(target["waiting"], target["failures"]) for target in page["targets"]} == {(2, 1)}
    assert (page["total"], len(sent)) == (60, 4)


# --- replaying -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["parked", "delivered", "unaddressed"])
def test_a_replayed_event_is_sent_again_under_its_id(
    api: Api,
    services: Services,
    clock: MovableClock,
    receiver: Receiver,
    post: Post,
    told: dict[str, str],
    state: str,
):
    clock.advance(600)
    before = len(receiver.received)
    channels = Channels({"post:0": frozenset({KIND, "of no channel"})})  # by now there is one
    deliveries = engine(services.database, clock, channels, post)
    drain(deliveries)

    replayed = api.post(f"/events/{told[state]}/replay", headers={"litellm-changed-by": "ann"})
    drain(deliveries)

    assert (replayed.status, replayed.body["state"]) == (200, "waiting")
    assert heard(receiver)[before:] == [told["waiting"], told[state]]
    assert api.get(f"/events/{told[state]}").body["state"] == "delivered"
    entry = only(services.database, audit, action="replay")
    assert (entry["entity"], entry["entity_id"], entry["changed_by"]) == ("event", told[state], "ann")
    assert (entry["before"], entry["after"]) == ({"state": state}, {"state": "waiting"})


def test_an_event_that_waits_is_left_to_it(api: Api, services: Services, told: dict[str, str]):
    before = api.get("/events/targets").body

    replayed = api.post(f"/events/{told['waiting']}/replay")

    assert (replayed.status, replayed.body["state"]) == (200, "waiting")
    assert api.get("/events/targets").body == before
    assert rows(services.database, audit, action="replay") == []


def test_of_an_event_that_was_given_up_somewhere_only_that_is_sent_again(
    api: Api, services: Services, clock: MovableClock, receiver: Receiver, post: Post
):
    receiver.routes["/post:1"] = answer(403)
    (event,) = happen(services.database, 1, clock.now())
    deliveries = engine(services.database, clock, to("post:0", "post:1"), post)
    drain(deliveries)
    receiver.routes["/post:1"] = answer(200)

    api.post(f"/events/{event}/replay")
    drain(deliveries)

    assert Counter(request.path for request in receiver.received) == {"/post:0": 1, "/post:1": 2}


def test_a_replay_has_its_whole_time_before_it_is_given_up_again(
    api: Api,
    services: Services,
    clock: MovableClock,
    receiver: Receiver,
    told: dict[str, str],
    deliveries: Deliveries,
):
    clock.advance(3600 * 24 * 30)
    deliveries.sweep()
    api.post(f"/events/{told['parked']}/replay")

    drain(deliveries)

    assert heard(receiver)[-1] == told["parked"]


@pytest.mark.parametrize("count", [3, 60])
def test_everything_that_was_given_up_is_replayed_by_as_many_statements(
    services: Services, clock: MovableClock, receiver: Receiver, deliveries: Deliveries, count: int
):
    receiver.reply = answer(400)
    happen(services.database, count, clock.now())
    drain(deliveries)
    receiver.reply = answer(200)
    act = Act(SYSTEM, clock.now())

    with statements(services.database) as sent:
        replayed = services.event_replay.replay_parked(act)

    assert (replayed, len(sent)) == (count, 5)
    assert services.event_replay.replay_parked(act) == 0
    drain(deliveries)
    assert len(receiver.received) == 2 * count
    assert len(rows(services.database, audit, action="replay")) == count


# --- the command -----------------------------------------------------------------------------------------------


@pytest.fixture
def command(services: Services) -> Any:
    environment = {
        "PATH": os.environ["PATH"],  # noqa: TID251
        "DATABASE_URL": services.settings.database_url,
        "REDIS_URL": services.settings.redis_url,
        **ENVIRONMENT,
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "app.cli", "events", *arguments]
        return subprocess.run(
            line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def test_the_command_lists_and_replays(command: Any, services: Services, told: dict[str, str]):
    listed = command("list", "--state", "parked")
    assert listed.stdout.split() == [
        told["parked"], "2026-11-18T13:47:34.000000Z", "key_updated", "key:two", "parked",
    ]  # fmt: skip

    assert command("replay", told["delivered"]).stdout == f"{told['delivered']}: waiting\n"
    assert command("replay", "--parked", "--target", "post:1").stdout == "0 deliveries wait again.\n"
    assert command("replay", "--parked").stdout == "1 deliveries wait again.\n"
    assert command("list", "--state", "parked").stdout == ""
    assert {row["actor_role"] for row in rows(services.database, audit, action="replay")} == {"system"}

    unknown = command("replay", "none")
    assert (unknown.returncode, unknown.stderr) == (
        1, "keyledger: There is no event none; those before it were replayed.\n",
    )  # fmt: skip
    assert command("replay").returncode == command("replay", "--parked", "x").returncode == 2
    assert len(rows(services.database, events)) == 4

"""Scheduled rotation: a key never has a secret only that nobody holds, whatever becomes of the delivery."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.clock import iso
from app.config import Settings
from app.container import Services, build
from app.dispatch import TaskName
from app.domain.durations import parse
from app.domain.rotations import GIVEN_UP_AFTER, RETRY_AFTER
from app.models import audit, deliveries, events, key_secrets, keys, retired_secrets, users
from app.services.audit.audit import SYSTEM, Act
from app.services.events.event_retention import SEALED_FOR, EventRetention
from app.services.keys.key_secrets import NO_END
from tests.api.counting import statements
from tests.clients import Api
from tests.clocks import MovableClock
from tests.factories import add_user, copy_key, everything, rows
from tests.integrations.mailboxes import Mailbox, mail_server
from tests.services.due import restore
from tests.services.job_processes import kills, together
from tests.services.rotating import BOB, EVERY, GRACE, OLD, Rotating, digest, forget_all, mailing, other, secret_in

TASK = TaskName.ROTATE_KEYS
FOR_GOOD, FOR_NOW = "550 no such user", "451 come back later"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server(keys_allowed=True) as mailbox:
        yield mailbox


@pytest.fixture
def settings(settings: Settings, mailbox: Mailbox) -> Settings:
    return replace(settings, messages=mailing(mailbox), outbound_seconds=20, key_health_seconds=60)


@pytest.fixture
def rotating(services: Services, api: Api, clock: MovableClock, mailbox: Mailbox) -> Rotating:
    return Rotating(services, api, clock, mailbox)


def to_be_done(rotating: Rotating) -> dict[str, list[str]]:
    """Which of today's events wait or are parked; the gauge counts as many of the latter."""
    today = rotating.clock.now().date().isoformat()
    listed = {
        state: [
            event["kind"] for event in rotating.api.get("/events", state=state, start_date=today).body["events"]
        ]
        for state in ("waiting", "parked")
    }
    gauges = rotating.services.gauges.read().deliveries
    assert gauges is not None
    assert gauges.parked == len(listed["parked"])
    return listed


# --- the whole way -------------------------------------------------------------------------------------------


def test_the_new_secret_opens_before_it_is_confirmed_and_the_old_one_until_its_grace_is_over(
    rotating: Rotating, elsewhere: Services, clock: MovableClock
):
    there = other(elsewhere)
    rotating.begin()
    before = rotating.info()
    assert rotating.opens(OLD, there)

    assert rotating.rotate() == 1
    assert sorted(rotating.secrets().values()) == ["current", "on its way"]
    assert rotating.opens(OLD, there)
    rotating.deliver()
    (new,) = rotating.mailed()
    assert rotating.opens(OLD, there)
    assert rotating.opens(new, there)
    assert rotating.info()["token"] == digest(OLD)
    clock.advance(timedelta(minutes=3))
    confirmed = clock.now()
    assert rotating.rotate() == 1

    assert rotating.secrets() == {digest(new): "current", digest(OLD): "in grace"}
    clock.advance(GRACE - timedelta(microseconds=1))
    assert rotating.opens(OLD, there)
    clock.advance(timedelta(microseconds=1))
    assert not rotating.opens(OLD, there)
    assert rotating.opens(new, there)
    after = rotating.info()
    changed = {name: after[name] for name in after if after[name] != before[name]}
    assert changed == {
        "token": digest(new),
        "key_name": f"sk-...{new[-4:]}",
        "rotation_count": 1,
        "last_rotation_at": iso(confirmed),
        # By the instant at which it was due, not by that at which somebody got round to it.
        "key_rotation_at": iso(confirmed - timedelta(minutes=3) + EVERY),
        "updated_at": iso(confirmed),
        "updated_by": "system",
    }
    assert rotating.kinds() == ["new_secret", "key_rotated"]
    assert [row["action"] for row in rows(rotating.services.database, audit)][1:] == ["begin_rotation", "rotate"]


def test_what_arrives_says_what_to_do_and_nothing_else_holds_the_secret(rotating: Rotating):
    rotating.begin()
    rotating.rotate()
    rotating.deliver()

    (mail,) = rotating.mailbox.mails
    new = secret_in(mail)
    text = " ".join(mail.get_body(("plain",)).get_content().split())  # type: ignore[union-attr]
    assert rotating.mailbox.envelopes == [("keys@keyledger.example", (BOB,))]
    assert mail["Subject"] == "Keyledger: New secret of an API key: ci"
    assert "a new secret for the API key ci, as planned every month" in text
    assert "the old one goes on working for 24h after this mail" in text
    (sent,) = rows(rotating.services.database, deliveries)
    assert (sent["sealed"], sent["target"], sent["recipient"]) == (None, "mail", BOB)
    for path in ("/events", "/audit"):
        assert new not in str(rotating.api.get(path).body)


def test_the_grace_of_the_setting_holds_for_scheduled_rotations_too(
    settings: Settings, clock: MovableClock, mailbox: Mailbox
):
    services = build(replace(settings, key_rotation_grace=parse("0s")), clock)
    rotating = Rotating(services, other(services), clock, mailbox)
    rotating.begin()
    assert rotating.opens(OLD)
    rotating.rotate()
    rotating.deliver()
    rotating.rotate()

    assert not rotating.opens(OLD)
    assert rotating.opens(rotating.mailed()[0])
    assert [row["token"] for row in rows(services.database, retired_secrets)] == [digest(OLD)]
    services.close()


def test_a_key_rotates_again_and_again_and_its_graces_chain(rotating: Rotating, clock: MovableClock):
    rotating.begin(rotation_interval="8h")
    for _ in range(3):
        rotating.rotate()
        rotating.deliver()
        rotating.rotate()
        clock.advance(timedelta(hours=8))

    kinds = Counter(rotating.secrets().values())
    assert kinds == {"current": 1, "in grace": 3}
    assert rotating.info()["rotation_count"] == 3
    assert len(set(rotating.mailed())) == 3


def test_the_same_settings_sent_every_week_do_not_put_it_off(rotating: Rotating, clock: MovableClock):
    rotating.begin()
    clock.advance(-EVERY)
    for path in ("/key/update", "/key/update", "/key/regenerate", "/key/update"):
        clock.advance(timedelta(days=7))
        sent = {"key": digest(OLD), "auto_rotate": True, "rotation_interval": "30d"}
        further = {"new_key": OLD + "-next", "grace_period": "1y"} if path == "/key/regenerate" else {}
        assert rotating.api.post(path, {**sent, **further}).status == 200
    assert rotating.rotate() == 0
    clock.advance(timedelta(days=2))

    assert rotating.rotate() == 1
    rotating.deliver()
    rotating.mailed()


# --- the delivery fails --------------------------------------------------------------------------------------


def test_a_delivery_that_is_refused_for_good_cancels_the_rotation_and_says_so(
    rotating: Rotating, clock: MovableClock
):
    rotating.begin()
    rotating.mailbox.refusals[BOB] = FOR_GOOD
    rotating.rotate()
    assert "new_secret" in to_be_done(rotating)["waiting"]
    rotating.deliver()
    assert to_be_done(rotating)["parked"] == ["new_secret"]
    clock.advance(timedelta(minutes=1))

    assert rotating.rotate() == 1

    assert rotating.secrets() == {digest(OLD): "current"}
    assert rotating.opens(OLD)
    assert rotating.kinds() == ["new_secret", "rotation_cancelled"]
    (told,) = rows(rotating.services.database, events, kind="rotation_cancelled")
    info = rotating.info()
    assert "550" in told["payload"]["reason"]
    assert told["payload"]["key_rotation_at"] == info["key_rotation_at"] == iso(clock.now() + RETRY_AFTER)
    assert (info["rotation_count"], info["last_rotation_at"]) == (0, None)
    assert to_be_done(rotating)["parked"] == []
    # Not at each tick, but after a day; and then it goes well.
    assert rotating.rotate() == 0
    rotating.mailbox.refusals.clear()
    clock.advance(RETRY_AFTER)
    rotating.settle()
    assert rotating.kinds() == ["new_secret", "rotation_cancelled", "new_secret", "key_rotated"]
    assert rotating.info()["token"] == digest(rotating.mailed()[0])


def test_what_failed_waits_its_day_however_often_the_key_rotates(rotating: Rotating, clock: MovableClock):
    rotating.begin(rotation_interval="1h")
    rotating.mailbox.refusals[BOB] = FOR_GOOD
    rotating.settle()
    due = rotating.info()["key_rotation_at"]
    cancelled = next(
        row["created_at"] for row in rows(rotating.services.database, events, kind="rotation_cancelled")
    )
    assert due == iso(cancelled + RETRY_AFTER)

    clock.set(cancelled + RETRY_AFTER - timedelta(microseconds=1))
    assert rotating.rotate() == 0
    clock.advance(timedelta(microseconds=1))
    assert rotating.rotate() == 1


@pytest.mark.parametrize("fault", [{"of_data": FOR_NOW}, {"cut_at": "DATA"}, {"cut_at": "RCPT"}])
def test_a_receiver_that_comes_back_gets_the_secret_once(rotating: Rotating, fault: dict[str, str]):
    rotating.begin()
    for name, value in fault.items():
        setattr(rotating.mailbox, name, value)
    rotating.settle()
    assert sorted(rotating.secrets().values()) == ["current", "on its way"]
    assert rotating.opens(OLD)

    rotating.mailbox.of_data, rotating.mailbox.cut_at = "250 OK", ""
    rotating.settle()

    (new,) = rotating.mailed()
    assert rotating.secrets() == {digest(new): "current", digest(OLD): "in grace"}
    assert rotating.kinds() == ["new_secret", "key_rotated"]


def test_what_cannot_be_delivered_within_a_day_is_given_up_and_never_sent(rotating: Rotating, clock: MovableClock):
    rotating.begin()
    rotating.mailbox.of_data = FOR_NOW
    rotating.rotate()
    rotating.deliver()
    clock.advance(SEALED_FOR)
    # Somebody may have it in hand at this moment; but nobody takes it in hand any more.
    assert rotating.rotate() == 0
    rotating.mailbox.of_data = "250 OK"
    rotating.deliver()
    clock.advance(GIVEN_UP_AFTER - SEALED_FOR)
    rotating.rotate()

    assert rotating.mailbox.mails == []
    assert rotating.secrets() == {digest(OLD): "current"}
    assert rotating.kinds() == ["new_secret", "rotation_cancelled"]
    # With what has kept it from arriving: that is what somebody has to look after.
    (told,) = rows(rotating.services.database, events, kind="rotation_cancelled")
    assert told["payload"]["reason"].startswith("the secret is kept no longer; ")
    assert "451" in told["payload"]["reason"]


def test_what_was_tried_and_then_nobody_looked_after_is_given_up_with_the_last_error(
    rotating: Rotating, clock: MovableClock
):
    rotating.begin()
    rotating.mailbox.of_data = FOR_NOW
    rotating.rotate()
    rotating.deliver()
    clock.advance(GIVEN_UP_AFTER)
    rotating.rotate()

    (told,) = rows(rotating.services.database, events, kind="rotation_cancelled")
    assert told["payload"]["reason"].startswith("it was not delivered within a day: ")
    assert "451" in told["payload"]["reason"]


def test_a_day_without_any_delivering_is_given_up_too(rotating: Rotating, clock: MovableClock):
    rotating.begin()
    rotating.rotate()
    clock.advance(GIVEN_UP_AFTER)
    rotating.rotate()
    rotating.deliver()

    assert rotating.mailbox.mails == []
    assert rotating.secrets() == {digest(OLD): "current"}
    (told,) = rows(rotating.services.database, events, kind="rotation_cancelled")
    assert told["payload"]["reason"] == "it was not delivered within a day"


def test_what_arrived_is_confirmed_however_late_that_is_seen(rotating: Rotating, clock: MovableClock):
    rotating.begin()
    rotating.rotate()
    rotating.deliver()
    clock.advance(9 * GIVEN_UP_AFTER)
    (new,) = rotating.mailed()
    assert rotating.opens(new)
    assert rotating.opens(OLD)

    rotating.rotate()

    assert rotating.secrets()[digest(new)] == "current"
    assert rotating.opens(OLD)


def test_no_setting_drops_a_delivery_that_decides_before_it_is_looked_at(rotating: Rotating, clock: MovableClock):
    rotating.begin()
    rotating.rotate()
    rotating.deliver()
    clock.advance(timedelta(days=9))
    retention = EventRetention(rotating.services.database, clock, days=1)
    retention.purge_due()

    rotating.rotate()

    assert rotating.secrets()[digest(rotating.mailed()[0])] == "current"
    retention.purge_due()
    assert rows(rotating.services.database, events, kind="new_secret") == []


@pytest.mark.parametrize("interval", ["0s", "soon", "", None])
def test_a_stored_interval_that_is_none_stops_no_other_key(
    rotating: Rotating, clock: MovableClock, interval: str | None
):
    database = rotating.services.database
    key_id = rotating.begin(key_alias=None)
    copy_key(database, key_id, 2)
    with database.transaction() as transaction:
        transaction.execute(update(keys).where(keys.c.key_id == key_id).values(rotation_interval=interval))

    assert rotating.rotate() == 3

    on_their_way = {row["key_id"] for row in rows(database, key_secrets) if row["event_id"]}
    assert on_their_way == {row["key_id"] for row in rows(database, keys)} - {key_id}
    (told,) = rows(database, events, kind="rotation_cancelled")
    assert told["entity_id"] == key_id
    assert "rotation_interval" in told["payload"]["reason"]
    assert told["payload"]["key_rotation_at"] == iso(clock.now() + RETRY_AFTER)


def test_without_a_way_when_it_is_due_the_key_keeps_its_secret_and_that_is_told_once_a_day(
    rotating: Rotating, clock: MovableClock
):
    rotating.begin()
    with rotating.services.database.transaction() as transaction:
        transaction.execute(update(users).values(user_email=None))

    assert [rotating.rotate() for _ in range(2)] == [1, 0]
    clock.advance(RETRY_AFTER)
    assert [rotating.rotate() for _ in range(2)] == [1, 0]

    assert rotating.kinds() == ["rotation_cancelled"] * 2
    assert rotating.secrets() == {digest(OLD): "current"}
    (told, _) = rows(rotating.services.database, events, kind="rotation_cancelled")
    assert "the key's user has no mail address" in told["payload"]["reason"]


# --- somebody comes between ----------------------------------------------------------------------------------


@pytest.mark.parametrize("delivered", [False, True])
def test_a_regenerate_meanwhile_cancels_it_and_both_secrets_end_alike(
    rotating: Rotating, clock: MovableClock, *, delivered: bool
):
    chosen = "sk-chosen-meanwhile-0123456789"
    rotating.begin()
    rotating.rotate()
    if delivered:
        rotating.deliver()
    clock.advance(timedelta(minutes=1))

    answer = rotating.api.post("/key/regenerate", {"key": OLD, "new_key": chosen, "grace_period": "1h"})

    assert answer.status == 200
    rotating.settle()
    assert len(rotating.mailbox.mails) == delivered
    assert rotating.opens(chosen)
    assert rotating.info()["rotation_count"] == 0
    for secret in (OLD, *rotating.mailed()):
        assert rotating.opens(secret)
    clock.advance(timedelta(hours=1))
    for secret in (OLD, *rotating.mailed()):
        assert not rotating.opens(secret)
    assert rotating.secrets()[digest(chosen)] == "current"
    assert rotating.kinds().count("rotation_cancelled") == (not delivered)


def test_a_regenerate_without_grace_shuts_out_the_secret_on_its_way(rotating: Rotating):
    chosen = "sk-chosen-meanwhile-0123456789"
    rotating.begin()
    rotating.rotate()
    rotating.deliver()
    (new,) = rotating.mailed()
    assert rotating.opens(new)

    rotating.api.post("/key/regenerate", {"key": OLD, "new_key": chosen})

    assert [rotating.opens(key) for key in (OLD, new, chosen)] == [False, False, True]
    assert rotating.secrets() == {digest(chosen): "current"}


def test_of_a_key_that_is_deleted_nothing_is_sent_any_more(rotating: Rotating):
    rotating.begin()
    rotating.rotate()
    rotating.api.post("/key/delete", {"keys": [OLD]})
    rotating.settle()

    assert rotating.mailbox.mails == []
    assert rows(rotating.services.database, key_secrets) == []
    assert to_be_done(rotating)["parked"] == rows(rotating.services.database, deliveries) == []


@pytest.mark.parametrize(
    ("path", "body", "shut"),
    [
        ("/key/block", {}, True),
        ("/key/update", {"duration": "1s"}, True),
        ("/key/update", {"auto_rotate": False}, False),
        ("/key/update", {"rotation_interval": "7d"}, False),
    ],
)
def test_what_was_begun_is_finished_whatever_is_changed_meanwhile(
    rotating: Rotating, path: str, body: dict[str, Any], *, shut: bool
):
    rotating.begin()
    rotating.rotate()
    assert rotating.api.post(path, {"key": OLD, **body}).status == 200
    due = rotating.info()["key_rotation_at"]
    rotating.settle()

    (new,) = rotating.mailed()
    assert rotating.secrets() == {digest(new): "current", digest(OLD): "in grace"}
    assert rotating.info()["key_rotation_at"] == due
    assert shut or rotating.opens(new)


@pytest.mark.parametrize(("path", "body"), [("/key/block", {}), ("/key/update", {"duration": "1s"})])
def test_a_key_that_is_shut_is_not_rotated(
    rotating: Rotating, clock: MovableClock, path: str, body: dict[str, Any]
):
    rotating.begin()
    rotating.api.post(path, {"key": OLD, **body})
    clock.advance(timedelta(seconds=1))

    assert rotating.rotate() == 0

    rotating.api.post("/key/unblock", {"key": OLD})
    rotating.api.post("/key/update", {"key": OLD, "duration": "1d"})
    assert rotating.rotate() == 1


@pytest.mark.parametrize("parked", [False, True])
@pytest.mark.parametrize(
    ("path", "body", "then", "reason"),
    [
        ("/key/update", {"key": OLD, "user_id": "carol"}, "carol@example.com", "the key got another user"),
        ("/key/update", {"key": OLD, "user_id": None}, None, "the key got another user"),
        (
            "/user/update",
            {"user_id": "bob", "user_email": "right@example.com"},
            "right@example.com",
            "the key's user got another mail address",
        ),
    ],
)
def test_a_secret_on_its_way_does_not_go_to_a_former_user_or_address(
    rotating: Rotating,
    elsewhere: Services,
    clock: MovableClock,
    path: str,
    body: dict[str, Any],
    then: str | None,
    reason: str,
    *,
    parked: bool,
):
    there = other(elsewhere)
    rotating.begin()
    add_user(rotating.services.database, "carol", user_email="carol@example.com")
    rotating.mailbox.of_data = FOR_GOOD if parked else FOR_NOW
    rotating.rotate()
    rotating.deliver()
    (sent,) = rows(rotating.services.database, key_secrets, revoke_at=NO_END)
    assert rotating.opens(OLD, there)

    assert rotating.api.post(path, body).status == 200

    assert rotating.secrets() == {digest(OLD): "current"}
    assert rotating.opens(OLD, there)
    (told,) = rows(rotating.services.database, events, kind="rotation_cancelled")
    assert told["payload"]["reason"] == reason
    assert [row["token"] for row in rows(rotating.services.database, retired_secrets)] == [sent["token"]]
    rotating.mailbox.of_data = "250 OK"
    rotating.settle()
    assert rotating.mailbox.envelopes == []
    clock.advance(RETRY_AFTER)
    rotating.settle()
    recipients = [to for _, to in rotating.mailbox.envelopes]
    assert recipients == ([(then,)] if then else [])
    assert set(rotating.secrets()) == {digest(OLD), *(digest(key) for key in rotating.mailed())}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/key/update", {"key": OLD, "user_id": "bob", "tags": ["a"]}),
        ("/user/update", {"user_id": "bob", "user_email": "Bob@Example.com", "user_alias": "Bob"}),
    ],
)
def test_whoever_stays_the_same_still_gets_it(rotating: Rotating, path: str, body: dict[str, Any]):
    rotating.begin()
    rotating.rotate()
    assert rotating.api.post(path, body).status == 200
    rotating.settle()

    assert rotating.kinds() == ["new_secret", "key_rotated"]
    assert len(rotating.mailed()) == 1


# --- replay --------------------------------------------------------------------------------------------------


def replayed(rotating: Rotating, **event: Any) -> int:
    (found,) = rows(rotating.services.database, events, **event)
    return rotating.api.post(f"/events/{found['event_id']}/replay", {}).status


def test_a_secret_that_has_arrived_or_was_given_up_is_not_sent_again(rotating: Rotating):
    rotating.begin()
    rotating.settle()
    sent = len(rotating.mailbox.mails)

    assert replayed(rotating, kind="new_secret") == 409

    rotating.settle()
    assert len(rotating.mailbox.mails) == sent == 1


def test_what_was_parked_can_be_sent_after_all_until_it_is_given_up(rotating: Rotating):
    rotating.begin()
    rotating.mailbox.refusals[BOB] = FOR_GOOD
    rotating.rotate()
    rotating.deliver()
    rotating.mailbox.refusals.clear()
    assert replayed(rotating, kind="new_secret") == 200
    rotating.deliver()
    rotating.rotate()

    assert rotating.secrets()[digest(rotating.mailed()[0])] == "current"
    assert replayed(rotating, kind="new_secret") == 409
    assert rotating.services.event_replay.replay_parked(Act(SYSTEM, rotating.clock.now())) == 0


def test_secrets_given_up_are_passed_over_when_all_that_is_parked_is_replayed(rotating: Rotating):
    rotating.begin()
    rotating.mailbox.refusals[BOB] = FOR_GOOD
    rotating.settle()

    assert rotating.kinds() == ["new_secret", "rotation_cancelled"]
    assert rotating.services.event_replay.replay_parked(Act(SYSTEM, rotating.clock.now())) == 0
    assert replayed(rotating, kind="new_secret") == 409


# --- killed, twice, by the hundred ---------------------------------------------------------------------------


def test_killed_anywhere_somebody_holds_a_secret_that_opens_and_in_the_end_it_is_what_was_delivered(
    rotating: Rotating, settings: Settings, clock: MovableClock
):
    database, began = rotating.services.database, clock.now() + EVERY
    rotating.begin()
    twice, points = 0, Counter[str]()
    for task in (TASK, TaskName.DELIVER, TASK):
        stored, mails, now = everything(database), list(rotating.mailbox.mails), clock.now()
        for _, left in kills(rotating.services, settings, clock, task, stored):
            points[task] += 1
            assert all(rotating.opens(key) for key in (OLD, *rotating.mailed()))
            if not left:  # the next one begins where this one has
                continue
            rotating.settle()
            delivered = rotating.mailed()
            twice += len(delivered) > 1
            # The same secret each time, one rotation, nothing else that opens the key.
            assert len(set(delivered)) == 1
            assert rotating.secrets() == {digest(delivered[0]): "current", digest(OLD): "in grace"}
            assert rotating.info()["rotation_count"] == 1
            assert sorted(rotating.kinds()) == ["key_rotated", "new_secret"]
            assert rotating.info()["key_rotation_at"] == iso(began + EVERY)
            restore(database, stored)
            forget_all(settings.redis_url)
            rotating.mailbox.mails[:] = mails
            clock.set(now)

    assert points[TASK] > 20
    assert points[TaskName.DELIVER] > 10
    assert twice > 0, "no process was killed between a delivery and its record"
    assert rotating.secrets() == {digest(rotating.mailed()[0]): "current", digest(OLD): "in grace"}


def test_two_at_once_begin_and_end_each_rotation_once(rotating: Rotating, settings: Settings, clock: MovableClock):
    database = rotating.services.database
    key_id = rotating.begin(key_alias=None)
    copy_key(database, key_id, 4)
    ids = Counter(row["key_id"] for row in rows(database, keys))

    first = together(TASK, settings, clock.now())
    on_their_way = Counter(row["key_id"] for row in rows(database, key_secrets) if row["event_id"])
    rotating.deliver()
    second = together(TASK, settings, clock.now())

    assert sum(first) == sum(second) == len(rotating.mailed()) == 5
    assert on_their_way == ids
    assert Counter(row["entity_id"] for row in rows(database, events, kind="key_rotated")) == ids
    assert {row["rotation_count"] for row in rows(database, keys)} == {1}
    current = {row["token"] for row in rows(database, key_secrets) if row["revoke_at"] is None}
    assert current == {digest(key) for key in rotating.mailed()}


def test_a_hundred_keys_take_as_many_statements_as_one(rotating: Rotating, clock: MovableClock):
    database = rotating.services.database
    key_id = rotating.begin(key_alias=None)
    counts = []
    for number in (1, 100):
        if number > 1:
            copy_key(database, key_id, number - 1)
        for run in (rotating.rotate, rotating.deliver, rotating.rotate):
            with statements(database) as seen:
                run()
            if run == rotating.rotate:
                counts.append(len(seen))
            else:
                with database.transaction() as transaction:
                    arrived = {"delivered_at": clock.now(), "sealed": None}
                    transaction.execute(update(deliveries).values(arrived))
        clock.advance(EVERY)

    # Nothing decided; find, hold, read, ways and addresses; secrets, events, targets, deliveries, audit, when next;
    # the record. Then find, hold, look, read; secrets and keys change; read, audit and tell; nothing due; the record.
    assert counts == [13, 12, 13, 12]

"""The webhook: signed so that somebody else's library believes it, and the same at every attempt."""

import base64
import hashlib
import hmac
from typing import Any

import pytest
from standardwebhooks import Webhook as Judge
from standardwebhooks import WebhookVerificationError

from app.clock import SystemClock
from app.domain.messages import body_of
from app.domain.minting import Secret
from app.integrations.posting import Endpoints
from app.integrations.webhook import Webhook
from tests.clocks import MovableClock
from tests.domain.happenings import EVENT_ID, claimed, event
from tests.integrations.receivers import Received, Receiver, answer


def secret_of(letter: str) -> Secret:
    return Secret("whsec_" + base64.b64encode(letter.encode() * 32).decode())


OLD, NEW, FOREIGN = secret_of("o"), secret_of("n"), secret_of("f")


def webhook(url: str, *secrets: Secret, clock: Any = None) -> Webhook:
    return Webhook(
        Endpoints({"webhook:0": url}, seconds=10), secrets, clock or SystemClock(), Secret, ["webhook:0"]
    )


def received(*secrets: Secret, clock: Any = None) -> Received:
    with Receiver() as receiver:
        results = webhook(receiver.url, *secrets, clock=clock).send("webhook:0", claimed(event()))
    assert results[1].ok
    (request,) = receiver.received
    return request


def believes(secret: Secret, request: Received) -> bool:
    try:
        Judge(secret.reveal()).verify(request.body, dict(request.headers))
    except WebhookVerificationError:
        return False
    return True


def test_a_receiver_with_the_secret_believes_it_and_nobody_else_does():
    request = received(NEW)

    assert believes(NEW, request)
    assert not believes(FOREIGN, request)


def test_a_body_or_an_id_that_was_changed_on_the_way_is_not_believed():
    request = received(NEW)

    assert not believes(NEW, Received("POST", "/", request.headers, request.body.replace(b"8.6", b"0.6")))
    assert not believes(NEW, Received("POST", "/", {**request.headers, "webhook-id": "another"}, request.body))


def test_the_signature_is_that_of_the_specification():
    request = received(NEW, clock=MovableClock())

    signed = f"{EVENT_ID}.{request.headers['webhook-timestamp']}.".encode() + request.body
    mac = hmac.new(b"n" * 32, signed, hashlib.sha256).digest()
    assert request.headers["webhook-signature"] == "v1," + base64.b64encode(mac).decode()


def test_while_a_secret_is_changed_the_old_and_the_new_one_are_both_believed():
    request = received(NEW, OLD)

    assert believes(OLD, request)
    assert believes(NEW, request)
    assert len(request.headers["webhook-signature"].split(" ")) == 2


def test_the_body_is_the_event_and_its_id_that_of_the_message():
    request = received(NEW, clock=MovableClock())

    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == EVENT_ID == request.json["event_id"]
    assert request.headers["webhook-timestamp"] == str(int(MovableClock().now().timestamp()))
    assert request.json == body_of(event())


def test_a_repeat_has_the_same_id_and_body_at_its_own_time():
    clock = MovableClock()
    first = received(NEW, clock=clock)
    clock.advance(90)
    again = received(NEW, clock=clock)

    assert (first.headers["webhook-id"], first.body) == (again.headers["webhook-id"], again.body)
    assert int(again.headers["webhook-timestamp"]) == int(first.headers["webhook-timestamp"]) + 90


def test_without_a_secret_nothing_is_signed():
    request = received()

    assert "webhook-signature" not in request.headers
    assert request.headers["webhook-id"] == EVENT_ID


def test_each_event_is_a_request_of_its_own_in_order():
    happened = [event("key_created", event_id="e-1"), event("key_updated", event_id="e-2")]
    with Receiver() as receiver:
        results = webhook(receiver.url, NEW).send("webhook:0", claimed(*happened))

    assert [request.headers["webhook-id"] for request in receiver.received] == ["e-1", "e-2"]
    assert all(result.ok for result in results.values())


@pytest.mark.parametrize(("status", "tried"), [(503, {1}), (410, {1, 2})])
def test_what_may_pass_stops_the_rest_and_what_will_not_does_not(status: int, tried: set[int]):
    with Receiver(answer(status)) as receiver:
        results = webhook(receiver.url, NEW).send("webhook:0", claimed(event(), event()))

    assert set(results) == tried
    assert {result.retryable for result in results.values()} == {status == 503}


@pytest.mark.parametrize(
    ("target", "sealed", "reason"),
    [
        ("webhook:0", None, "the secret is kept no longer"),
        ("webhook:1", "sk-sealed-0123456789", "no setting names this target as a signed https webhook any more"),
    ],
)
def test_a_new_secret_is_sent_whole_or_not_at_all(target: str, sealed: str | None, reason: str):
    with Receiver() as receiver:
        sender = webhook(receiver.url, NEW)
        result = sender.send(target, claimed(event("new_secret"), sealed=sealed))[1]

    assert (result.ok, result.retryable, result.reason) == (False, False, reason)
    assert receiver.received == []


def test_a_delivery_without_its_event_is_told():
    with Receiver() as receiver:
        results = webhook(receiver.url, NEW).send("webhook:0", claimed(None, event()))

    assert (results[1].reason, results[2].ok) == ("the event is kept no longer", True)

"""The new secret of a scheduled rotation on its way to a signed https webhook, over real TLS."""

import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from standardwebhooks import Webhook as Judge

from app.channels import carriers_of, channels_of
from app.config import Settings
from app.container import Services
from app.dispatch import TaskName
from app.domain import minting
from app.domain.minting import Secret
from app.integrations.posting import Endpoints
from app.integrations.webhook import NO_CARRIER, Webhook
from app.message_settings import MessageSettings
from app.models import deliveries, events, key_secrets
from app.services.events import delivery
from app.services.events.deliveries import Deliveries
from app.services.events.delivery import SEALED
from app.services.events.event_routing import EventRouting
from app.services.sealing.sealing import Sealer
from tests.clients import Api
from tests.clocks import MovableClock
from tests.deliveries.world import drain
from tests.factories import rows
from tests.integrations.certificates import server_and_client
from tests.integrations.receivers import Answer, Receiver, answer, cut, reset
from tests.leaks import SECRETS

SIGNED = Secret("whsec_" + "Ab0+" * 8)
OLD = "sk-that-rotates-0123456789"
EVERY = timedelta(days=30)
REST = timedelta(minutes=10)
SECONDS = 60.0


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return server_and_client("localhost", tmp_path)


@pytest.fixture
def receiver(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> Iterator[Receiver]:
    with Receiver(tls=tls[0]) as receiver:
        yield receiver


@pytest.fixture
def url(receiver: Receiver) -> str:
    return f"https://localhost:{receiver.port}/"


@pytest.fixture
def settings(settings: Settings, url: str) -> Settings:
    return replace(settings, messages=to(url))


@pytest.fixture
def delivering(
    services: Services, clock: MovableClock, url: str, tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> Deliveries:
    """The engine as the container makes it, but for whom it trusts."""
    return engine(services, clock, url, tls[1])


def to(url: str) -> MessageSettings:
    """Of events, only what is handed over goes there: the rest is not looked at here."""
    return MessageSettings(webhook_urls=(url,), webhook_secret=SIGNED, webhook_events=frozenset())


def target_of(url: str) -> str:
    """By which name secrets go to a webhook."""
    (target,) = carriers_of(to(url)).webhooks
    return target


def engine(
    services: Services, clock: MovableClock, url: str, trusts: ssl.SSLContext, *, may_carry: bool = True
) -> Deliveries:
    settings = services.settings
    sealer = Sealer(settings.salt_key)
    carriers = [target_of(url)] if may_carry else []
    endpoints = Endpoints(dict.fromkeys(["webhook:0", *carriers], url), seconds=SECONDS, tls=trusts)
    webhook = Webhook(endpoints, [SIGNED], clock, lambda sealed: Secret(sealer.open(SEALED, sealed)), carriers)
    routing = EventRouting(services.database, channels_of(settings.messages))
    return Deliveries(
        services.database, clock, [routing], {"webhook": webhook}, {}, lambda: 0.5, seconds=SECONDS, hours=72
    )


def begin(services: Services, api: Api, clock: MovableClock) -> str:
    """A key whose next secret is on its way; its id."""
    with services.database.transaction() as transaction:
        delivery.confirm(transaction, carriers_of(services.settings.messages).webhooks, clock.now())
    made = api.generate(key=OLD, key_alias="ci", auto_rotate=True, rotation_interval="30d")
    clock.advance(EVERY)
    assert rotate(services) == 1
    return str(made["key_id"])


def rotate(services: Services) -> int:
    return services.jobs.run(TaskName.ROTATE_KEYS, lambda: True)


def settle(services: Services, delivering: Deliveries, clock: MovableClock) -> None:
    clock.advance(REST)
    drain(delivering)
    rotate(services)


def secrets(services: Services) -> dict[str, str]:
    return {
        row["token"]: "current" if row["revoke_at"] is None else "on its way" if row["event_id"] else "in grace"
        for row in rows(services.database, key_secrets)
    }


def test_the_secret_arrives_signed_with_what_the_receiver_must_know(
    services: Services, api: Api, clock: MovableClock, delivering: Deliveries, receiver: Receiver
):
    key_id = begin(services, api, clock)
    drain(delivering)
    rotate(services)

    (request,) = receiver.received
    # The judge goes by the clock of the machine; what it is to look at here is the signature.
    signed = Judge(SIGNED.reveal()).sign(request.headers["webhook-id"], clock.now(), request.body.decode())
    assert request.headers["webhook-signature"] == signed
    body = request.json
    assert secrets(services) == {minting.digest(body["key"]): "current", minting.digest(OLD): "in grace"}
    told = {name: body[name] for name in ("event", "entity_id", "key_alias", "rotation_interval", "grace_period")}
    assert told == {
        "event": "new_secret",
        "entity_id": key_id,
        "key_alias": "ci",
        "rotation_interval": "30d",
        "grace_period": "24h",
    }
    # By the digest of the secret that it has, the receiver knows the key.
    assert body["token"] == minting.digest(OLD)
    (sent,) = rows(services.database, deliveries)
    assert sent["sealed"] is None


@pytest.mark.parametrize("ends", [answer(500), answer(429), cut, reset], ids=["500", "429", "cut", "reset"])
def test_after_an_outage_it_is_sent_again_the_same_and_confirmed_once(
    services: Services,
    api: Api,
    clock: MovableClock,
    delivering: Deliveries,
    receiver: Receiver,
    ends: Answer,
):
    begin(services, api, clock)
    receiver.reply = ends
    drain(delivering)
    rotate(services)
    assert sorted(secrets(services).values()) == ["current", "on its way"]

    receiver.reply = answer(200)
    settle(services, delivering, clock)

    keys = [request.json["key"] for request in receiver.received]
    assert len(keys) == 2
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 1
    assert secrets(services) == {minting.digest(keys[0]): "current", minting.digest(OLD): "in grace"}
    assert set(keys) == {keys[0]}
    assert len(rows(services.database, events, kind="key_rotated")) == 1


@pytest.mark.parametrize("status", [302, 401, 404, 410])
def test_what_is_refused_for_good_is_cancelled_though_the_receiver_has_read_it(
    services: Services,
    api: Api,
    clock: MovableClock,
    delivering: Deliveries,
    receiver: Receiver,
    status: int,
):
    begin(services, api, clock)
    receiver.reply = answer(status)
    settle(services, delivering, clock)

    assert secrets(services) == {minting.digest(OLD): "current"}
    verdict = api.post("/key/verify", {"key": receiver.received[0].json["key"], "model": "m"})
    assert verdict.body["code"] == "unknown"
    (told,) = rows(services.database, events, kind="rotation_cancelled")
    assert f"HTTP {status}" in told["payload"]["reason"]


def test_a_webhook_that_may_carry_no_secret_any_more_gets_none(
    services: Services,
    api: Api,
    clock: MovableClock,
    receiver: Receiver,
    url: str,
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
):
    begin(services, api, clock)
    settle(services, engine(services, clock, url, tls[1], may_carry=False), clock)

    assert receiver.received == []
    assert secrets(services) == {minting.digest(OLD): "current"}
    (told,) = rows(services.database, events, kind="rotation_cancelled")
    assert told["payload"]["reason"] == NO_CARRIER.reason


def test_another_url_in_the_same_place_gets_no_secret_that_was_meant_for_the_one_before(
    services: Services,
    api: Api,
    clock: MovableClock,
    receiver: Receiver,
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
):
    begin(services, api, clock)
    with Receiver(tls=tls[0]) as stranger:
        settle(services, engine(services, clock, f"https://localhost:{stranger.port}/", tls[1]), clock)

    assert stranger.received == receiver.received == []
    assert secrets(services) == {minting.digest(OLD): "current"}
    (told,) = rows(services.database, events, kind="rotation_cancelled")
    assert told["payload"]["reason"] == NO_CARRIER.reason


def test_without_its_secret_nothing_is_sent(
    services: Services, api: Api, clock: MovableClock, delivering: Deliveries, receiver: Receiver
):
    begin(services, api, clock)
    clock.advance(timedelta(hours=24))
    drain(delivering)
    rotate(services)

    assert receiver.received == []
    assert secrets(services) == {minting.digest(OLD): "current"}
    (told,) = rows(services.database, events, kind="rotation_cancelled")
    assert told["payload"]["reason"] == "the secret is kept no longer"


@pytest.fixture(autouse=True)
def _remembered(receiver: Receiver, services: Services) -> Iterator[None]:
    """What has arrived may stand nowhere else: in no store, and in no log."""
    yield
    for request in receiver.received:
        SECRETS.remember(request.json["key"])
    receiver.received.clear()

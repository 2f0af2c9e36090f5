"""The worker's side of /key/health: one callback, opened, sent to and reported on."""

import ssl
from dataclasses import replace
from typing import Any, cast

import pytest
from redis import Redis
from sqlalchemy import select, update
from structlog.testing import capture_logs

from app.config import Settings
from app.container import Services, build
from app.db import Database
from app.domain.minting import Secret
from app.domain.outbound import Allowance
from app.domain.windows import Calendar
from app.integrations.destinations import SUPPORTED, Destinations
from app.integrations.outbound import Fence
from app.models import keys
from app.services.call_logs.callback_probes import CallbackHealth, CallbackProbes
from app.services.sealing.sealing import Sealer
from app.store.replies import Replies
from tests.clients import Api
from tests.clocks import MovableClock
from tests.integrations.receivers import Receiver, closed_port


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, outbound_allow=Allowance.parse("127.0.0.1"))


def a_key(api: Api, database: Database, *callbacks: Any) -> str:
    """A key with these callbacks; its id."""
    api.generate(metadata={"logging": list(callbacks)})
    with database.read() as connection:
        key_id: str = connection.execute(select(keys.c.key_id)).scalar_one()
    return key_id


def webhook(url: str, **variables: str) -> dict[str, Any]:
    return {"callback_name": "generic_api", "callback_vars": {"generic_api_endpoint": url, **variables}}


def test_the_secrets_are_opened_for_the_destination_and_the_reply_holds_none(
    services: Services, api: Api, database: Database, redis_url: str
):
    with Receiver() as receiver:
        key_id = a_key(api, database, webhook(receiver.url, generic_api_headers="X-Secret=distinctive"))
        health = services.callback_probes.run(key_id, 0, "message")

    assert receiver.received[0].headers["x-secret"] == "distinctive"
    assert (health.callback_name, health.ok, health.http_status, health.reason) == ("generic_api", True, 200, None)
    with Redis.from_url(redis_url) as client:
        reply = Replies(client).collect(["message"], 1)["message"]
    assert CallbackHealth(**reply) == health
    assert "distinctive" not in str(reply)


def test_a_callback_or_a_key_that_is_gone_is_told(services: Services, api: Api, database: Database):
    key_id = a_key(api, database, webhook("http://127.0.0.1:1"))

    reasons = [
        services.callback_probes.run(key_id, 1, "m").reason,
        services.callback_probes.run("no-such-key", 0, "m").reason,
    ]

    assert reasons == ["the callbacks were changed during the test"] * 2


def test_a_callback_that_is_not_spoken_here_is_told(services: Services, api: Api, database: Database):
    key_id = a_key(api, database, {"callback_name": "newrelic"})

    assert services.callback_probes.run(key_id, 0, "m") == CallbackHealth(
        "newrelic", ok=False, reason="not supported here"
    )


def test_a_secret_of_another_salt_key_is_told_and_nothing_is_sent(
    services: Services, api: Api, database: Database
):
    lost = Sealer(Secret("another")).seal("generic_api_headers", "a=b")
    with Receiver() as receiver:
        key_id = a_key(api, database, webhook(receiver.url))
        with database.transaction() as transaction:
            changed = {"logging": [webhook(receiver.url, generic_api_headers=lost)]}
            transaction.execute(update(keys).values(metadata=changed))
        health = services.callback_probes.run(key_id, 0, "m")

    assert health.reason == "a stored secret cannot be opened: it was sealed with another salt key"
    assert receiver.connections == 0


def test_values_that_are_no_text_in_a_row_of_old_are_passed_over(services: Services, api: Api, database: Database):
    with Receiver() as receiver:
        key_id = a_key(api, database, webhook(receiver.url))
        with database.transaction() as transaction:
            entry = webhook(receiver.url)
            entry["callback_vars"]["generic_api_headers"] = 5
            transaction.execute(update(keys).values(metadata={"logging": [entry]}))

        assert services.callback_probes.run(key_id, 0, "m").ok


def test_a_fault_of_our_own_is_told_as_ours_and_logged_without_what_it_says(
    settings: Settings, api: Api, database: Database, redis_url: str
):
    port = closed_port()
    with Receiver() as receiver, Redis.from_url(redis_url) as client:
        key_id = a_key(
            api, database, webhook(f"https://127.0.0.1:{receiver.port}"), webhook(f"http://127.0.0.1:{port}")
        )
        broken = cast(ssl.SSLContext, "distinctive: no context at all")
        probes = CallbackProbes(
            database,
            Calendar(settings.timezone, settings.budget_reset_time),
            MovableClock(),
            Sealer(settings.salt_key),
            Destinations(gcs_endpoint=settings.gcs_endpoint),
            Fence(settings.outbound_allow, 5, tls=broken),
            Replies(client),
        )
        with capture_logs() as logs:
            health = probes.run(key_id, 0, "m")

    assert (health.ok, health.reason) == (False, "the test failed here, not at the destination")
    assert logs == [
        {
            "event": "callback_test_failed",
            "callback": "generic_api",
            "error": "AttributeError",
            "log_level": "error",
        }
    ]


@pytest.mark.parametrize("name", sorted(SUPPORTED))
def test_what_is_called_supported_is_spoken(name: str):
    assert Destinations(gcs_endpoint="https://storage.example").named(name) is not None


def test_two_processes_with_different_salt_keys_do_not_read_each_other(
    settings: Settings, api: Api, database: Database
):
    key_id = a_key(api, database, webhook("http://127.0.0.1:1", generic_api_headers="a=b"))
    other = build(replace(settings, salt_key=Secret("another")), MovableClock())

    health = other.callback_probes.run(key_id, 0, "m")

    other.close()
    assert health.reason == "a stored secret cannot be opened: it was sealed with another salt key"

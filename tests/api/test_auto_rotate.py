"""`auto_rotate` is taken only where new secrets have a confirmed way to whoever holds the key."""

from collections.abc import Callable
from typing import Any

import pytest

from app.channels import carriers_of
from app.container import Services
from app.domain.minting import Secret
from app.message_settings import MessageSettings
from app.models import events
from app.services.events import delivery
from tests.clients import Answer, Api
from tests.clocks import START
from tests.factories import add_team, add_user, on_one_store, rows, unchanged

SIGNED = Secret("whsec_" + "Ab0+" * 8)
WEBHOOK = MessageSettings(webhook_urls=("http://a.example/", "https://b.example/"), webhook_secret=SIGNED)
(OF_B,) = carriers_of(WEBHOOK).webhooks
ANOTHER_URL = MessageSettings(webhook_urls=("http://a.example/", "https://c.example/"), webhook_secret=SIGNED)
UNSIGNED = MessageSettings(webhook_urls=("https://b.example/",))
MAIL = MessageSettings(smtp_host="127.0.0.1", smtp_sender="keys@example.com", mail_keys=True)
WITHOUT_KEYS = MessageSettings(smtp_host="127.0.0.1", smtp_sender="keys@example.com")
DUE = "2026-12-18T13:47:33.000000Z"

Send = Callable[[Api, dict[str, Any]], Answer]


def confirm(services: Services, *targets: str) -> None:
    with services.database.transaction() as transaction:
        delivery.confirm(transaction, targets, START)


def to_key(path: str) -> Send:
    """Send the fields about a key that there is."""

    def send(api: Api, fields: dict[str, Any]) -> Answer:
        made = api.generate(key_alias="present", user_id=fields.get("user_id"))
        return api.post(path, {"key": made["key"], **fields})

    return send


def generate(api: Api, fields: dict[str, Any]) -> Answer:
    return api.post("/key/generate", fields)


each_way = pytest.mark.parametrize(
    "send", [generate, to_key("/key/update"), to_key("/key/regenerate")], ids=["generate", "update", "regenerate"]
)


@each_way
def test_a_key_rotates_where_its_secrets_have_a_way(services: Services, serving: Callable[..., Api], send: Send):
    confirm(services, OF_B)
    api = serving(messages=WEBHOOK)

    answer = send(api, {"auto_rotate": True, "rotation_interval": "30d"})

    assert answer.status == 200, answer
    (info,) = api.get("/key/list", return_full_object=True).body["keys"]
    assert {name: info[name] for name in ("auto_rotate", "rotation_interval", "key_rotation_at")} == {
        "auto_rotate": True,
        "rotation_interval": "30d",
        "key_rotation_at": DUE,
    }
    assert (info["rotation_count"], info["last_rotation_at"]) == (0, None)
    assert "x-keyledger-unenforced-fields" not in answer.headers


@on_one_store
@each_way
@pytest.mark.parametrize(
    ("messages", "confirmed", "said"),
    [
        (
            MessageSettings(),
            (),
            "set KEYLEDGER_MAIL_KEYS with SMTP_HOST, or KEYLEDGER_WEBHOOK_SECRET with an https",
        ),
        (UNSIGNED, ("webhook:0",), "set KEYLEDGER_MAIL_KEYS"),
        (WITHOUT_KEYS, ("mail",), "set KEYLEDGER_MAIL_KEYS"),
        # What is not encrypted carries no secret, whatever it has taken.
        (WEBHOOK, ("webhook:0",), f"{OF_B}: nothing has arrived there yet, 'keyledger events test' confirms it"),
        # Events that arrive say nothing of whoever is to hold secrets, and one URL nothing of another in its place.
        (WEBHOOK, ("webhook:1",), f"{OF_B}: nothing has arrived there yet"),
        (ANOTHER_URL, ("webhook:1", OF_B), "nothing has arrived there yet"),
        (MAIL, (), "mail: nothing has arrived there yet"),
        (MAIL, ("mail", OF_B), "mail: the key's user has no mail address"),
    ],
)
def test_without_a_confirmed_way_it_is_refused_and_said_what_is_missing(
    services: Services,
    serving: Callable[..., Api],
    send: Send,
    messages: MessageSettings,
    confirmed: tuple[str, ...],
    said: str,
):
    if confirmed:
        confirm(services, *confirmed)
    user = "bob" if messages is MAIL and "mail" not in confirmed else "nobody"
    add_user(services.database, "bob", user_email="bob@example.com")
    api = serving(messages=messages)

    answer = send(api, {"user_id": user, "auto_rotate": True, "rotation_interval": "30d"})

    assert answer.summary == (400, "invalid_request_error", "auto_rotate"), answer
    assert said in answer.error["message"]
    kinds = {row["kind"] for row in rows(services.database, events)}
    assert kinds <= {"key_created"}


@on_one_store
@pytest.mark.parametrize("fields", [{"auto_rotate": True}, {"auto_rotate": True, "rotation_interval": "soon"}])
def test_what_is_wrong_with_the_interval_is_said_first(
    services: Services, serving: Callable[..., Api], fields: dict[str, Any]
):
    with unchanged(services.database):
        answer = serving(messages=MAIL).post("/key/generate", fields)

    assert answer.summary == (400, "invalid_request_error", "rotation_interval")


@on_one_store
def test_the_user_to_come_is_the_one_who_gets_the_secrets(services: Services, serving: Callable[..., Api]):
    confirm(services, "mail")
    api = serving(messages=MAIL)
    add_user(services.database, "bob", user_email="bob@example.com")
    add_user(services.database, "ann")
    rotation = {"auto_rotate": True, "rotation_interval": "30d"}
    key = api.generate(user_id="ann")["key"]

    refused = api.post("/key/update", {"key": key, **rotation})
    moved = api.post("/key/update", {"key": key, "user_id": "bob", **rotation})

    assert (refused.status, moved.status) == (400, 200)


@on_one_store
def test_the_key_of_a_service_account_needs_a_way_without_an_owner(
    services: Services, serving: Callable[..., Api]
):
    add_team(services.database, "t")
    confirm(services, "mail", OF_B)
    sent = {"team_id": "t", "auto_rotate": True, "rotation_interval": "30d"}

    by_mail = serving(messages=MAIL).post("/key/service-account/generate", sent)
    by_webhook = serving(messages=WEBHOOK).post("/key/service-account/generate", sent)

    assert (by_mail.status, by_webhook.status) == (400, 200)


@on_one_store
@each_way
def test_switched_off_it_needs_no_way_and_shows_the_interval_that_it_would_have(
    serving: Callable[..., Api], send: Send
):
    api = serving(messages=MessageSettings())
    answer = send(api, {"auto_rotate": False, "rotation_interval": "30d"})

    assert answer.status == 200
    (info,) = api.get("/key/list", return_full_object=True).body["keys"]
    assert (info["auto_rotate"], info["rotation_interval"], info["key_rotation_at"]) == (False, "30d", None)


@on_one_store
@each_way
def test_an_interval_is_checked_though_the_key_does_not_rotate(serving: Callable[..., Api], send: Send):
    answer = send(serving(messages=MessageSettings()), {"rotation_interval": "rubbish"})

    assert answer.summary == (400, "invalid_request_error", "rotation_interval")

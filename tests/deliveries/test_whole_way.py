"""The whole way of a message: from a call of the API, over its event and its deliveries, to the end that receives it."""

from collections.abc import Iterator
from contextlib import closing
from email.message import EmailMessage
from pathlib import Path

import pytest
from standardwebhooks import Webhook as Judge

from app import create_app
from app.clock import SystemClock
from app.config import Settings
from app.container import Services, build
from app.dispatch import TaskName
from app.models import deliveries, events
from tests import leaks
from tests.api.calls import spent
from tests.clients import Api
from tests.clocks import MovableClock
from tests.environment import ENVIRONMENT
from tests.factories import add_team, add_user, rows
from tests.integrations.mailboxes import Mailbox, mail_server
from tests.integrations.receivers import Receiver, answer

SECRET = "whsec_" + "Ab0+" * 8
BOB = "bob@example.com"
KEY = "sk-whole-way-0123456789abcdef"


@pytest.fixture
def slack() -> Iterator[Receiver]:
    with Receiver(answer(200, b"ok")) as receiver:
        yield receiver


@pytest.fixture
def webhook() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def keys_allowed() -> bool:
    return False


@pytest.fixture
def mailbox(keys_allowed: bool) -> Iterator[Mailbox]:
    with mail_server(keys_allowed=keys_allowed) as mailbox:
        yield mailbox


@pytest.fixture
def settings(
    store_url: str,
    redis_url: str,
    tmp_path: Path,
    slack: Receiver,
    webhook: Receiver,
    mailbox: Mailbox,
    keys_allowed: bool,
) -> Settings:
    return Settings.parse(
        {
            "DATABASE_URL": store_url,
            "REDIS_URL": redis_url,
            **ENVIRONMENT,
            "KEYLEDGER_DATA_DIR": str(tmp_path),
            "SLACK_WEBHOOK_URL": slack.url,
            "WEBHOOK_URL": webhook.url,
            "KEYLEDGER_WEBHOOK_SECRET": SECRET,
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(mailbox.port),
            "SMTP_SENDER_EMAIL": "keys@keyledger.example",
            "SMTP_TLS": "False",
            "KEYLEDGER_MAIL_KEYS": str(keys_allowed),
            "PROXY_BASE_URL": "https://llm.example.com",
            "EMAIL_SUPPORT_CONTACT": "the help desk",
        }
    )


@pytest.fixture
def bob(services: Services) -> str:
    return add_user(services.database, "bob", user_email=BOB)


def deliver(services: Services) -> None:
    """What the jobs do between a call and the ends that hear of it."""
    for name in (TaskName.FOLD_LEDGER, TaskName.WATCH_BUDGETS, TaskName.DELIVER):
        services.jobs.run(name, lambda: True)


def read(mail: EmailMessage) -> str:
    """The text part on one line; the page says the same."""
    text, page = (" ".join(part.get_content().split()) for part in mail.iter_parts())
    assert mail["Subject"].partition(": ")[2].partition(":")[0] in page
    return text


def waiting(services: Services) -> list[str]:
    return [row["target"] for row in rows(services.database, deliveries) if row["delivered_at"] is None]


# --- the invitation -------------------------------------------------------------------------------------------------


def test_send_invite_email_on_generate_mails_the_user_of_the_key(
    api: Api, services: Services, bob: str, mailbox: Mailbox
):
    api.generate(
        key_alias="ci", user_id=bob, max_budget=10, budget_duration="30d", duration="90d", send_invite_email=True
    )
    deliver(services)

    (mail,) = mailbox.mails
    assert mailbox.envelopes == [("keys@keyledger.example", (BOB,))]
    assert mail["Subject"] == "Keyledger: Your new API key: ci"
    text = read(mail)
    assert "Keys are not sent by mail here. This one was shown once, to whoever made it" in text
    assert (
        "Budget: $10.00, renewed every month Expires: 2027-02-16 13:47 UTC Address: https://llm.example.com"
        in text
    )
    assert "Ask the help desk." in text
    assert waiting(services) == []


def test_send_invite_email_on_update_mails_the_user_of_the_key(
    api: Api, services: Services, bob: str, mailbox: Mailbox
):
    made = api.generate(key_alias="ci", user_id=bob)
    api.post("/key/update", {"key": made["key"], "max_budget": 3, "send_invite_email": True})
    deliver(services)

    (mail,) = mailbox.mails
    assert mail["Subject"] == "Keyledger: Your API key was changed: ci"
    assert "Budget: $3.00" in read(mail)


@pytest.mark.parametrize("path", ["/key/regenerate", "/key/{key}/regenerate"])
def test_send_invite_email_on_regenerate_mails_the_user_of_the_key(
    api: Api, services: Services, bob: str, mailbox: Mailbox, path: str
):
    made = api.generate(key_alias="ci", user_id=bob)
    body = {"send_invite_email": True} | ({} if "{" in path else {"key": made["key"]})
    assert api.post(path.format(key=made["token"]), body).status == 200
    deliver(services)

    (mail,) = mailbox.mails
    assert mail["Subject"] == "Keyledger: Your API key was replaced: ci"
    assert mailbox.envelopes[0][1] == (BOB,)


@pytest.mark.parametrize(
    ("with_key", "subject"), [(True, "Keyledger: Your new API key: sk-..."), (False, "Keyledger: Welcome")]
)
def test_send_invite_email_on_user_new_mails_the_new_user(
    api: Api, services: Services, mailbox: Mailbox, with_key: bool, subject: str
):
    sent = {"user_id": "new", "user_email": "new@example.com", "auto_create_key": with_key}
    assert api.post("/user/new", {**sent, "send_invite_email": True}).status == 200
    deliver(services)

    (mail,) = mailbox.mails
    assert mail["To"] == "new@example.com"
    assert mail["Subject"].startswith(subject)


@pytest.mark.parametrize("asked", [False, None])
def test_without_send_invite_email_nobody_is_written_to(
    api: Api, services: Services, bob: str, mailbox: Mailbox, asked: bool | None
):
    made = api.generate(user_id=bob, send_invite_email=asked)
    api.post("/key/update", {"key": made["key"], "rpm_limit": 1, "send_invite_email": asked})
    deliver(services)

    assert mailbox.mails == []


@pytest.mark.parametrize("user_id", [None, "nobody", "without an address"])
def test_an_invitation_for_somebody_without_an_address_shows_that_nobody_was_written_to(
    api: Api, services: Services, mailbox: Mailbox, user_id: str | None
):
    add_user(services.database, "without an address")
    made = api.generate(user_id=user_id, send_invite_email=True)
    deliver(services)

    (event,) = rows(services.database, events, kind="invite_mail", entity_id=made["key_id"])
    shown = api.get(f"/events/{event['event_id']}").body
    assert shown["deliveries"] == []
    assert event["routed_at"] is not None
    assert mailbox.mails == []


# --- a key by mail --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys_allowed", [True])
def test_where_a_setting_allows_it_the_mail_holds_the_key_and_nothing_keeps_it(
    api: Api, services: Services, bob: str, mailbox: Mailbox, webhook: Receiver
):
    made = api.generate(user_id=bob, send_invite_email=True)
    rotated = api.post("/key/regenerate", {"key": made["key"], "send_invite_email": True}).body
    api.post("/key/update", {"key": rotated["key"], "rpm_limit": 1, "send_invite_email": True})
    api.generate(user_id=bob)
    invitations = rows(services.database, events, kind="invite_mail")
    sealed = [event["sealed"] for event in invitations]
    deliver(services)

    texts = {mail["Subject"].split(": ")[1]: read(mail) for mail in mailbox.mails}
    assert made["key"] in texts["Your new API key"]
    assert rotated["key"] in texts["Your API key was replaced"]
    assert "sk-..." in texts["Your API key was changed"]
    assert [text is not None for text in sealed].count(True) == 2
    assert not any(leaks.SECRETS.inside((text or "").encode()) for text in sealed)
    kept = [*rows(services.database, events), *rows(services.database, deliveries)]
    assert {row["sealed"] for row in kept} == {None}


def test_where_none_allows_it_nothing_is_even_sealed(api: Api, services: Services, bob: str):
    api.generate(user_id=bob, send_invite_email=True)

    assert [event["sealed"] for event in rows(services.database, events)] == [None, None]


@pytest.mark.parametrize("keys_allowed", [True])
def test_a_key_that_waits_for_a_day_is_mailed_no_more(
    api: Api, services: Services, bob: str, mailbox: Mailbox, clock: MovableClock
):
    mailbox.of_sender = "451 not now"
    made = api.generate(user_id=bob, send_invite_email=True)
    deliver(services)
    clock.advance(24 * 3600 + 1)
    mailbox.of_sender = "250 OK"
    deliver(services)

    (mail,) = mailbox.mails
    assert made["key"] not in read(mail)
    assert "Keys are not sent by mail here" in read(mail)


# --- alerts ---------------------------------------------------------------------------------------------------------


def test_a_soft_budget_that_a_charge_crosses_is_told_on_slack_once(api: Api, services: Services, slack: Receiver):
    api.generate(key=KEY, key_alias="ci", soft_budget=1, max_budget=100)
    for cost in (0.75, 0.5, 0.25):
        spent(api, KEY, cost)
        deliver(services)

    (request,) = slack.received
    assert set(request.json) == {"text"}
    lines = request.json["text"].splitlines()
    assert lines[:2] == ["Alert type: `budget_alerts`", "Level: `High`"]
    assert "Message: Soft Budget Crossed: ci: $1.25 of $1.00 spent." in lines
    assert {"*spend:* `1.25`", "*soft_budget:* `1.0`", "*key_alias:* `ci`", "*event_group:* `key`"} <= set(lines)
    assert lines[-1] == "Proxy URL: `https://llm.example.com`"


@pytest.mark.parametrize("way", ["generate", "update", "regenerate"])
def test_a_soft_budget_that_is_set_below_the_spend_is_told_on_slack(
    api: Api, services: Services, slack: Receiver, way: str
):
    made = api.generate(key=KEY, key_alias="ci", spend=2, **({"soft_budget": 1} if way == "generate" else {}))
    if way != "generate":
        assert api.post(f"/key/{way}", {"key": made["key"], "soft_budget": 1}).status == 200
    deliver(services)

    (request,) = slack.received
    assert "Message: Soft Budget Crossed: ci: $2.00 of $1.00 spent." in request.json["text"]


def test_a_soft_budget_of_a_team_is_mailed_to_those_whom_the_team_names(
    api: Api, services: Services, mailbox: Mailbox
):
    emails = {"soft_budget_alerting_emails": ["al@example.com", BOB]}
    add_team(services.database, "search", soft_budget_nanos=10**9, metadata=emails)
    api.generate(key=KEY, team_id="search")
    spent(api, KEY, 1.5)
    deliver(services)

    assert sorted(mail["To"] for mail in mailbox.mails) == ["al@example.com", BOB]
    assert all("soft budget" in read(mail) for mail in mailbox.mails)


def test_a_budget_that_is_used_up_is_mailed_to_the_owner_and_told_to_all(
    api: Api, services: Services, bob: str, mailbox: Mailbox, slack: Receiver, webhook: Receiver
):
    api.generate(key=KEY, key_alias="ci", user_id=bob, max_budget=1)
    spent(api, KEY, 1)
    deliver(services)

    assert {mail["To"] for mail in mailbox.mails} == {BOB}
    assert "Keyledger: Budget used up: ci" in [mail["Subject"] for mail in mailbox.mails]
    assert sum("the budget is used up" in request.json["text"] for request in slack.received) == 1
    told = [request.json["event"] for request in webhook.received]
    assert told.count("budget_crossed") == 1


def test_a_key_that_will_expire_is_told_its_owner(
    api: Api, services: Services, bob: str, mailbox: Mailbox, clock: MovableClock
):
    api.generate(key=KEY, key_alias="ci", user_id=bob, duration="7d")
    clock.advance(6 * 24 * 3600 + 60)
    services.jobs.run(TaskName.ANNOUNCE_EXPIRY, lambda: True)
    deliver(services)

    (mail,) = mailbox.mails
    assert mail["Subject"] == "Keyledger: API key expires soon: ci"
    assert "expires on 2026-11-25 13:47 UTC" in read(mail)


# --- the webhook ----------------------------------------------------------------------------------------------------


def test_the_life_of_a_key_is_told_to_the_webhook_signed_and_without_the_key(
    settings: Settings, webhook: Receiver
):
    with closing(build(settings, SystemClock())) as services:
        api = Api(create_app(services))
        api.generate(key=KEY, key_alias="ci")
        api.post("/key/update", {"key": KEY, "rpm_limit": 1})
        api.post("/key/block", {"key": KEY})
        api.post("/key/unblock", {"key": KEY})
        rotated = api.post("/key/regenerate", {"key": KEY}).body
        api.post("/key/delete", {"keys": [rotated["key"]]})
        deliver(services)
        stored = {event["event_id"]: event["kind"] for event in rows(services.database, events)}

    told = {request.headers["webhook-id"]: request.json for request in webhook.received}
    assert {event_id: body["event"] for event_id, body in told.items()} == stored
    assert sorted(stored.values()) == sorted(
        f"key_{verb}" for verb in ("created", "updated", "blocked", "unblocked", "rotated", "deleted")
    )
    for request in webhook.received:
        Judge(SECRET).verify(request.body, dict(request.headers))
    assert {body["key_alias"] for body in told.values()} == {"ci"}


def test_an_outage_loses_nothing_and_each_event_keeps_its_id(
    api: Api, services: Services, webhook: Receiver, clock: MovableClock
):
    webhook.reply = answer(503)
    api.generate()
    deliver(services)
    clock.advance(3600)
    webhook.reply = answer(200)
    deliver(services)

    first, second = (request.headers["webhook-id"] for request in webhook.received)
    assert first == second
    assert waiting(services) == []

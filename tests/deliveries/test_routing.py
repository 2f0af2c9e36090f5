"""Which event goes to whom, as a table; and what of it is read from the store, by how many statements."""

from typing import Any

import pytest

from app.channels import channels_of
from app.db import Database
from app.domain.deliveries import StoredEvent
from app.domain.event_kinds import KINDS
from app.domain.event_routing import Addresses, Channels, routes_of
from app.message_settings import MessageSettings
from app.models import deliveries, events
from app.services.events.event_routing import EventRouting
from tests.api.counting import statements
from tests.clocks import START, MovableClock
from tests.deliveries.world import happen
from tests.factories import add_team, add_user, rows

ALL_KINDS = frozenset(KINDS)
ADDRESSES = Addresses(
    {"bob": "bob@example.com", "listed": "a@example.com, b@example.com"},
    {
        "crew": {"soft_budget_alerting_emails": ["lead@example.com", " LEAD@example.com", "", 7, "no address"]},
        "text": {"soft_budget_alerting_emails": "one@example.com, two@example.com"},
        "odd": {"soft_budget_alerting_emails": {"a": 1}},
    },
)
NAMED = {"user_id": "bob", "max_budget_alert_emails": {"50": ["half@example.com", "bob@example.com"]}}


def event(kind: str, entity: str = "key", entity_id: str = "k", **payload: Any) -> StoredEvent:
    return StoredEvent("id", kind, entity, entity_id, payload, START)


@pytest.mark.parametrize(
    ("told", "recipients"),
    [
        (event("invite_mail", user_id="bob"), ["bob@example.com"]),
        (event("invite_mail", "user", "bob"), ["bob@example.com"]),
        (event("budget_crossed", user_id="bob"), ["bob@example.com"]),
        (event("budget_crossed", "member", "bob:crew", user_id="bob", team_id="crew"), ["bob@example.com"]),
        (event("budget_crossed", "team", "crew", user_id=None), []),
        (event("budget_crossed", "organization", "acme"), []),
        (event("key_expiring", user_id="nobody"), []),
        (event("key_expiring", user_id=["bob"]), []),
        (event("max_budget_alert", **NAMED), ["half@example.com", "bob@example.com"]),
        (event("max_budget_alert", user_id="bob", max_budget_alert_emails={}), ["bob@example.com"]),
        (event("max_budget_alert", user_id="bob", max_budget_alert_emails="bad"), ["bob@example.com"]),
        (event("soft_budget_crossed", "team", "crew"), ["lead@example.com"]),
        (event("soft_budget_crossed", "team", "text"), ["one@example.com", "two@example.com"]),
        (event("soft_budget_crossed", "team", "odd"), []),
        (event("soft_budget_crossed", user_id="bob", team_id="crew"), []),
        (event("budget_crossed", user_id="listed"), ["a@example.com", "b@example.com"]),
    ],
)
def test_a_mail_goes_to_those_whom_the_event_concerns(told: StoredEvent, recipients: list[str]):
    routes = list(routes_of(told, "sealed", Channels({}, ALL_KINDS), ADDRESSES))

    assert [(route.target, route.recipient, route.sealed) for route in routes] == [
        ("mail", recipient, "sealed") for recipient in recipients
    ]


def test_only_kinds_that_are_mailed_are_and_only_mails_hold_what_is_sealed():
    channels = Channels({"webhook:0": ALL_KINDS}, frozenset({"invite_mail"}))

    invited = list(routes_of(event("invite_mail", user_id="bob"), "sealed", channels, ADDRESSES))
    crossed = list(routes_of(event("budget_crossed", user_id="bob"), None, channels, ADDRESSES))

    assert [(route.target, route.sealed) for route in invited] == [("webhook:0", None), ("mail", "sealed")]
    assert [route.target for route in crossed] == ["webhook:0"]


@pytest.mark.parametrize(
    ("kind", "targets"),
    [
        ("budget_crossed", ["slack:0", "slack:1", "ms_teams:0", "apprise:0", "webhook:0", "mail"]),
        ("key_expiring", ["slack:0", "slack:1", "ms_teams:0", "apprise:0", "webhook:0", "mail"]),
        ("job_silent", ["slack:0", "slack:1", "ms_teams:0", "apprise:0", "webhook:0"]),
        ("key_expired", ["webhook:0"]),
        ("key_created", ["webhook:0"]),
        ("invite_mail", ["mail"]),
    ],
)
def test_by_default_chats_hear_of_alerts_webhooks_of_everything_and_owners_by_mail(kind: str, targets: list[str]):
    url = "https://example.com"
    settings = MessageSettings((url, url), (url,), ("json://h",), webhook_urls=(url,), smtp_host="h")

    routes = routes_of(event(kind, user_id="bob"), None, channels_of(settings), ADDRESSES)

    assert [route.target for route in routes] == targets


def test_without_settings_nobody_is_told_anything():
    assert channels_of(MessageSettings()) == Channels({}, frozenset())


def test_channels_are_told_the_kinds_that_are_set():
    settings = MessageSettings(("https://a",), alert_events=frozenset({"key_created"}))

    assert channels_of(settings).kinds_of == {"slack:0": frozenset({"key_created"})}


@pytest.mark.parametrize("count", [1, 300])
def test_routing_reads_users_and_teams_once_for_all_and_writes_as_often(
    database: Database, clock: MovableClock, count: int
):
    add_user(database, "bob", user_email="bob@example.com")
    add_team(database, "crew", {}, metadata={"soft_budget_alerting_emails": ["lead@example.com"]})
    happen(database, count, clock.now(), kind="budget_crossed", payload={"user_id": "bob"})
    clock.advance(1)
    happen(database, 1, clock.now(), kind="soft_budget_crossed", entity="team", entity_id="crew", sealed="s")
    routing = EventRouting(database, Channels({"slack:0": ALL_KINDS}, ALL_KINDS))

    with statements(database) as sent:
        routed = routing.route_due(clock.now())

    assert (routed, len(sent)) == (count + 1, 6)
    found = [(row["target"], row["recipient"], row["sealed"]) for row in rows(database, deliveries)]
    assert len(found) == 2 * count + 2
    assert set(found) == {
        ("slack:0", "", None),
        ("mail", "bob@example.com", None),
        ("mail", "lead@example.com", "s"),
    }
    assert {row["sealed"] for row in rows(database, events)} == {None}

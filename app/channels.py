"""The channels that the settings make: which targets there are, what each is told, and who sends to it."""

import hashlib
from collections.abc import Mapping
from functools import partial

from app.clock import Clock
from app.domain.event_routing import MAIL, Channels
from app.domain.minting import Secret
from app.domain.rotations import Carriers
from app.integrations import ms_teams, slack
from app.integrations.apprise import Apprise
from app.integrations.mail import Mail
from app.integrations.posting import AlertPosts, Endpoints, by_place
from app.integrations.senders import Sender
from app.integrations.smtp import Server
from app.integrations.webhook import Webhook
from app.message_settings import MessageSettings
from app.services.events.delivery import SEALED
from app.services.sealing.sealing import CannotOpen, Sealer

# How much of the digest of a URL names its target; no place in a setting is as long a number.
NAME_DIGITS = 12


def channels_of(messages: MessageSettings) -> Channels:
    """Who is told what; a target is named by its channel and the place of its URL in the setting."""
    alerts = {"slack": messages.slack_urls, "ms_teams": messages.ms_teams_urls, "apprise": messages.apprise_urls}
    told = [(name, urls, messages.alert_events) for name, urls in alerts.items()]
    told.append(("webhook", messages.webhook_urls, messages.webhook_events))
    kinds_of = {target: kinds for name, urls, kinds in told for target in by_place(name, urls)}
    return Channels(kinds_of, messages.mail_events if messages.smtp_host else frozenset())


def carriers_of(messages: MessageSettings) -> Carriers:
    """Which of the channels may carry a secret."""
    return Carriers(
        tuple(_carrying_webhooks(messages)), mail=messages.smtp_host is not None and messages.mail_keys
    )


def _carrying_webhooks(messages: MessageSettings) -> dict[str, str]:
    """The webhooks that may carry a secret, by targets of their own, each named by its URL.

    So another URL is another target: it is confirmed anew, and gets nothing that was meant for the one before.
    """
    signed = messages.webhook_urls if messages.webhook_secret is not None else ()
    encrypted = [url for url in signed if url.lower().startswith("https://")]
    return {f"webhook:{hashlib.sha256(url.encode()).hexdigest()[:NAME_DIGITS]}": url for url in encrypted}


def senders_of(messages: MessageSettings, sealer: Sealer, clock: Clock, seconds: float) -> Mapping[str, Sender]:
    """Who sends to the targets of each channel; none takes longer than these seconds for one delivery."""
    proxy_url = messages.base_url
    endpoints = partial(Endpoints, seconds=seconds)
    carriers = _carrying_webhooks(messages)
    senders: dict[str, Sender] = {
        "slack": AlertPosts(
            endpoints(by_place("slack", messages.slack_urls)), partial(slack.body, proxy_url=proxy_url)
        ),
        "ms_teams": AlertPosts(
            endpoints(by_place("ms_teams", messages.ms_teams_urls)), partial(ms_teams.body, proxy_url=proxy_url)
        ),
        "apprise": Apprise(messages.apprise_urls, seconds=seconds, proxy_url=proxy_url),
        "webhook": Webhook(
            endpoints({**by_place("webhook", messages.webhook_urls), **carriers}),
            messages.webhook_secrets,
            clock,
            partial(_opened, sealer),
            carriers,
        ),
    }
    if messages.smtp_host and messages.smtp_sender:
        server = Server(
            messages.smtp_host,
            messages.smtp_port,
            messages.smtp_sender,
            username=messages.smtp_username,
            password=messages.smtp_password,
            starttls=messages.smtp_starttls,
            implicit_tls=messages.tls_from_the_start,
            seconds=min(messages.smtp_seconds, seconds),
        )
        # What was sealed while mails might hold keys is not mailed once they may not.
        open_key = partial(_opened, sealer) if messages.mail_keys else _unopened
        senders[MAIL] = Mail(server, messages.letterhead, open_key)
    return senders


def _opened(sealer: Sealer, sealed: str) -> Secret | None:
    try:
        return Secret(sealer.open(SEALED, sealed))
    except CannotOpen:
        return None


def _unopened(_sealed: str) -> None:
    return None

"""Which event goes to whom: to the channels that tell its kind, and by mail to those whom it concerns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.domain.deliveries import Route, StoredEvent, Subject
from app.domain.users import folded

MAIL = "mail"

# Addresses beside the owner's, in LiteLLM's names: of a key by percentage, of a team.
ALERT_EMAILS = "max_budget_alert_emails"
SOFT_BUDGET_EMAILS = "soft_budget_alerting_emails"


@dataclass(frozen=True, slots=True)
class Channels:
    """The targets that there are, each with the kinds of events that it is told, and the kinds that are mailed."""

    kinds_of: Mapping[str, frozenset[str]] = field(default_factory=dict)
    mailed: frozenset[str] = frozenset()

    def mails(self, event: StoredEvent) -> bool:
        return event.kind in self.mailed


@dataclass(frozen=True, slots=True)
class Addresses:
    """What is stored about those who may be written to: the addresses of users, the metadata of teams."""

    users: Mapping[str, str]
    teams: Mapping[str, Mapping[str, Any]]


def owner_of(event: StoredEvent) -> str | None:
    """The user whom an event concerns."""
    owner = event.entity_id if event.entity == "user" else event.payload.get("user_id")
    return owner if isinstance(owner, str) else None


def alerted_team_of(event: StoredEvent) -> str | None:
    """The team whose own list of addresses is told of the event."""
    return event.entity_id if event.entity == "team" and event.kind == "soft_budget_crossed" else None


def routes_of(event: StoredEvent, sealed: str | None, channels: Channels, addresses: Addresses) -> Iterator[Route]:
    """Where an event goes; what is sealed goes along with its mails alone."""
    for target, kinds in channels.kinds_of.items():
        if event.kind in kinds:
            yield Route(target, Subject.EVENT, event.event_id, happened_at=event.created_at)
    if channels.mails(event):
        for recipient in _distinct(_recipients(event, addresses)):
            yield Route(MAIL, Subject.EVENT, event.event_id, recipient, sealed, event.created_at)


def _recipients(event: StoredEvent, addresses: Addresses) -> Sequence[str]:
    """Those who are named for it; without any, the owner."""
    if event.kind == "soft_budget_crossed":
        metadata = addresses.teams.get(alerted_team_of(event) or "", {})
        return _listed(metadata.get(SOFT_BUDGET_EMAILS))
    if event.kind == "max_budget_alert":
        named = event.payload.get(ALERT_EMAILS)
        by_percentage = named.values() if isinstance(named, Mapping) else ()
        if told := [address for emails in by_percentage for address in _listed(emails)]:
            return told
    return _listed(addresses.users.get(owner_of(event) or ""))


def _listed(emails: Any) -> list[str]:
    """Addresses in a list, or in one text with commas; free-form metadata may hold anything."""
    if isinstance(emails, str):
        emails = emails.split(",")
    if not isinstance(emails, list):
        return []
    return [email.strip() for email in emails if isinstance(email, str) and "@" in email]


def _distinct(emails: Iterable[str]) -> Iterator[str]:
    """Each mailbox once, however often and in whichever spelling it is listed."""
    seen = set()
    for email in emails:
        if folded(email) not in seen:
            seen.add(folded(email))
            yield email

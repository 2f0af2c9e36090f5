"""Events as letters: what a mail says, before anybody draws it, and the plain text of it.

A letter never holds a key unless it is handed one; without, it says whom to ask.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

from app.domain.deliveries import StoredEvent
from app.domain.event_kinds import BUDGET_KINDS, NEW_SECRET, kind_of
from app.domain.messages import group_of, headline_of, instant_shown, message_of, name_of, often, one_line, usd
from app.domain.minting import Secret

PRODUCT = "Keyledger"
_WIDTH = 72


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What the operator wants in every mail."""

    base_url: str | None = None
    logo_url: str | None = None
    support_contact: str | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """What a mail says. `used` is how much of the budget is spent, 1.0 for all of it; None shows no bar."""

    subject: str
    heading: str
    paragraphs: Sequence[str]
    facts: Sequence[tuple[str, str]] = ()
    key: Secret | None = None
    used: float | None = None
    closing: str = ""
    logo_url: str | None = None
    reason: str = ""


def letter_of(event: StoredEvent, head: Letterhead, key: Secret | None = None) -> Letter:
    """The letter that tells an event, with the key itself where one is handed over."""
    heading, paragraphs = _words(event, head, key)
    closing = f"Questions? Ask {head.support_contact}." if head.support_contact else ""
    return Letter(
        subject=f"{PRODUCT}: {_subject(event)}",
        heading=heading,
        paragraphs=paragraphs,
        facts=_facts(event, head, key),
        key=key,
        used=_used(event.payload) if event.kind in BUDGET_KINDS else None,
        closing=closing,
        logo_url=head.logo_url,
        reason=_reason(event),
    )


def plain(letter: Letter) -> str:
    """The letter as plain text: lines of 72 letters, but for what must not be broken."""
    blocks = [letter.heading + "\n" + "-" * min(len(letter.heading), _WIDTH)]
    blocks += map(_filled, letter.paragraphs)
    if letter.key is not None:
        blocks.append(f"    {letter.key.reveal()}")
    if letter.facts:
        width = max(len(name) for name, _ in letter.facts) + 1
        blocks.append("\n".join(f"{name + ':':<{width}} {value}" for name, value in letter.facts))
    if letter.closing:
        blocks.append(_filled(letter.closing))
    # What follows "-- " is a signature: mail programs show it apart.
    blocks.append("-- \n" + _filled(letter.reason))
    return "\n\n".join(blocks) + "\n"


def _filled(text: str) -> str:
    return fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _subject(event: StoredEvent) -> str:
    if event.kind == "invite_mail":
        title, _ = _invitation(event, Letterhead(), None)
        return title if group_of(event) != "key" else f"{title}: {name_of(event)}"
    return headline_of(event)


def _words(event: StoredEvent, head: Letterhead, key: Secret | None) -> tuple[str, list[str]]:
    if event.kind == "invite_mail":
        return _invitation(event, head, key)
    if event.kind == NEW_SECRET:
        return kind_of(event.kind).title, [
            _ROTATED.format(it=_called(event), **_details(event.payload)),
            _WITH_KEY,
        ]
    sentence = _SENTENCES.get(event.kind)
    if sentence is None:
        return kind_of(event.kind).title, [message_of(event)]
    return kind_of(event.kind).title, [sentence.format(it=_called(event), **_details(event.payload))]


def _invitation(event: StoredEvent, head: Letterhead, key: Secret | None) -> tuple[str, list[str]]:
    about = event.payload.get("about", "")
    title, opening = _INVITATIONS.get(about, _INVITATIONS["key_created"])
    if group_of(event) != "key":
        return "Welcome", [_WELCOME]
    paragraphs = [opening.format(name=name_of(event))]
    if key is not None:
        paragraphs.append(_WITH_KEY)
    elif about != "key_updated":
        paragraphs.append(_WITHOUT_KEY.format(contact=head.support_contact or "an administrator"))
    return title, paragraphs


# By what the mail of a key is about: what it is called, and how it begins.
_INVITATIONS = {
    "key_created": ("Your new API key", "An API key has been made for you: {name}."),
    "key_rotated": (
        "Your API key was replaced",
        "Your API key {name} has a new secret. The old one ends, at once or after the time that was given to it.",
    ),
    "key_updated": (
        "Your API key was changed",
        "The settings of your API key {name} have been changed. The key itself stays the same.",
    ),
}
_WELCOME = "You have been added as a user. You have no API key yet: ask an administrator for one."
_WITH_KEY = (
    "Here is the key. It is sent only this once: put it where you keep secrets, then delete this mail. Whoever "
    "has the key can spend its budget."
)
_ROTATED = (
    "There is a new secret for {it}{as_planned}. It works already, and the old one goes on working {for_grace}: "
    "use the new one from now on. Budget, settings and history stay."
)
_WITHOUT_KEY = (
    "Keys are not sent by mail here. This one was shown once, to whoever made it: ask them for it, or {contact}."
)
_SENTENCES = {
    "soft_budget_crossed": (
        "The spend of {it} has reached its soft budget. This is a reminder and nothing is refused: calls go on "
        "until the hard budget, where there is one, is used up."
    ),
    "budget_crossed": "The budget of {it} is used up. Calls are refused until it is raised{or_renewed}.",
    "threshold_crossed": "{Part} of the budget of {it} is used. Once all of it is used up, calls are refused.",
    "max_budget_alert": "{Part} of the budget of {it} is used. Once all of it is used up, calls are refused.",
    "projected_limit_exceeded": "If {it} goes on spending like this, it passes its soft budget {when}.",
    "key_expiring": (
        "The end of {it} is near: it expires {on} and is refused from then on. If it is still needed, ask for "
        "more time, or for another key."
    ),
    "rotation_cancelled": (
        "The scheduled rotation of {it} came to nothing{why}. Its present secret goes on working, and the next "
        "rotation is due {again}."
    ),
    "test_message": "This is a test of {it}: what it sends to you arrives.",
    "key_rotated": (
        "There is a new secret for {it}. Its budget, settings and history stay. If this comes as a surprise, tell "
        "an administrator."
    ),
}


def _details(payload: Mapping[str, Any]) -> dict[str, str]:
    """What the sentences leave to the event."""
    renewed, expires, passed = (
        payload.get("window_end"),
        payload.get("expires"),
        payload.get("projected_exceeded_date"),
    )
    percent = payload.get("percentage")
    interval, grace = payload.get("rotation_interval"), payload.get("grace_period")
    reason, again = payload.get("reason"), payload.get("key_rotation_at")
    return {
        "as_planned": f", as planned {often(interval)}" if interval else "",
        "for_grace": f"for {grace} after this mail" if grace else "for some time",
        "why": f": {one_line(reason)}" if reason else "",
        "again": f"on {instant_shown(again)}" if again else "when it is set up anew",
        "or_renewed": f", or renewed on {instant_shown(renewed)}" if renewed else "",
        "Part": f"{percent:g} %" if percent is not None else "Most",
        "when": f"on {str(passed)[:10]}" if passed else "before it is renewed",
        "on": f"on {instant_shown(expires)}" if expires else "soon",
    }


_NOUNS = {
    "key": "the API key",
    "team": "the team",
    "user": "the user",
    "organization": "the organization",
}


def _called(event: StoredEvent) -> str:
    noun = _NOUNS.get(group_of(event), "")
    return f"{noun} {name_of(event)}".strip()


def _used(payload: Mapping[str, Any]) -> float | None:
    most = payload.get("max_budget") or payload.get("soft_budget")
    spend = payload.get("spend")
    return None if not most or spend is None else spend / most


def _facts(event: StoredEvent, head: Letterhead, key: Secret | None) -> list[tuple[str, str]]:
    payload = event.payload
    invited = event.kind == "invite_mail"
    budget = payload.get("max_budget")
    every = payload.get("budget_duration")
    facts: list[tuple[str, str | None]] = [
        ("Name", payload.get("key_alias")),
        ("Key", None if key is not None else payload.get("key_name")),
        ("Team", payload.get("team_alias") or payload.get("team_id")),
        ("User", payload.get("user_email") or payload.get("user_id") if not invited else None),
        ("Spent", None if invited or payload.get("spend") is None else usd(payload["spend"])),
        ("Soft budget", None if payload.get("soft_budget") is None else usd(payload["soft_budget"])),
        ("Budget", None if budget is None else usd(budget) + (f", renewed {often(every)}" if every else "")),
        ("Since", None if not payload.get("window_start") else instant_shown(payload["window_start"])),
        ("Renews", None if not payload.get("window_end") else instant_shown(payload["window_end"])),
        ("Expires", None if not payload.get("expires") else instant_shown(payload["expires"])),
        ("Address", head.base_url),
    ]
    return [(name, one_line(value)) for name, value in facts if value]


def _reason(event: StoredEvent) -> str:
    why = (
        "somebody who manages it asked for that"
        if event.kind == "invite_mail"
        else "it concerns what you own or watch"
    )
    return f"{PRODUCT} sent you this on {event.created_at:%Y-%m-%d at %H:%M} UTC because {why}."

"""Microsoft Teams, by the webhook of a workflow: an adaptive card.

Every text on the card is a plain run: nothing in the name of a key is read as markup.
"""

from typing import Any

from app.domain.alerts import Alert, facts_of
from app.domain.event_kinds import Level, kind_of
from app.domain.messages import message_of

_COLOURS = {Level.HIGH: "attention", Level.MEDIUM: "warning", Level.LOW: "default"}


def body(alert: Alert, *, proxy_url: str | None) -> dict[str, Any]:
    """The request's body for an alert."""
    event = alert.event
    kind = kind_of(event.kind)
    times = f" ({alert.count} times)" if alert.count > 1 else ""
    facts = [*facts_of(event), ("time", f"{event.created_at:%Y-%m-%d %H:%M:%S} UTC")]
    facts += [("proxy", proxy_url)] if proxy_url else []
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            _line(_run(kind.title + times, weight="bolder", size="large", color=_COLOURS[kind.level])),
            _line(_run(message_of(event))),
            *(_line(_run(f"{name}: ", isSubtle=True), _run(value)) for name, value in facts),
        ],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _line(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": list(runs)}


def _run(text: str, **looks: Any) -> dict[str, Any]:
    return {"type": "TextRun", "text": text, **looks}

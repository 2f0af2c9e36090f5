"""Events as alerts for people who read along in a chat: their text, and many equal ones as one.

The text is LiteLLM's, line by line. Names in it are other people's words: nothing in them is read as markup, so
that no alias mentions a whole channel or shows a link as something else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.deliveries import Claimed, StoredEvent
from app.domain.event_kinds import kind_of
from app.domain.messages import body_of, one_line

# Who and what the event is, and what stands in the text already; a token is for machines.
_NOT_SHOWN = frozenset(
    {"token", "event", "event_message", "event_id", "entity", "entity_id", "created_at", "key_id"}
)
_LONGEST_VALUE = 300


@dataclass(frozen=True, slots=True)
class Alert:
    """One text, for all deliveries that say the same."""

    event: StoredEvent
    delivery_ids: tuple[int, ...]
    event_ids: tuple[str, ...]

    @property
    def count(self) -> int:
        return len(self.delivery_ids)


def squashed(claimed: Sequence[Claimed]) -> list[Alert]:
    """The deliveries that have an event, as alerts: those that differ in nothing but their time are one."""
    alike: dict[str, list[tuple[int, StoredEvent]]] = {}
    for each in claimed:
        if each.event is not None:
            said = repr((_heading(each.event), facts_of(each.event)))
            alike.setdefault(said, []).append((each.delivery_id, each.event))
    return [
        Alert(
            group[0][1],
            tuple(delivery_id for delivery_id, _ in group),
            tuple(dict.fromkeys(event.event_id for _, event in group)),
        )
        for group in alike.values()
    ]


def facts_of(event: StoredEvent) -> list[tuple[str, str]]:
    """What an alert tells beside its message: each field that has a value, as one line of text."""
    return [
        (name, _shown(value))
        for name, value in body_of(event).items()
        if name not in _NOT_SHOWN and value not in (None, "", [], {})
    ]


def slack_text(alert: Alert, proxy_url: str | None) -> str:
    """The text of a Slack message, in LiteLLM's form."""
    return _text(alert, proxy_url, _slack_escaped)


def plain_text(alert: Alert, proxy_url: str | None) -> str:
    """The same for channels without markup, with the ids of the events, which cannot travel beside it."""
    return f"{_text(alert, proxy_url, str, mark='')}\n\nEvents: {', '.join(alert.event_ids)}"


def _text(alert: Alert, proxy_url: str | None, escape: Callable[[str], str], mark: str = "`") -> str:
    event = alert.event
    alert_type, level, message = _heading(event)
    bold = "*" if mark else ""
    lines = [f"[Num Alerts: {alert.count}]", ""] if alert.count > 1 else []
    lines += [
        f"Alert type: {mark}{alert_type}{mark}",
        f"Level: {mark}{level}{mark}",
        f"Timestamp: {mark}{event.created_at:%H:%M:%S}{mark}",
        "",
        f"Message: {escape(message)}",
    ]
    lines += [f"{bold}{name}:{bold} {mark}{escape(value)}{mark}" for name, value in facts_of(event)]
    lines += ["", f"Proxy URL: {mark}{escape(proxy_url)}{mark}"] if proxy_url else []
    return "\n".join(lines)


def _heading(event: StoredEvent) -> tuple[str, str, str]:
    kind = kind_of(event.kind)
    return kind.alert_type, kind.level.value, body_of(event)["event_message"]


def _shown(value: Any) -> str:
    return one_line(_flat(value), _LONGEST_VALUE)


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_flat(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_flat(part) for part in value)
    return str(value)


def _slack_escaped(text: str) -> str:
    """As Slack asks for text that is no markup; a back-tick would end the code that it stands in."""
    text = text.replace("`", "'")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

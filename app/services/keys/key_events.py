"""The events of keys: what a change of one, or its time, has to tell."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.domain.instants import iso
from app.domain.payloads import payload
from app.domain.spellings import DURATION, shown
from app.services.events.delivery import Event
from app.services.keys.key_views import KeyView


def of_change(kind: str, view: KeyView, sent: Mapping[str, Any], sealed: str | None = None) -> list[Event]:
    """What creating or changing a key has to tell: the change, and an invitation asked for.

    `sealed` is the key itself, where the invitation is to hold it. What its spend has crossed is told by whoever
    folds that, or looks at changed caps.
    """
    events = [of_key(kind, view)]
    if sent.get("send_invite_email"):
        events.append(_invitation(kind, view, sealed))
    return events


def of_key(kind: str, view: KeyView, *, fact: str | None = None, **further: Any) -> Event:
    """An event of a key, with `further` fields; `fact` tells it apart where the same could be told twice."""
    fields = payload(
        {"token": view.token, "key_name": view.key_name, **view.columns},
        spend_nanos=view.spend.window_nanos,
        max_budget=view.max_budget,
        soft_budget=view.soft_budget,
    )
    once = None if fact is None else f"{kind}:key:{view.key_id}:{fact}"
    return Event(kind, "key", view.key_id, {**fields, **further}, once)


def of_cancelled_rotation(view: KeyView, reason: str) -> Event:
    """That a scheduled rotation came to nothing, why, and when the next one is due."""
    return of_key("rotation_cancelled", view, reason=reason, key_rotation_at=iso(view.columns["key_rotation_at"]))


def _invitation(about: str, view: KeyView, sealed: str | None) -> Event:
    """An order to write to the key's user about what has happened, with what the user must know of the key."""
    terms = {
        "budget_duration": shown(view.columns["budget_duration"])[DURATION],
        "expires": iso(view.columns["expires_at"]),
    }
    return replace(of_key("invite_mail", view, about=about, **terms), sealed=sealed)

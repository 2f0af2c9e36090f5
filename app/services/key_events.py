"""The events that a change of a key leaves."""

from collections.abc import Mapping
from typing import Any

from app.domain.instants import iso
from app.domain.money import dollars
from app.services.delivery import Event
from app.services.key_views import KeyView


def of_change(kind: str, view: KeyView, sent: Mapping[str, Any], sealed: str | None = None) -> list[Event]:
    """What creating or changing a key has to tell: the change, an invitation asked for, a soft budget crossed.

    `sealed` is the key itself, where the invitation is to hold it.
    """
    events = [of_key(kind, view)]
    if sent.get("send_invite_email"):
        events.append(_invitation(kind, view, sealed))
    crossing = _soft_budget_crossing(view)
    return events if crossing is None else [*events, crossing]


def of_key(kind: str, view: KeyView) -> Event:
    return Event(kind, "key", view.key_id, _payload(view))


def _invitation(about: str, view: KeyView, sealed: str | None) -> Event:
    """An order to write to the key's user about what has happened, with what the user must know of the key."""
    terms = {"budget_duration": view.columns["budget_duration"], "expires": iso(view.columns["expires_at"])}
    payload = {**of_key("invite_mail", view).payload, **terms, "about": about}
    return Event("invite_mail", "key", view.key_id, payload, sealed=sealed)


def _soft_budget_crossing(view: KeyView) -> Event | None:
    """One event per key, window and threshold, however often it is written again."""
    soft = view.columns["soft_budget_nanos"]
    if soft is None or view.spend.window_nanos < soft:
        return None
    opened = "" if view.spend.window is None else view.spend.window.start.isoformat()
    fact = f"soft_budget_crossed:key:{view.key_id}:{opened}:{soft}"
    return Event("soft_budget_crossed", "key", view.key_id, _payload(view), fact)


def _payload(view: KeyView) -> dict[str, Any]:
    columns = view.columns
    caps = {
        name: None if columns[f"{name}_nanos"] is None else dollars(columns[f"{name}_nanos"])
        for name in ("max_budget", "soft_budget")
    }
    return {
        "token": view.token,
        "key_name": view.key_name,
        "key_alias": columns["key_alias"],
        "user_id": columns["user_id"],
        "team_id": columns["team_id"],
        "organization_id": columns["organization_id"],
        "spend": dollars(view.spend.window_nanos),
        **caps,
    }

"""What an event says: its body on the wire and the one line that tells it.

Both are drawn from the stored event alone, so that every attempt at a delivery says the same. The names of the
body are LiteLLM's, of its webhook events; what the event knows beyond them stands beside them under our own.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from app.domain.deliveries import StoredEvent
from app.domain.event_kinds import kind_of
from app.domain.instants import iso

# What a body always has, null where the event has nothing to say of it.
FIELDS = (
    *("spend", "max_budget", "soft_budget", "token", "customer_id", "user_id", "team_id", "team_alias"),
    *("organization_id", "user_email", "key_alias", "projected_exceeded_date", "projected_spend"),
    *("alert_emails", "max_budget_alert_emails"),
)
_GROUPS = {"member": "team_member", "job": "proxy", "budget": "proxy"}
_PREFIXES = {
    "key": "Key Budget: ",
    "team": "Team Budget: ",
    "team_member": "Team Member Budget: ",
    "user": "User Budget: ",
    "organization": "Organization Budget: ",
    "project": "Project Budget: ",
}
# One of a kind of scope, and more.
_SCOPES = {
    "key": ("key", "keys"),
    "key_model": ("model of a key", "models of keys"),
    "key_window": ("further window of a key", "further windows of keys"),
    "team": ("team", "teams"),
    "team_model": ("model of a team", "models of teams"),
    "team_window": ("further window of a team", "further windows of teams"),
    "member": ("team member", "team members"),
    "user": ("user", "users"),
    "user_model": ("model of a user", "models of users"),
    "organization": ("organization", "organizations"),
}
_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}
_LONGEST_NAME = 120


def body_of(event: StoredEvent) -> dict[str, Any]:
    """The event as a JSON object; the same at every call."""
    return {
        **dict.fromkeys(FIELDS),
        **event.payload,
        "event": event.kind,
        "event_group": group_of(event),
        "event_message": message_of(event),
        "event_id": event.event_id,
        "entity": event.entity,
        "entity_id": event.entity_id,
        "created_at": iso(event.created_at),
    }


def group_of(event: StoredEvent) -> str:
    """What the event is about, by LiteLLM's names."""
    return _GROUPS.get(event.entity, event.entity)


def message_of(event: StoredEvent) -> str:
    """The event in one line."""
    say = _SENTENCES.get(event.kind, _plainly)
    return say(event)


def headline_of(event: StoredEvent) -> str:
    """What happened to what, in a few words: for a subject or a heading."""
    return f"{kind_of(event.kind).title}: {name_of(event)}"


def name_of(event: StoredEvent) -> str:
    """What people call the entity, in one short line: its alias, else a masked or a technical name."""
    payload = event.payload
    by_group = {
        "key": ("key_alias", "key_name"),
        "team": ("team_alias",),
        "user": ("user_email",),
        "organization": ("organization_alias",),
    }
    names = [payload.get(field) for field in by_group.get(group_of(event), ())]
    if group_of(event) == "team_member":
        names = [_member(payload)]
    return one_line(next((name for name in names if name), event.entity_id))


def one_line(value: Any, longest: int = _LONGEST_NAME) -> str:
    """A value as text that cannot break out of its line: no control characters, and an end."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(value))
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def usd(amount: float) -> str:
    """An amount as people write it: $12.50, and a small one with all its digits."""
    if amount == 0 or abs(amount) >= 0.01:  # noqa: PLR2004 - one cent
        return f"${amount:,.2f}"
    return f"${amount:.9f}".rstrip("0")


def instant_shown(text: str) -> str:
    """An instant of the wire as people read it: 2026-12-01 00:00 UTC."""
    return f"{text[:10]} {text[11:16]} UTC"


def often(length: str) -> str:
    """The length of a budget's window as people say how often; what is a word already stays."""
    length = "1mo" if length == "30d" else length  # as its windows are
    found = re.fullmatch(r"([0-9]+)(mo|[smhdwy])", length)
    if found is None:
        return length
    count, unit = int(found[1]), _UNITS[found[2]]
    return f"every {unit}" if count == 1 else f"every {count} {unit}s"


def _member(payload: Mapping[str, Any]) -> str | None:
    user = payload.get("user_email") or payload.get("user_id")
    team = payload.get("team_alias") or payload.get("team_id")
    return f"{user} in {team}" if user and team else None


def _plainly(event: StoredEvent) -> str:
    return f"{headline_of(event)}."


def _budget(event: StoredEvent, detail: str) -> str:
    prefix = _PREFIXES.get(group_of(event), "Proxy Budget: ")
    return f"{prefix}{name_of(event)}: {detail}"


def _spent(event: StoredEvent, cap: str = "max_budget") -> str:
    spend, most = event.payload.get("spend"), event.payload.get(cap)
    if spend is None:
        return ""
    return f"{usd(spend)} spent" if most is None else f"{usd(spend)} of {usd(most)} spent"


def _soft_budget(event: StoredEvent) -> str:
    return f"Soft Budget Crossed: {name_of(event)}: {_spent(event, 'soft_budget')}."


def _alert(event: StoredEvent) -> str:
    percent = event.payload.get("percentage")
    part = "most" if percent is None else f"{percent:g} %"
    return _budget(event, f"{part} of the budget is used, {_spent(event)}.")


def _crossed(event: StoredEvent) -> str:
    return _budget(event, f"the budget is used up, {_spent(event)}.")


def _projected(event: StoredEvent) -> str:
    payload = event.payload
    detail = "at this rate the soft budget will not last"
    if payload.get("projected_exceeded_date"):
        detail += f" beyond {str(payload['projected_exceeded_date'])[:10]}"
    if payload.get("projected_spend") is not None:
        detail += f", {usd(payload['projected_spend'])} projected"
    spent = _spent(event, "soft_budget" if payload.get("soft_budget") is not None else "max_budget")
    return _budget(event, f"{detail}, {spent}.")


def _expiring(event: StoredEvent) -> str:
    expires = event.payload.get("expires")
    return _plainly(event) if expires is None else f"{headline_of(event)}, on {instant_shown(expires)}."


def _cancelled(event: StoredEvent) -> str:
    reason = event.payload.get("reason")
    return _plainly(event) if not reason else f"{headline_of(event)}: {one_line(reason)}."


def _reset(event: StoredEvent) -> str:
    counts = {name: count for name, count in (event.payload.get("scopes") or {}).items() if name in _SCOPES}
    if not counts:
        return "Budgets reset."
    kinds = ", ".join(f"{count} {_SCOPES[name][count != 1]}" for name, count in counts.items())
    return f"Budgets reset: a new window has begun for {kinds}."


def _silent(event: StoredEvent) -> str:
    last = event.payload.get("last_success_at")
    since = "it has never succeeded" if last is None else f"no success since {instant_shown(last)}"
    return f"{headline_of(event)}: {since}."


_SENTENCES: Mapping[str, Callable[[StoredEvent], str]] = {
    "soft_budget_crossed": _soft_budget,
    "max_budget_alert": _alert,
    "threshold_crossed": _alert,
    "budget_crossed": _crossed,
    "projected_limit_exceeded": _projected,
    "key_expiring": _expiring,
    "rotation_cancelled": _cancelled,
    "budget_reset": _reset,
    "job_silent": _silent,
}

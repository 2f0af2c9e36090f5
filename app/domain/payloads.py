"""What an event says: one set of fields, whatever happened to whom, so that a receiver reads all events alike.

The names are those of LiteLLM's webhook. What an event knows nothing of is null. None of them is ever a secret:
`token` is the hash of a key.
"""

from collections.abc import Mapping
from typing import Any

from app.domain.event_routing import ALERT_EMAILS
from app.domain.instants import iso
from app.domain.money import dollars, shown
from app.domain.thresholds import Caps, Crossing, CrossingKind

# Whose event it is, by ids and by the names that people know them by.
_WHOSE = (
    "token",
    "key_name",
    "key_alias",
    "user_id",
    "user_email",
    "team_id",
    "team_alias",
    "organization_id",
    "organization_alias",
)


def payload(
    whose: Mapping[str, Any],
    *,
    spend_nanos: int,
    max_budget: float | None,
    soft_budget: float | None,
) -> dict[str, Any]:
    """The fields of an event of a scope: what it has spent in its window, and its caps in dollars."""
    return {
        **{name: whose.get(name) for name in _WHOSE},
        "spend": dollars(spend_nanos),
        "max_budget": max_budget,
        "soft_budget": soft_budget,
        "projected_spend": None,
        "projected_exceeded_date": None,
    }


def of_crossing(crossing: Crossing, whose: Mapping[str, Any], caps: Caps) -> dict[str, Any]:
    """The fields of a crossing, with the threshold and the window that make it one.

    `whose` may hold who is to be told at which percentage: of these the alert has those of its own.
    """
    threshold, window, projection = crossing.threshold, crossing.window, crossing.projection
    fields = {
        **payload(
            whose,
            spend_nanos=crossing.spend_nanos,
            max_budget=shown(caps.max_nanos),
            soft_budget=shown(caps.soft_nanos),
        ),
        "threshold": dollars(threshold.nanos),
        "percentage": threshold.percentage,
        "window_start": None if window is None else iso(window.start),
        "window_end": None if window is None else iso(window.end),
    }
    if projection is not None:
        fields["projected_spend"] = dollars(projection.spend_nanos)
        fields["projected_exceeded_date"] = iso(projection.exceeded_at)
    if threshold.kind is CrossingKind.ALERT:
        fields[ALERT_EMAILS] = _to_be_told(whose.get(ALERT_EMAILS), str(threshold.percentage))
    return fields


def _to_be_told(emails: Any, percentage: str) -> dict[str, list[str]]:
    """The addresses of this percentage, in LiteLLM's shape; free-form metadata may hold anything."""
    asked = emails.get(percentage) if isinstance(emails, Mapping) else None
    if isinstance(asked, str):
        asked = asked.split(",")
    if not isinstance(asked, list):
        return {}
    return {percentage: [address.strip() for address in asked if isinstance(address, str) and address.strip()]}

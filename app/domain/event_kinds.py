"""Every kind of event: what it is called, how urgent it is, and which channels tell it unless a setting says else.

The names of alert types are those that LiteLLM filters its alerts by, where it has one.
"""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How urgent an alert is."""

    HIGH = "High"
    MEDIUM = "Medium"
    LOW = "Low"


@dataclass(frozen=True, slots=True)
class Kind:
    """`title` is what happened, in a few words; alert type and level stand in the text of an alert."""

    title: str
    alert_type: str
    level: Level = Level.LOW


KINDS: dict[str, Kind] = {
    "key_created": Kind("API key created", "new_virtual_key_created"),
    "key_updated": Kind("API key updated", "virtual_key_updated"),
    "key_rotated": Kind("API key rotated", "virtual_key_updated"),
    "rotation_cancelled": Kind("Rotation of an API key cancelled", "rotation_cancelled", Level.HIGH),
    "key_blocked": Kind("API key blocked", "virtual_key_updated"),
    "key_unblocked": Kind("API key unblocked", "virtual_key_updated"),
    "key_deleted": Kind("API key deleted", "virtual_key_deleted"),
    "key_expiring": Kind("API key expires soon", "key_expiring", Level.MEDIUM),
    "key_expired": Kind("API key expired", "key_expired", Level.MEDIUM),
    "grace_ended": Kind("Replaced secret ended", "virtual_key_updated"),
    "increase_ended": Kind("Temporary increase ended", "budget_alerts"),
    "soft_budget_crossed": Kind("Soft budget crossed", "budget_alerts", Level.HIGH),
    "max_budget_alert": Kind("Budget alert", "budget_alerts", Level.HIGH),
    "threshold_crossed": Kind("Budget nearly used up", "budget_alerts", Level.HIGH),
    "budget_crossed": Kind("Budget used up", "budget_alerts", Level.HIGH),
    "projected_limit_exceeded": Kind("Soft budget will not last", "budget_alerts", Level.HIGH),
    "budget_reset": Kind("Budgets reset", "budget_reset"),
    "team_blocked": Kind("Team blocked", "team_updated"),
    "team_unblocked": Kind("Team unblocked", "team_updated"),
    "team_deleted": Kind("Team deleted", "team_deleted"),
    "organization_deleted": Kind("Organization deleted", "organization_deleted"),
    "job_silent": Kind("Job silent", "job_silent", Level.HIGH),
    "invite_mail": Kind("Your API key", "invite_mail"),
    "test_message": Kind("Test message", "test_message"),
    "new_secret": Kind("New secret of an API key", "new_secret"),
}

# The one kind whose delivery holds a secret that its receiver cannot do without: it goes one way and never again.
NEW_SECRET = "new_secret"  # noqa: S105 - the name of a kind

BUDGET_KINDS = frozenset(
    {"soft_budget_crossed", "max_budget_alert", "threshold_crossed", "budget_crossed", "projected_limit_exceeded"}
)
# Orders to send something; what an invitation is about is an event of its own.
_ORDERS = frozenset({"invite_mail", "test_message", NEW_SECRET})

# What each channel tells by default.
WEBHOOK_KINDS = frozenset(KINDS) - _ORDERS
ALERT_KINDS = BUDGET_KINDS | {"key_expiring", "job_silent", "rotation_cancelled"}
MAIL_KINDS = frozenset(
    {
        "invite_mail",
        "max_budget_alert",
        "soft_budget_crossed",
        "budget_crossed",
        "key_expiring",
        "rotation_cancelled",
    }
)


def kind_of(name: str) -> Kind:
    """The kind of this name; one that is not in the table speaks for itself."""
    return KINDS.get(name) or Kind(name.replace("_", " ").capitalize(), name)

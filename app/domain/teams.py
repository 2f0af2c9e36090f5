"""What a request may set on a team and on its members, and what is stored for it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from app.domain import budgets, callbacks, keys, spellings
from app.domain.callbacks import Vault
from app.domain.metadata import folded_into
from app.domain.values import InvalidValue
from app.domain.windows import Calendar

# Sessions of LiteLLM's own dashboard live under this team; nobody may make it or list its keys.
DASHBOARD_TEAM = "litellm-dashboard"
ROLES = ("admin", "user")
# One transaction adds them all; a store takes so many parameters in a statement at the most.
MOST_MEMBERS = 500

LIST_FIELDS = frozenset({"models", "access_group_ids", "policies", "default_team_member_models"})
PLAIN_FIELDS = frozenset({"router_settings", "blocked"})
REFERENCE_FIELDS = frozenset({"team_alias", "organization_id"})

# What a team may let its plain members call; the names are LiteLLM's, those of its key routes.
MEMBER_PERMISSIONS = (
    "/key/generate",
    "/key/update",
    "/key/delete",
    "/key/regenerate",
    "/key/{key_id}/regenerate",
    "/key/service-account/generate",
    "/key/block",
    "/key/unblock",
    "/key/bulk_update",
    "/team/key/bulk_update",
    "/key/{key_id}/reset_spend",
    "/key/info",
    "/key/health",
    "/key/list",
    "/key/aliases",
    "/team/daily/activity",
    "/spend/logs",
)
_REGENERATE = frozenset({"/key/regenerate", "/key/{key_id}/regenerate"})
# What they may call in a team that says nothing.
BASELINE_PERMISSIONS = ("/key/info", "/key/health")

# Kept in `metadata` under their own names, as LiteLLM keeps them.
FOLDED_FIELDS = frozenset(
    {
        "tags",
        "guardrails",
        "prompts",
        "disable_global_guardrails",
        "allowed_passthrough_routes",
        "denied_passthrough_routes",
        "model_rpm_limit",
        "model_tpm_limit",
        "secret_manager_settings",
        "team_member_key_duration",
    }
)
# Where LiteLLM keeps the id of the members' shared tier; ours is a column, shown and never taken from there.
MEMBER_BUDGET_ID = "team_member_budget_id"

# Wire names of what the shared tier of a team's members holds.
MEMBER_TIER_FIELDS = {
    "team_member_budget": "max_budget",
    "team_member_budget_duration": "budget_duration",
    "team_member_tpm_limit": "tpm_limit",
    "team_member_rpm_limit": "rpm_limit",
}
# Wire names of what a member's own tier holds.
OWN_TIER_FIELDS = {
    "max_budget_in_team": "max_budget",
    **{name: name for name in spellings.FIELDS},
    "allowed_models": "allowed_models",
    "tpm_limit": "tpm_limit",
    "rpm_limit": "rpm_limit",
    "model_max_budget": "model_max_budget",
    "temp_budget_increase": "temp_budget_increase",
    "temp_budget_expiry": "temp_budget_expiry",
}

# Stored and echoed, but not acted upon by any check of this service.
UNENFORCED_FIELDS = frozenset(
    {
        "access_group_ids",
        "allowed_passthrough_routes",
        "default_team_member_models",
        "denied_passthrough_routes",
        "disable_global_guardrails",
        "policies",
        "prompts",
        "router_settings",
        "secret_manager_settings",
        "team_member_key_duration",
        "tpd_limit",
    }
)
# The same of what is set on a member.
MEMBER_UNENFORCED_FIELDS = frozenset({"model_max_budget"})


def member_id(team_id: str, user_id: str) -> str:
    """The one name of a membership, as a scope of spend and of policies."""
    # The length keeps ("a:b", "c") and ("a", "b:c") apart.
    return f"{len(team_id)}:{team_id}:{user_id}"


def membership(identity: str) -> tuple[str, str]:
    """The team and the user of a membership, by its one name."""
    length, _, names = identity.partition(":")
    return names[: int(length)], names[int(length) + 1 :]


def columns_of(
    sent: Mapping[str, Any], stored: Mapping[str, Any] | None, calendar: Calendar, now: datetime, vault: Vault
) -> dict[str, Any]:
    """Translate the sent fields into the team columns they change; raises InvalidValue.

    `stored` holds the team's present columns, None while the team is being made; null means a column's default.
    Secrets of logging callbacks are sealed by `vault`.
    Members, their tier and the object permission are not columns of a team and not dealt with.
    """
    stored = stored or {}
    columns = budgets.limits_of(sent, stored)
    if budgets.MONEY_FIELDS & sent.keys():
        budgets.check_soft_below_hard({**stored, **columns})
    columns |= {field: sent[field] or [] for field in LIST_FIELDS & sent.keys()}
    columns |= {field: sent[field] for field in PLAIN_FIELDS & sent.keys()}
    columns |= {field: sent[field] or None for field in REFERENCE_FIELDS & sent.keys()}
    if "team_member_permissions" in sent:
        columns["team_member_permissions"] = permissions(sent["team_member_permissions"])
    if "model_aliases" in sent:
        columns["model_aliases"] = sent["model_aliases"] or {}
    if "budget_limits" in sent:
        running = stored.get("budget_limits") or ()
        columns["budget_limits"] = (
            budgets.budget_limits(sent["budget_limits"] or (), running, calendar, now) or None
        )
    if sent.get("team_member_key_duration") is not None:
        keys.length(sent["team_member_key_duration"], "team_member_key_duration")
    budgets.check_model_rates(sent.get("metadata"))
    metadata = folded_into(sent, FOLDED_FIELDS, stored.get("metadata", {}))
    metadata.pop(MEMBER_BUDGET_ID, None)
    if "metadata" in sent:
        metadata = callbacks.sealed_metadata(metadata, stored.get("metadata", {}), vault)
    return {**columns, "metadata": metadata}


def permitted(granted: Sequence[str] | None) -> frozenset[str]:
    """The routes that a team's plain members may call; both ways of giving a key another secret are one."""
    routes = frozenset(granted or ())
    return routes | _REGENERATE if routes & _REGENERATE else routes


def permissions(sent: Sequence[str] | None) -> list[str] | None:
    """What a team is to grant its plain members, each once; None stands for the baseline. Raises InvalidValue."""
    if sent is None:
        return None
    if unknown := [name for name in sent if name not in MEMBER_PERMISSIONS]:
        raise InvalidValue(
            f"Invalid permission: {unknown[0][:64]}. Must be one of {list(MEMBER_PERMISSIONS)}",
            "team_member_permissions",
        )
    return list(dict.fromkeys(sent))


@contextmanager
def _named_as_sent(names: Mapping[str, str]) -> Iterator[None]:
    """Let a fault of a tier name the field as the request spelled it."""
    try:
        yield
    except InvalidValue as error:
        field = error.param or ""
        wire = next((wire for wire, name in names.items() if name == field), field)
        raise InvalidValue(str(error).replace(field, wire, 1), wire) from error


def member_tier(
    sent: Mapping[str, Any], names: Mapping[str, str], calendar: Calendar, now: datetime
) -> dict[str, Any] | None:
    """The columns of the tier that a request asks for its members; None where it asks for none.

    `names` maps the wire's names to those of a tier. Raises InvalidValue, naming the field as it was sent.
    """
    asked = {name: sent[wire] for wire, name in names.items() if sent.get(wire) is not None}
    if not asked:
        return None
    with _named_as_sent(names):
        return budgets.tier_of(asked, calendar, now)


def member_tier_changes(
    sent: Mapping[str, Any],
    names: Mapping[str, str],
    stored: Mapping[str, Any],
    calendar: Calendar,
    now: datetime,
) -> dict[str, Any]:
    """As `member_tier`, the columns that a request changes of the stored tier; a null takes a limit off."""
    asked = {name: sent[wire] for wire, name in names.items() if wire in sent}
    with _named_as_sent(names):
        return budgets.tier_changes(asked, stored, calendar, now)


def shown_metadata(stored: Mapping[str, Any], member_budget_id: str | None) -> dict[str, Any]:
    """The metadata as LiteLLM shows it: with the id of the members' tier."""
    return dict(stored) if member_budget_id is None else {**stored, MEMBER_BUDGET_ID: member_budget_id}

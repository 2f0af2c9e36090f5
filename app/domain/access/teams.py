"""What a caller may change of teams and of those in them."""

from collections.abc import Mapping
from typing import Any

from app.domain.access.callers import HIDDEN, Caller, Kind, Refusal, Standing
from app.domain.access.ceilings import bounded, lifted, raises
from app.domain.access.identities import may_see_team

# What those above a team decide, because it grants something or takes a guard off: columns and metadata entries.
RESERVED_COLUMNS = ("access_group_ids", "blocked", "model_aliases", "policies", "router_settings")
RESERVED_ENTRIES = (
    "allowed_passthrough_routes",
    "denied_passthrough_routes",
    "disable_global_guardrails",
    "guardrails",
    "prompts",
    "secret_manager_settings",
)


def may_manage_team(caller: Caller, team_id: str, standing: Standing, route: str) -> Refusal | None:
    """Whether the caller may change the team and its members at all; `may_turn_team` says how far."""
    if caller.is_admin or standing.manages:
        return None
    if not may_see_team(caller, team_id, standing):
        return HIDDEN
    return Refusal(
        Kind.FORBIDDEN,
        f"Call not allowed. User not proxy admin OR team admin. route={route}, team_id={team_id}",
    )


def may_relieve_member(caller: Caller, user_id: str) -> Refusal | None:
    """Whether one who manages a team may reset what this member has spent there, or may spend: not for itself."""
    if caller.is_admin or caller.user_id != user_id:
        return None
    return Refusal(Kind.FORBIDDEN, "Only a proxy admin can reset your own spend or budget in a team.", "user_id")


def may_turn_team(
    caller: Caller, standing: Standing, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Refusal | None:
    """Whether one who manages a team may turn its columns from `before` into `after`.

    A team's own admin keeps its limits or lowers them, and leaves its grants and guards alone. An admin of its
    organization may do more, up to the limits of the calling key.
    """
    if caller.is_admin:
        return None
    if raises(before["max_budget_nanos"], after["max_budget_nanos"]) and after["max_budget_nanos"] is None:
        return Refusal(Kind.FORBIDDEN, "Only a proxy admin can remove a team's max_budget.", "max_budget")
    if standing.is_organization_admin:
        return _within_key(caller, before, after)
    changed = [*lifted(before, after), *_reserved(before, after)]
    if changed:
        return Refusal(
            Kind.FORBIDDEN,
            "Only a proxy admin or an admin of the team's organization can do this to a team: "
            f"raise or remove a limit, or change what it is granted ({', '.join(changed)}).",
            changed[0],
        )
    return None


def may_permit_team(caller: Caller, standing: Standing) -> Refusal | None:
    """Whether one who manages a team may change its object permission: what it may reach beside models."""
    if caller.is_admin or standing.is_organization_admin:
        return None
    return Refusal(
        Kind.FORBIDDEN,
        "Only a proxy admin or an admin of the team's organization can change its object_permission.",
        "object_permission",
    )


def may_move_team(caller: Caller, organization_id: str | None) -> Refusal | None:
    """Whether one who manages a team may put it under this organization; None takes it out of any."""
    if caller.is_admin or organization_id in caller.organization_admin_of:
        return None
    return Refusal(
        Kind.FORBIDDEN,
        "Only proxy admins can take a team out of its organization."
        if organization_id is None
        else "Only proxy admins and admins of the organization can move a team into it.",
        "organization_id",
    )


def _within_key(caller: Caller, before: Mapping[str, Any], after: Mapping[str, Any]) -> Refusal | None:
    caps = (
        ("max_budget_nanos", "max_budget", caller.max_budget_nanos),
        ("tpm_limit", "tpm_limit", caller.tpm_limit),
        ("rpm_limit", "rpm_limit", caller.rpm_limit),
    )
    for column, field, cap in caps:
        if cap is not None and raises(before[column], after[column]) and raises(cap, after[column]):
            return Refusal(Kind.CEILING, f"{field} is above that of the calling key.", field)
    models = after["models"]
    if (
        models != before["models"]
        and bounded(caller.models)
        and not (models and set(models) <= set(caller.models))
    ):
        return Refusal(Kind.FORBIDDEN, "models must be among those of the calling key.", "models")
    return None


def _reserved(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    columns = [name for name in RESERVED_COLUMNS if (before[name] or None) != (after[name] or None)]
    stood, stands = before["metadata"], after["metadata"]
    return columns + [name for name in RESERVED_ENTRIES if stood.get(name) != stands.get(name)]

"""What a caller may see of keys and do to them, and what it may grant with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain import routes, spellings
from app.domain.access.callers import HIDDEN, OF_TEAM, SERVICE_ACCOUNT, Caller, Kind, Refusal, Standing
from app.domain.access.ceilings import raises, widens
from app.domain.budgets import ALL_MODELS

# A change of these on an existing key is a change of what it may spend.
BUDGET_FIELDS = frozenset(
    {
        "max_budget",
        "soft_budget",
        "budget_id",
        *spellings.FIELDS,
        "carry_spend",
        "budget_limits",
        "model_max_budget",
        "spend",
        "temp_budget_increase",
        "temp_budget_expiry",
    }
)
ADMIN_ONLY_FIELDS = frozenset(
    {
        "default_estimated_output_tokens",
        "default_estimated_output_tokens_per_model",
        "throttle_on_budget_exceeded",
        "end_user_budget_id",
    }
)
_PERSONAL_OBJECTS = ("vector_stores", "search_tools", "mcp_servers")


@dataclass(frozen=True, slots=True)
class KeyTarget:
    """The part of a key that decides who may touch it."""

    key_id: str
    user_id: str | None
    team_id: str | None
    created_by: str | None
    service_account_id: str | None = None


def may_see_key(caller: Caller, target: KeyTarget, standing: Standing) -> bool:
    """Whether the key exists at all as far as this caller is concerned."""
    return (
        caller.sees_all
        or caller.key_id == target.key_id
        or _owns(caller, target)
        or standing.is_member
        or standing.manages
        or (caller.is_service_account and target.team_id is not None and caller.team_id == target.team_id)
    )


def may_set(caller: Caller, sent: Mapping[str, Any], *, personal: bool) -> Refusal | None:
    """Whether the caller may set these fields on any key; what they grant must be the caller's to give.

    A null counts: it takes off the limit that stood there.
    """
    if caller.is_admin:
        return None
    for field in ("allowed_routes", "permissions"):
        if field in sent:
            return Refusal(Kind.FORBIDDEN, f"Only proxy admins can set '{field}' on a key.", field)
    if sent.get("key_type") == "management":
        return Refusal(Kind.FORBIDDEN, "Only proxy admins can create management keys.", "key_type")
    for field in sorted(ADMIN_ONLY_FIELDS):
        if field in sent:
            return Refusal(Kind.FORBIDDEN, f"Only proxy admins can set '{field}' on a key.", field)
    if personal:
        return _may_set_personally(sent)
    return None


def _may_set_personally(sent: Mapping[str, Any]) -> Refusal | None:
    granted = sent.get("object_permission") or {}
    if any(granted.get(name) for name in _PERSONAL_OBJECTS):
        return Refusal(
            Kind.FORBIDDEN, "object_permission on a personal key is set by proxy admins only.", "object_permission"
        )
    if sent.get("access_group_ids"):
        return Refusal(
            Kind.FORBIDDEN, "access_group_ids on a personal key are set by proxy admins only.", "access_group_ids"
        )
    return None


def within_own_caps(caller: Caller, sent: Mapping[str, Any], max_budget_nanos: int | None) -> Refusal | None:
    """Whether the sent limits and models stay within those of the calling key; none of either is all there is."""
    if caller.is_admin:
        return None
    for field, cap, limit in (
        ("max_budget", caller.max_budget_nanos, max_budget_nanos),
        ("tpm_limit", caller.tpm_limit, sent.get("tpm_limit")),
        ("rpm_limit", caller.rpm_limit, sent.get("rpm_limit")),
        ("max_parallel_requests", caller.max_parallel_requests, sent.get("max_parallel_requests")),
    ):
        if field in sent and raises(cap, limit):
            return Refusal(Kind.CEILING, f"{field} is above that of the calling key.", field)
    if "expires_at" in sent and raises(caller.expires_at, sent["expires_at"]):
        return Refusal(Kind.CEILING, "A key that expires gives no longer life than its own.", "duration")
    if "models" in sent and widens(caller.models, sent["models"]):
        return Refusal(Kind.FORBIDDEN, "models must be among those of the calling key.", "models")
    return None


def lasting(caller: Caller, columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a new key; one that says nothing of its end has that of the key that makes it."""
    if caller.is_admin or caller.expires_at is None or columns.get("expires_at") is not None:
        return dict(columns)
    return {**columns, "expires_at": caller.expires_at}


def may_keep_to(caller: Caller, granted: Sequence[str]) -> Refusal | None:
    """Whether the caller may make a key that reaches these routes alone: one bound to routes gives its own."""
    if caller.is_admin or not caller.allowed_routes or routes.within(granted, caller.allowed_routes):
        return None
    return Refusal(Kind.FORBIDDEN, "The calling key does not reach the routes of this key_type.", "key_type")


def routes_of_new(caller: Caller) -> list[str]:
    """The routes of a key whose request names none: those to which the calling key is bound."""
    return [] if caller.is_admin or routes.unbounded(caller.allowed_routes) else list(caller.allowed_routes)


def may_generate(
    caller: Caller,
    *,
    user_id: str | None,
    team_id: str | None,
    team: Standing | None,
    service_account: bool,
    route: str,
) -> Refusal | None:
    """Whether the caller may make a key for this owner and team; `team` is None where no such team exists.

    A service account acts for its whole team, so making one needs a grant of its own.
    """
    if service_account and team_id is None:
        return Refusal(Kind.CEILING, "A service account key needs a team_id.", "team_id")
    if caller.is_admin:
        return None
    if team_id is not None:
        needed = "/key/service-account/generate" if service_account else route
        refusal = _may_make_team_key(caller, team_id, team, needed)
        if refusal is not None:
            return refusal
    if user_id is not None and user_id != caller.user_id:
        return Refusal(Kind.FORBIDDEN, "User can only create keys for themselves.", "user_id")
    return None


def _may_make_team_key(caller: Caller, team_id: str, team: Standing | None, route: str) -> Refusal | None:
    if caller.is_service_account and caller.team_id == team_id:
        return None
    if team is None or not (team.is_member or team.manages):
        return Refusal(Kind.NOT_IN_TEAM, f"Team not found among your teams. team_id={team_id}", "team_id")
    return None if team.manages else _granted(team, route)


def _granted(team: Standing, route: str) -> Refusal | None:
    if route in team.permissions:
        return None
    return Refusal(Kind.MEMBER_PERMISSION, f"Team member does not have permissions for endpoint: {route}.", route)


def may_update(
    caller: Caller, target: KeyTarget, sent: Mapping[str, Any], standing: Standing, route: str
) -> Refusal | None:
    """Whether the caller may change these fields of this key."""
    if caller.is_admin:
        return None
    if not may_see_key(caller, target, standing):
        return HIDDEN
    account = (sent.get("metadata") or {}).get(SERVICE_ACCOUNT)
    if account is not None and account != target.service_account_id and not standing.manages:
        return Refusal(Kind.FORBIDDEN, "Only a team admin can make a service account.", "metadata")
    if "user_id" in sent and sent["user_id"] != target.user_id:
        return Refusal(Kind.FORBIDDEN, "Only proxy admins can change the owner of a key.", "user_id")
    if "blocked" in sent and not standing.manages:
        return Refusal(Kind.FORBIDDEN, "Only those who may block a key can set 'blocked'.", "blocked")
    if target.team_id is None:
        return _may_update_personal(caller, target, sent)
    return _may_update_in_team(caller, target, sent, standing, route)


def _may_update_personal(caller: Caller, target: KeyTarget, sent: Mapping[str, Any]) -> Refusal | None:
    if not _owns(caller, target) or target.created_by != caller.user_id:
        return Refusal(Kind.FORBIDDEN, "Only the user who created and owns this key can update it.")
    granted = sent.get("object_permission")
    if "object_permission" in sent and (not granted or any(name in granted for name in _PERSONAL_OBJECTS)):
        # An empty list of these restricts nothing, so taking one off is a grant too.
        return Refusal(
            Kind.FORBIDDEN, "object_permission on a personal key is set by proxy admins only.", "object_permission"
        )
    return _no_budget_change(sent)


def _may_update_in_team(
    caller: Caller, target: KeyTarget, sent: Mapping[str, Any], standing: Standing, route: str
) -> Refusal | None:
    foreign = target.user_id is not None and target.user_id != caller.user_id
    if standing.manages:
        return Refusal(Kind.FORBIDDEN, "This key belongs to another member of the team.") if foreign else None
    if caller.is_service_account and caller.team_id == target.team_id and target.user_id is None:
        return _no_budget_change(sent)
    if foreign or target.user_id is None:
        return Refusal(Kind.FORBIDDEN, "This key belongs to another member of the team.")
    return _granted(standing, route) or _no_budget_change(sent)


def _no_budget_change(sent: Mapping[str, Any]) -> Refusal | None:
    changed = sorted(BUDGET_FIELDS & sent.keys())
    if changed:
        return Refusal(
            Kind.FORBIDDEN, f"Not allowed to change the budget of this key: {', '.join(changed)}.", changed[0]
        )
    return None


def may_leave_team(caller: Caller, target: KeyTarget) -> Refusal | None:
    """Whether the caller may take the key out of its team: no other limits would bind one without an owner."""
    if caller.is_admin or target.user_id is not None:
        return None
    return Refusal(Kind.FORBIDDEN, "Only proxy admins can take a key without an owner out of its team.", "team_id")


def may_move_to_team(caller: Caller, team: Standing | None) -> Refusal | None:
    """Whether the caller may put a key into this team; None stands for a team that does not exist."""
    if caller.is_admin:
        return None
    if team is None or not (team.is_member or team.manages):
        return HIDDEN
    if not team.manages:
        return Refusal(Kind.FORBIDDEN, "Only a team admin can move a key into the team.", "team_id")
    return None


def fits_team(key: Mapping[str, Any], team: Mapping[str, Any], *, is_member: bool) -> Refusal | None:
    """Whether a key may stand in a team as it is: its models, its limits, its owner."""
    allowed = set(team["models"])
    if allowed and ALL_MODELS.isdisjoint(allowed) and not set(key["models"]) - {OF_TEAM} <= allowed:
        return Refusal(Kind.FORBIDDEN, "The team does not allow all models of this key.", "models")
    for name in ("tpm_limit", "rpm_limit"):
        if team[name] is not None and key[name] is not None and key[name] > team[name]:
            return Refusal(Kind.FORBIDDEN, f"{name} of this key is above that of the team.", name)
    if key["user_id"] is not None and not is_member:
        return Refusal(Kind.FORBIDDEN, "The key's user is not a member of the team.", "user_id")
    return None


def may_delete(caller: Caller, target: KeyTarget, standing: Standing) -> Refusal | None:
    if caller.is_admin or _owns(caller, target) or standing.manages:
        return None
    if not may_see_key(caller, target, standing):
        return HIDDEN
    return Refusal(Kind.FORBIDDEN, "You are not authorized to delete this key.")


def may_block(caller: Caller, target: KeyTarget, standing: Standing, route: str) -> Refusal | None:
    if caller.is_admin or standing.manages:
        return None
    if not may_see_key(caller, target, standing):
        return HIDDEN
    return Refusal(
        Kind.MANAGERS,
        f"Only proxy admins, team admins, or org admins can call {route}. "
        f"user_role={caller.role}, user_id={caller.user_id}",
    )


def may_regenerate(caller: Caller, target: KeyTarget, standing: Standing, route: str) -> Refusal | None:
    """Whether the caller may give this key a new secret; what else it changes is asked of `may_update`."""
    if caller.is_admin:
        return None
    if not may_see_key(caller, target, standing):
        return HIDDEN
    if target.team_id is None or not (standing.is_member or standing.manages):
        if _owns(caller, target):
            return None
        return Refusal(Kind.FORBIDDEN, "You are not authorized to regenerate this key.")
    if standing.manages:
        return None
    if not _owns(caller, target):
        return Refusal(Kind.FORBIDDEN, "This key belongs to another member of the team.")
    return _granted(standing, route)


def may_reset_spend(caller: Caller, target: KeyTarget, standing: Standing) -> Refusal | None:
    if caller.is_admin or standing.manages:
        return None
    if not may_see_key(caller, target, standing):
        return HIDDEN
    return Refusal(Kind.MANAGERS, "Only proxy admins and team admins can reset the spend of a key.")


def may_update_in_bulk(caller: Caller) -> Refusal | None:
    return None if caller.is_admin else Refusal(Kind.MANAGERS, "Only proxy admins can update keys in bulk.")


def _owns(caller: Caller, target: KeyTarget) -> bool:
    """Ownership needs a name: two keys without an owner do not own each other."""
    return caller.user_id is not None and caller.user_id == target.user_id

"""Who may do what. Every decision about a caller's rights is made here and nowhere else.

Rules are pure: they see the caller, what it is to a team, and the target, and answer a `Refusal` or None. A
target that the caller may not see is refused as HIDDEN, which answers exactly like one that does not exist.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any

from app.domain import routes
from app.domain.budgets import ALL_MODELS


class Role(StrEnum):
    PROXY_ADMIN = "proxy_admin"
    PROXY_ADMIN_VIEWER = "proxy_admin_viewer"
    ORG_ADMIN = "org_admin"
    INTERNAL_USER = "internal_user"
    INTERNAL_USER_VIEWER = "internal_user_viewer"
    TEAM = "team"
    CUSTOMER = "customer"

    @classmethod
    def of(cls, stored: str | None) -> "Role":
        """A stored role that is missing or unknown is an internal user's."""
        return _ROLES.get(stored or "", cls.INTERNAL_USER)


_ROLES = {role.value: role for role in Role}


class Kind(Enum):
    """Why a rule says no; what each means on the wire stands in the API's table."""

    ROLE = "role"
    VIEWER = "viewer"
    ROUTE = "route"
    MEMBER_PERMISSION = "member_permission"
    NOT_IN_TEAM = "not_in_team"
    FORBIDDEN = "forbidden"
    MANAGERS = "managers"
    LIST = "list"
    CEILING = "ceiling"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class Refusal:
    kind: Kind
    message: str
    param: str | None = None


HIDDEN = Refusal(Kind.HIDDEN, "")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the master key (`key_id` None) or a virtual key with the rights of its owner."""

    role: Role
    user_id: str | None
    key_id: str | None = None
    token: str | None = None
    key_alias: str | None = None
    team_id: str | None = None
    # The owner has a row: without one a key reaches no management route.
    has_owner: bool = False
    is_service_account: bool = False
    allowed_routes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    max_budget_nanos: int | None = None
    tpm_limit: int | None = None
    rpm_limit: int | None = None
    organization_admin_of: frozenset[str] = frozenset()

    @property
    def is_admin(self) -> bool:
        return self.role is Role.PROXY_ADMIN

    @property
    def sees_all(self) -> bool:
        return self.role in {Role.PROXY_ADMIN, Role.PROXY_ADMIN_VIEWER}


@dataclass(frozen=True, slots=True)
class Standing:
    """What a caller is to one team; `permissions` are the routes that the team grants its plain members."""

    is_member: bool = False
    is_team_admin: bool = False
    is_organization_admin: bool = False
    permissions: frozenset[str] = frozenset()

    @property
    def manages(self) -> bool:
        return self.is_team_admin or self.is_organization_admin


NO_STANDING = Standing()

# Stands in a key's models for those of its team, whatever they are.
OF_TEAM = "all-team-models"
# The metadata entry that makes a key a service account of its team.
SERVICE_ACCOUNT = "service_account_id"

# A change of these on an existing key is a change of what it may spend.
BUDGET_FIELDS = frozenset(
    {
        "max_budget",
        "soft_budget",
        "budget_id",
        "budget_duration",
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


def gate(caller: Caller, route: str, method: str) -> Refusal | None:
    """Whether the caller's role and its key's `allowed_routes` reach the route at all."""
    if caller.allowed_routes and not routes.covered(route, caller.allowed_routes):
        return Refusal(
            Kind.ROUTE,
            "Virtual key is not allowed to call this route. Only allowed to call routes: "
            f"{list(caller.allowed_routes)}. Tried to call route: {route}",
        )
    if caller.is_admin:
        return None
    if caller.role is Role.PROXY_ADMIN_VIEWER:
        if method in {"GET", "HEAD"} or route in routes.KEY_INFO:
            return None
        return Refusal(
            Kind.VIEWER,
            f"user not allowed to access this route, role= {caller.role}. Trying to access: {route}",
        )
    if route in routes.INFO | routes.SELF_MANAGED or _role_reaches(caller, route):
        return None
    if caller.allowed_routes:  # an administrator listed this very route
        return None
    return Refusal(
        Kind.ROLE,
        "Authentication Error, Only proxy admin can be used to generate, delete, update info for new "
        f"keys/users/teams. Route={route}. Your role={caller.role if caller.has_owner else 'unknown'}. "
        f"Your user_id={_masked(caller.user_id)}",
    )


def _role_reaches(caller: Caller, route: str) -> bool:
    if caller.organization_admin_of and route in routes.ORGANIZATION_ADMIN:
        return True
    if caller.is_service_account and route in {"/key/generate", "/key/update"}:
        return True
    return caller.has_owner and caller.role is Role.INTERNAL_USER and route in routes.KEY_MANAGEMENT


def _masked(user_id: str | None) -> str:
    return "None" if user_id is None else "*" * min(len(user_id), 8)


# --- keys --------------------------------------------------------------------------------------------------


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
    """Whether the sent budget and models stay within those of the calling key; none of either is all there is."""
    if caller.is_admin:
        return None
    ceiling = caller.max_budget_nanos
    if "max_budget" in sent and ceiling is not None and (max_budget_nanos is None or max_budget_nanos > ceiling):
        return Refusal(Kind.CEILING, "max_budget is above that of the calling key.", "max_budget")
    models = sent.get("models") or []
    bounded = bool(caller.models) and ALL_MODELS.isdisjoint(caller.models)
    if "models" in sent and bounded and not (models and set(models) <= set(caller.models)):
        return Refusal(Kind.FORBIDDEN, "models must be among those of the calling key.", "models")
    return None


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


# --- teams, users, organizations, budgets --------------------------------------------------------------------


def may_create_in_organization(caller: Caller, organization_id: str | None) -> Refusal | None:
    """Whether the caller may make a team or a user under this organization."""
    if caller.is_admin or organization_id in caller.organization_admin_of:
        return None
    if caller.organization_admin_of:
        return Refusal(
            Kind.FORBIDDEN, "An organization admin can create within the own organization only.", "organization_id"
        )
    return (
        None
        if caller.allowed_routes
        else Refusal(Kind.ROLE, "Authentication Error, Only proxy admin can do this.")
    )


def bounded(caller: Caller, columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a new team or user; what they leave open gets the caps of the key that makes it."""
    if caller.is_admin:
        return dict(columns)
    caps = {
        "models": list(caller.models) or None,
        "max_budget_nanos": caller.max_budget_nanos,
        "tpm_limit": caller.tpm_limit,
        "rpm_limit": caller.rpm_limit,
    }
    left_open = {name: cap for name, cap in caps.items() if cap is not None and columns.get(name) in (None, [])}
    return {**columns, **left_open}


def within_own_rates(caller: Caller, sent: Mapping[str, Any]) -> Refusal | None:
    """Whether the rates of a new team or user stay within those of the key that makes it."""
    for name, cap in (("tpm_limit", caller.tpm_limit), ("rpm_limit", caller.rpm_limit)):
        if not caller.is_admin and cap is not None and (sent.get(name) or 0) > cap:
            return Refusal(Kind.CEILING, f"{name} is above that of the key that creates it.", name)
    return None


def may_assign_role(caller: Caller, role: str | None) -> Refusal | None:
    """Whether the caller may give a user this role."""
    if caller.is_admin or role not in {Role.PROXY_ADMIN, Role.PROXY_ADMIN_VIEWER}:
        return None
    return Refusal(Kind.FORBIDDEN, f"Only proxy admins can create users with the role {role}.", "user_role")


def may_see_team(caller: Caller, team_id: str, standing: Standing) -> bool:
    return caller.sees_all or caller.team_id == team_id or standing.is_member or standing.manages


def sees_every_key_of(caller: Caller, team_id: str, standing: Standing) -> bool:
    """Whether each key of the team is one that `may_see_key` shows; otherwise the caller sees its own at most."""
    in_service = caller.is_service_account and caller.team_id == team_id
    return caller.sees_all or standing.is_member or standing.manages or in_service


def may_create_users(caller: Caller) -> bool:
    """Whether the caller may bring a user into being by an id of its choice."""
    return caller.is_admin


def may_add_member(caller: Caller, team_id: str, standing: Standing) -> Refusal | None:
    if caller.is_admin or standing.manages:
        return None
    if not may_see_team(caller, team_id, standing):
        return HIDDEN
    return Refusal(Kind.FORBIDDEN, "Call not allowed. User not proxy admin OR team admin. route=/team/member_add")


def may_see_user(caller: Caller, user_id: str) -> bool:
    return caller.sees_all or (caller.user_id is not None and caller.user_id == user_id)


def sees_every_team_of(caller: Caller, organization_id: str) -> bool:
    """Whether each team of the organization is one that `may_see_team` shows; otherwise only those of its own."""
    return caller.sees_all or organization_id in caller.organization_admin_of


def may_see_organization(caller: Caller, organization_id: str, *, is_member: bool) -> bool:
    return caller.sees_all or is_member or organization_id in caller.organization_admin_of

"""Who calls, what it is to a team, how a rule says no, and which routes a caller reaches at all."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum

from app.domain import refusals, routes


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

    @property
    def sees_all(self) -> bool:
        return self in {Role.PROXY_ADMIN, Role.PROXY_ADMIN_VIEWER}


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
    CEILING = "ceiling"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class Refusal:
    kind: Kind
    message: str
    param: str | None = None


HIDDEN = Refusal(Kind.HIDDEN, "")


@dataclass(frozen=True, slots=True)
class Gateway:
    """A key that may ask for decisions: about any key, or those of these teams and organizations only."""

    team_ids: frozenset[str] = frozenset()
    organization_ids: frozenset[str] = frozenset()


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
    max_parallel_requests: int | None = None
    expires_at: datetime | None = None
    organization_admin_of: frozenset[str] = frozenset()
    gateway: Gateway | None = None

    @property
    def is_admin(self) -> bool:
        return self.role is Role.PROXY_ADMIN

    @property
    def sees_all(self) -> bool:
        return self.role.sees_all


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


def gate(caller: Caller, route: str, method: str) -> Refusal | None:
    """Whether the caller's role and its key's `allowed_routes` reach the route at all."""
    if caller.allowed_routes and not routes.covered(route, caller.allowed_routes):
        return Refusal(Kind.ROUTE, refusals.route_not_allowed(caller.allowed_routes, route).message)
    if caller.is_admin or (caller.gateway is not None and route in routes.GATEWAY):
        return None
    if caller.role is Role.PROXY_ADMIN_VIEWER:
        if method in {"GET", "HEAD"} or route in routes.KEY_INFO:
            return None
        return Refusal(
            Kind.VIEWER,
            f"user not allowed to access this route, role= {caller.role}. Trying to access: {route}",
        )
    if route in routes.INFO | routes.REPORTS | routes.SELF_MANAGED or _role_reaches(caller, route):
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
    if caller.has_owner and caller.role in {Role.INTERNAL_USER, Role.ORG_ADMIN} and route in routes.PERSONAL:
        return True
    return caller.has_owner and caller.role is Role.INTERNAL_USER and route in routes.KEY_MANAGEMENT


def _masked(user_id: str | None) -> str:
    return "None" if user_id is None else "*" * min(len(user_id), 8)

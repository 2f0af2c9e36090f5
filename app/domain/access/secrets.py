"""Which keys' secrets a caller may come to know: a secret gives everything that its key may.

Those who may rotate a key are told the new secret, so that they could act as the key does. Nobody gets more that
way than the calling key holds: no wider caps, no further routes, no owner who stands higher.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.domain import routes
from app.domain.access.callers import Caller, Kind, Refusal, Role, gate
from app.domain.access.ceilings import raises, widens
from app.domain.access.gateways import gateway_of

# Who has these by its role has them within its organizations; listed for a key, they are not bound to any.
_CREATING = frozenset({"/team/new", "/user/new"})


@dataclass(frozen=True, slots=True)
class Owner:
    """Another user, whose key it is: what it is beside an owner of keys.

    `leads_elsewhere` says that it is an admin of a team which the caller does not manage.
    """

    role: Role
    organization_admin_of: frozenset[str] = frozenset()
    leads_elsewhere: bool = False


def may_learn_secret(caller: Caller, key: Mapping[str, Any], owner: Owner | None) -> Refusal | None:
    """Whether the caller may be told a secret of the key with these columns; None as owner stands for itself."""
    if caller.is_admin or caller.key_id == key["key_id"]:
        return None
    more = _caps_beyond(caller, key) or _routes_beyond(caller, key)
    if more is None and owner is not None and _stands_higher(caller, owner):
        more = "user_id"
    if more is None:
        return None
    return Refusal(
        Kind.FORBIDDEN, f"This key may more than the calling key ({more}): only proxy admins can rotate it.", more
    )


def _caps_beyond(caller: Caller, key: Mapping[str, Any]) -> str | None:
    own = {
        "max_budget_nanos": ("max_budget", caller.max_budget_nanos),
        "tpm_limit": ("tpm_limit", caller.tpm_limit),
        "rpm_limit": ("rpm_limit", caller.rpm_limit),
        "max_parallel_requests": ("max_parallel_requests", caller.max_parallel_requests),
    }
    for column, (field, cap) in own.items():
        if raises(cap, key[column]):
            return field
    if raises(caller.expires_at, key["expires_at"]):
        return "duration"
    return "models" if widens(caller.models, key["models"]) else None


def _routes_beyond(caller: Caller, key: Mapping[str, Any]) -> str | None:
    gateway = gateway_of(key["permissions"])
    if gateway is not None and gateway != caller.gateway:
        return "permissions"
    granted = key["allowed_routes"]
    if caller.allowed_routes and not routes.unbounded(caller.allowed_routes):
        within = bool(granted) and routes.within(granted, caller.allowed_routes)
    else:
        # What an administrator has listed for a key counts where its owner's role does not reach.
        listed = {route for route in routes.MANAGEMENT if routes.covered(route, granted)}
        own = caller.user_id is not None and caller.user_id == key["user_id"]
        within = all(gate(caller, route, "POST") is None for route in listed) and (
            own or _CREATING.isdisjoint(listed)
        )
    return None if within else "allowed_routes"


def _stands_higher(caller: Caller, owner: Owner) -> bool:
    return (
        owner.role.sees_all
        or not owner.organization_admin_of <= caller.organization_admin_of
        or owner.leads_elsewhere
    )
